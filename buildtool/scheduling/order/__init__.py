"""Who comes first: the order in which Builds that compete for a build server are given to it."""
