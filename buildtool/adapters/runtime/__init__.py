"""What the running program itself has: the clock, threads, memory, and how the reactor turns.

Tested by tests/adapters/runtime/test_threads.py and tests/adapters/vcs/test_asking.py.
"""
