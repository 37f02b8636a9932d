"""The API over HTTP as both sides know it: its routes, and what they answer."""
