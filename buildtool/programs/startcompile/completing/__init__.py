"""Completion of the command line in bash, zsh and fish: what may stand at the cursor, and scripts that ask for it."""
