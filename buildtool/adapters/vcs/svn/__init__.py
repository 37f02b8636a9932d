"""Subversion: revisions, working copies, and one svn process at a time.

Tested by tests/adapters/vcs/svn/test_svn.py.
"""
