"""HTTP with bodies as streams: the transfer port, its client, and the server of the pages."""
