"""Command lines as they are said, and what is given beside them."""
