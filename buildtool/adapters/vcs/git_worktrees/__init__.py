"""Work trees: one directory per repository and slot, in which each commit is laid out exactly.

Tested by tests/adapters/vcs/git_worktrees/test_worktrees.py and tests/adapters/vcs/git_worktrees/test_odd.py.
"""
