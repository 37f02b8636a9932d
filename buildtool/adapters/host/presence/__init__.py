"""Whether the owner of a lent machine is there, what others do on it, and whether it runs from a battery."""
