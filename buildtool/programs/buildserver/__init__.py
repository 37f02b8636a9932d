"""``bin/buildserver.py``: offers this machine to a metaserver and builds what it is given.

Tested by tests/programs/buildserver/test_main.py and tests/e2e/test_programs.py.
"""
