"""``deploy/update``: an installation from a repository brings itself up to date, and goes back where that fails.

What runs is always the version that held: it makes the new one beside itself, and judges it from outside.
"""
