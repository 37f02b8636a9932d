"""What builds are found by, in the database: written with each build, and searched by the pages.

Tested by tests/ports/test_build_search.py and tests/adapters/sql/search/test_finding.py.
"""
