"""A whole farm inside one process, for trying things out."""
