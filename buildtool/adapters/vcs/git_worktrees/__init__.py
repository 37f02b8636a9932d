"""Work trees: one directory per repository and slot, in which each commit is laid out exactly."""
