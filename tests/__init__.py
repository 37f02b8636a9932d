"""The tests: one sentence each, by name, about what the system does."""
