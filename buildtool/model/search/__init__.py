"""The search of builds: what can be asked in one line, and what a build can be found by."""
