"""The routes of the pages, by what they are about: each reads what its page needs and answers.

Tested by tests/web/test_pages.py, tests/web/test_access.py and tests/web/sections.
"""
