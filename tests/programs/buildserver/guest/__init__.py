"""Tests of what a machine's owner says to its build server."""
