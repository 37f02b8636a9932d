"""One mail as a message, and a mail that is sent to try a mail server."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8, default
from email.utils import format_datetime

from buildtool.adapters.mail.letter import UNSUBSCRIBE, Letter
from buildtool.adapters.mail.text import USUAL_STYLE, MailStyle, render_test
from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import ConfigurationError
from buildtool.model.addresses import at_port, valid_address
from buildtool.model.farm.deployment import UNNAMED

Deliver = Callable[[str, bytes, str], Awaitable[str]]
"""Gives a message for an address to the mail server, with the address it comes back to; see ``SmtpDelivery``."""


_LINE = 990
"""Characters of a line that is sent as it is; RFC 5322 allows 998."""

_WORD = 60
"""The longest word of a subject, in characters, that is left to the ``email`` package to fold around."""


def compose(
    sender: str,
    address: str,
    subject: str,
    body: str,
    *,
    key: str,
    now: float,
    extra: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return a message of one text as bytes, its lines ending in LF; ``now`` is wall time.

    The Message-ID follows from ``key`` and the sender's domain alone, and all of it from the arguments: a mail that is
    sent again is the same. Raises UsageError for what is no address and ValueError for a subject that is not one
    printable line.
    """
    return _message(sender, address, Letter(subject, body), extra, key, now)


def compose_letter(
    sender: str, address: str, letter: Letter, *, key: str, now: float, extra: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return a Letter as a message, as ``compose`` does; with HTML it has two parts, the text first.

    ``now`` is wall time.
    """
    return _message(sender, address, letter, [*letter.headers(valid_address(sender)), *extra], key, now)


def _message(
    sender: str, address: str, letter: Letter, headers: Iterable[tuple[str, str]], key: str, now: float
) -> bytes:
    if not letter.subject.isprintable():
        raise ValueError(f"a subject is one printable line, not {letter.subject!r}")
    sender, address = valid_address(sender), valid_address(address)
    local, _, domain = sender.rpartition("@")
    digest = hashlib.sha256(key.encode()).hexdigest()[:40]
    message = EmailMessage()
    named = letter.farm.title != UNNAMED.title
    message["From"] = Address(letter.farm.title, local, domain) if named else sender
    message["To"] = address
    _set_subject(message, letter.subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = f"<{digest}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    for name, value in headers:
        if name == UNSUBSCRIBE:
            message.set_raw(name, value)
        else:
            message[name] = value
    longest = max(map(len, letter.text.split("\n")))
    simple = letter.text.isascii() and longest < _LINE and not letter.html
    message.set_content(letter.text, cte="7bit" if simple else "quoted-printable")
    if letter.html:
        message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
        message.set_boundary(f"={digest}=")  # what is quoted-printable has no "=" like these two, whoever wrote it
    # What was folded here is left so; all else is folded as it is written.
    if sender.isascii() and address.isascii():
        return message.as_bytes(policy=default.clone(refold_source="none"))
    return message.as_bytes(policy=SMTPUTF8.clone(linesep="\n", refold_source="none"))


def _set_subject(message: EmailMessage, subject: str) -> None:
    """Set a subject that reads back as it is. What is more than plain ASCII words is encoded as a whole here.

    The ``email`` package loses spaces where it folds encoded words itself, and takes ``=?`` for the start of one: a
    stranger's text would be decoded into characters that were taken out of it.
    """
    if subject.isascii() and "=?" not in subject and all(len(word) <= _WORD for word in subject.split(" ")):
        message["Subject"] = subject
    else:
        message.set_raw("Subject", Header(subject, "utf-8", header_name="Subject").encode())


async def mail_test(
    settings: MailSettings | None,
    address: str,
    deliver: Deliver,
    key: str,
    now: float,
    style: MailStyle = USUAL_STYLE,
) -> str:
    """Send one mail right away and return a line that says what the mail server answered.

    ``key`` is new for each test, ``now`` wall time. Raises UsageError, ConfigurationError or MailUndelivered, each
    saying what to change.
    """
    if settings is None:
        raise ConfigurationError("mail = None in config.py: no mail is sent; name a mail server there")
    address = valid_address(address)
    server = at_port(settings.host, settings.port)
    letter = render_test(address, server, now, style)
    answer = await deliver(address, compose_letter(settings.sender, address, letter, key=key, now=now), settings.sender)
    return f"the mail server {server} took a test mail for {address}: {answer}"
