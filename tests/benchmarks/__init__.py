"""``make bench``: how fast it is, measured on the real programs, each figure beside the limit taken in the same run."""
