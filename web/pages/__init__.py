"""What the pages show, in words and figures: pure, from what was read to what templates take.

Tested by tests/web/pages and tests/web/test_pages.py.
"""
