"""What both mirrors and work trees need of git: its commands, its objects, and git directories made anew.

Tested by tests/adapters/vcs/git_mirrors/test_names.py and tests/adapters/vcs/git_worktrees/test_worktrees.py.
"""
