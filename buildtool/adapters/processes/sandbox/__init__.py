"""The sandbox of an Attempt: what it is made of, how its keeper makes and joins it, and what it proves at the start.

Tested by tests/adapters/processes/sandbox/test_box.py and tests/adapters/processes/sandbox/test_proving.py.
"""
