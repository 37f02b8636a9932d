"""Channels: names for the newest revision of which everything is there."""
