"""What an integrator does with ``bin/buildserver.py`` alone, without any server: try a recipe, begin a new project."""
