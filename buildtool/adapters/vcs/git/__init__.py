"""What both mirrors and work trees need of git: its commands, its objects, and git directories made anew."""
