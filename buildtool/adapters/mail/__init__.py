"""Mails: what they say, when they go out, and SMTP.

Tested by tests/adapters/mail/test_text.py and tests/adapters/mail/test_mailer.py.
"""
