"""Who satisfies whom, who can build what, and the reason for every no."""
