"""The messages that cross the wire, and their strict and bounded encoding."""
