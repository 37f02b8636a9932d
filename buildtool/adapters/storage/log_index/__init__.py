"""The index beside each log, and what is looked up by it: lines and searches."""
