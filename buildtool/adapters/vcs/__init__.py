"""Version control: what a revision means, and the sources of a commit.

Tested by tests/adapters/vcs/test_asking.py and tests/adapters/vcs/svn/test_svn.py.
"""
