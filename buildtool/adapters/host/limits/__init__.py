"""What keeps one build to its share of the machine: control groups where there are any, and a watch for the rest."""
