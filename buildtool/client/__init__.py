"""The client of the API: what pages and the command line do, for programs in Python, and for ``--http``."""
