"""What a command line asks for."""
