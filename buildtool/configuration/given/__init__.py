"""What is given to the programs beside ``config.py``: by options, by the environment, and in one settings file."""
