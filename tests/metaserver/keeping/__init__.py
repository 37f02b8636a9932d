"""Tests of what the metaserver forgets."""
