"""Tests of what tells whether a machine's owner is there."""
