"""An on-demand build broker: ask for a binary, have it from the cache or built, and be told by mail."""

__version__ = "0.1.0"
