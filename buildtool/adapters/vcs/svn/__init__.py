"""Subversion: revisions, working copies, and one svn process at a time."""
