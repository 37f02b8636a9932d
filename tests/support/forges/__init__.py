"""Forges for tests: GitHub, GitLab and Gitea in memory, which refuse what the real ones refuse."""
