"""Demos: a whole farm on this machine, with real processes, that says what it does."""
