"""The pure core: values and decisions. Standard library and attrs only; no I/O, no clock, no randomness."""
