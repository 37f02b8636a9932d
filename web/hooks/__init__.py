"""The addresses at which forges deliver."""
