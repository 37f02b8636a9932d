"""``bin/webserver``: the pages, in a process of their own.

Tested by tests/web/test_webserver.py.
"""
