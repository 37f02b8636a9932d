"""Demos: a whole farm on this machine, with real processes, that says what it does.

Tested by tests/e2e/test_programs.py, tests/e2e/test_lua.py and tests/demo/test_farm.py.
"""
