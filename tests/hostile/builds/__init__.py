"""Recipes that mean harm to the machine that builds them: the programs, the machine, and the end that each has."""
