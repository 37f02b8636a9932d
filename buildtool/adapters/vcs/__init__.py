"""Version control: what a revision means, and the sources of a commit."""
