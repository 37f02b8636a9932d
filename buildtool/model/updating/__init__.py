"""Updates of an installation from a repository: which version is newest, whether it is taken, and when to go back."""
