"""A mail that came back, as a mail server hands it over: which one it was, and why (RFC 3464).

Anybody can send such a message, with anything in it: it is read in a process of its own, bounded, and what it says is
believed only as far as its tag proves (``model/farm/return_paths.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message

from attrs import frozen

from buildtool.model.farm.return_paths import ReturnTag
from buildtool.model.text import one_line

READ_LIMIT = 256 * 1024
"""The most bytes that are read of a message; the report stands before the mail that it returns."""

REASON_LIMIT = 300
"""The longest reason, in characters."""

_TO = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To")


@frozen
class ReturnedMail:
    """A message that came to the address of a mail; ``reason`` says why that mail was not delivered.

    It is "" where the mail may arrive yet, and for all that is no report: an answer of a person who is away.
    """

    tag: ReturnTag
    reason: str


def read_returned(message: bytes, recipient: str = "") -> ReturnedMail | None:
    """Return what a message says about a mail of the farm's, None where it came to no address of one.

    ``recipient`` is whom the mail server took it for, if that is known.
    """
    try:
        read: Message = message_from_bytes(message[:READ_LIMIT])
        addresses = [recipient, *(str(value) for name in _TO for value in read.get_all(name, []))]
        tag = next((tag for tag in map(ReturnTag.read, addresses) if tag is not None), None)
        return None if tag is None else ReturnedMail(tag, _reason(read))
    except (RecursionError, LookupError, ValueError):  # parts within parts, and headers that the library cannot read
        return None


def _reason(message: Message) -> str:
    """Return why a mail was given up by a report, "" for what is none."""
    if message.get_content_type() != "multipart/report" or not message.is_multipart():
        return ""
    for block in _blocks(message):
        if _said(block, "Action").lower() != "failed":
            continue
        status = _said(block, "Status").split(" ")[0]
        kind, mark, words = _said(block, "Diagnostic-Code").partition(";")
        diagnosis = words.strip() if mark else kind.strip()
        by = _said(block, "Remote-MTA").partition(";")[2].strip()
        parts = [status if status not in diagnosis else "", diagnosis, f"(says {by})" if by else ""]
        return one_line(" ".join(filter(None, parts)) or "no reason was given", REASON_LIMIT)
    return ""


def _blocks(report: Message) -> Iterator[Message]:
    """Yield what a report says of each recipient."""
    for part in report.get_payload():
        if not isinstance(part, Message) or part.get_content_type() != "message/delivery-status":
            continue
        blocks = part.get_payload()
        for block in blocks if isinstance(blocks, list) else []:
            if isinstance(block, Message):
                yield block


def _said(block: Message, name: str) -> str:
    return one_line(str(block.get(name, "")), REASON_LIMIT)
