"""What all programs share: how they begin, print, log, listen and end.

Tested by tests/programs/common/test_beginning.py and beside it.
"""
