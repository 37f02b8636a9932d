"""``bin/startcompile.py``: asks for a binary, and has it, or is told by mail."""
