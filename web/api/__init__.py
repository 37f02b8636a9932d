"""The API: what pages and programs of the command line do, for scripts, as JSON over HTTP.

Tested by tests/web/api/test_section.py and tests/web/api/test_openapi.py.
"""
