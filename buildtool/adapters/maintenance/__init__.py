"""Looking after a state directory: checking, scrubbing, sweeping, backing up, and whose it is."""
