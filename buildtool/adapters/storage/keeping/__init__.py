"""Files of what is kept only for so long."""
