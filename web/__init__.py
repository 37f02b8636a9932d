"""The pages: a Klein application, pure presenters, and the one place where URLs are built.

Imported as buildtool.web; relative imports keep it the same there. Tested by tests/web/test_pages.py.
"""
