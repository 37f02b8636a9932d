"""Platforms of other releases and architectures at a build server: added by one command, listed, removed, offered."""
