"""What several test modules need: system packages by name, and the failures that Twisted logs."""
