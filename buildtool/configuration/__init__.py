"""Reading ``config.py`` into frozen settings, with one located line for whatever is wrong in it."""
