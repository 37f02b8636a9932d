"""``bin/metaserver``: serving, and the subcommands of its operator.

Tested by tests/e2e/test_operator.py, tests/e2e/test_state.py and tests/programs/metaserver/test_checking.py.
"""
