"""Tests of the pages, over the real application with an in-memory store."""
