"""Mails: what they say, when they go out, and SMTP."""
