"""What the running program itself has: the clock, threads, memory, and how the reactor turns."""
