"""The metaserver's shell: it serialises events, lets the scheduler decide, commits, and only then tells anybody."""
