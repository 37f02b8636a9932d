"""What the metaserver forgets, and what it says of that."""
