"""A series of backups in one directory: what is there, what goes, what is sealed, and whether one can be restored."""
