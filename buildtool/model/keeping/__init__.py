"""What a farm keeps, for how long and how much of it, and what goes when that is too much. Pure."""
