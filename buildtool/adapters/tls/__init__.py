"""TLS: keys, the farm's own certificate authority, and what speaks TLS on a port. Rights are not decided here."""
