"""Which revision of a branch is the newest that has a binary."""
