"""Everything that touches the world outside: threads, files, processes, sockets, the database."""
