"""``bin/startcompile.py``: asks for a binary, and has it, or is told by mail.

Tested by tests/programs/startcompile/test_main.py and tests/e2e/test_requests.py.
"""
