"""A configuration that follows a repository: what the owner says of it, and how the program starts by it."""
