"""What releases left on disk, and how it is recorded."""
