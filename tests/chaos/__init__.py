"""Chaos: the real programs on loopback, an unruly network, kill -9 at random, and every request still ends once."""
