"""Mirrors of git repositories: made, kept up to date, found damaged, made anew, and handed on as bundles.

Tested by tests/adapters/vcs/git_mirrors/test_mirrors.py and tests/adapters/vcs/git_mirrors/test_damage.py.
"""
