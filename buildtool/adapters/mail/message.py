"""One mail as a message, and a mail that is sent to try a mail server."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime

from buildtool.adapters.mail.text import render_test
from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import ConfigurationError
from buildtool.model.addresses import at_port, valid_address

Deliver = Callable[[str, bytes], Awaitable[str]]
"""Gives a message for an address to the mail server; see ``SmtpDelivery``."""


_WORD = 60
"""The longest word of a subject, in characters, that is left to the ``email`` package to fold around."""


def compose(
    sender: str, address: str, subject: str, body: str, *, key: str, now: float, extra: dict[str, str] | None = None
) -> bytes:
    """Return a message as bytes, its lines ending in LF; ``now`` is wall time.

    The Message-ID follows from ``key`` and the sender's domain alone. Raises UsageError for what is no address and
    ValueError for a subject that is not one printable line.
    """
    if not subject.isprintable():
        raise ValueError(f"a subject is one printable line, not {subject!r}")
    sender, address = valid_address(sender), valid_address(address)
    message = EmailMessage()
    message["From"] = sender
    message["To"] = address
    _set_subject(message, subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    for name, value in (extra or {}).items():
        message[name] = value
    longest = max(map(len, body.split("\n")))
    simple = body.isascii() and longest < 990  # noqa: PLR2004 - RFC 5322 allows 998 characters a line
    message.set_content(body, cte="7bit" if simple else "quoted-printable")
    if sender.isascii() and address.isascii():
        return message.as_bytes()
    return message.as_bytes(policy=SMTPUTF8.clone(linesep="\n"))


def _set_subject(message: EmailMessage, subject: str) -> None:
    """Set a subject that reads back as it is. What is more than plain ASCII words is encoded as a whole here.

    The ``email`` package loses spaces where it folds encoded words itself, and takes ``=?`` for the start of one: a
    stranger's text would be decoded into characters that were taken out of it.
    """
    if subject.isascii() and "=?" not in subject and all(len(word) <= _WORD for word in subject.split(" ")):
        message["Subject"] = subject
    else:
        message.set_raw("Subject", Header(subject, "utf-8", header_name="Subject").encode())


async def mail_test(settings: MailSettings | None, address: str, deliver: Deliver, key: str, now: float) -> str:
    """Send one mail right away and return a line that says what the mail server answered.

    ``key`` is new for each test, ``now`` wall time. Raises UsageError, ConfigurationError or MailUndelivered, each
    saying what to change.
    """
    if settings is None:
        raise ConfigurationError("mail = None in config.py: no mail is sent; name a mail server there")
    address = valid_address(address)
    server = at_port(settings.host, settings.port)
    subject, body = render_test(address, server, now)
    answer = await deliver(address, compose(settings.sender, address, subject, body, key=key, now=now))
    return f"the mail server {server} took a test mail for {address}: {answer}"
