"""What takes deliveries of forges: each is proved, read, written down, and hints that a look be made."""
