"""What a transfer ticket says, and how it is signed.

A ticket lets its bearer upload one artifact, append to one log, or fetch one commit: it names kind, build, epoch, the
most bytes, and when it ends. It is signed with HMAC-SHA256 under a key that never leaves the metaserver's state
directory.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import re

import attrs
from attrs import field, frozen

from buildtool.errors import BadTicket

KEY_BYTES = 32
"""Length of the signing key."""

TICKET_LIMIT = 400
"""The longest ticket text that is looked at, in characters."""

NUMBER_LIMIT = 10**18
"""Every number of a ticket is below this: ids, epochs, bytes and seconds are."""

_SAID = re.compile(r"(artifact|log|source)((?:\.(?:0|[1-9][0-9]{0,17})){4})\Z")


class TicketKind(enum.Enum):
    """The purpose of a ticket."""

    ARTIFACT = "artifact"
    LOG = "log"
    SOURCE = "source"


_NOT_OURS = "the ticket is not one of this metaserver's: ask for a new one over the control connection"


def _check_number(_instance: object, attribute: attrs.Attribute[int], number: int) -> None:
    if type(number) is not int or not 0 <= number < NUMBER_LIMIT:
        raise BadTicket(f"a ticket's {attribute.name} is a whole number below {NUMBER_LIMIT}, not {number!r:.40}")


@frozen
class Ticket:
    """A permission to send at most ``max_bytes`` for one Attempt until ``expires`` (seconds of wall time).

    Raises BadTicket when made with numbers that are none, or too large to be sent.
    """

    kind: TicketKind
    build_id: int = field(validator=_check_number)
    epoch: int = field(validator=_check_number)
    max_bytes: int = field(validator=_check_number)
    expires: int = field(validator=_check_number)


def sign(ticket: Ticket, key: bytes) -> str:
    """Return the ticket as text for a header or URL."""
    said = f"{ticket.kind.value}.{ticket.build_id}.{ticket.epoch}.{ticket.max_bytes}.{ticket.expires}"
    return f"{said}.{_mac(said, key)}"


def read(text: str, key: bytes, now: float) -> Ticket:
    """Return what a ticket says once its signature and expiry hold. Raises BadTicket."""
    if len(text) > TICKET_LIMIT or not text.isascii():
        raise BadTicket(_NOT_OURS)
    said, _, mac = text.rpartition(".")
    form = _SAID.match(said)
    if form is None or not hmac.compare_digest(mac, _mac(said, key)):
        raise BadTicket(_NOT_OURS)
    build_id, epoch, max_bytes, expires = (int(number) for number in form[2].split(".")[1:])
    if now >= expires:
        raise BadTicket("the ticket has expired: ask for a new one over the control connection")
    return Ticket(TicketKind(form[1]), build_id, epoch, max_bytes, expires)


def cancel_token(request_id: int, key: bytes) -> str:
    """Return the token that proves that its bearer made the Request; it cannot be guessed without ``key``."""
    digest = hmac.new(key, f"cancel.{request_id}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest[:15]).decode().lower()


def token_matches(request_id: int, token: str, key: bytes) -> bool:
    """Return whether ``token`` is the Request's own, in time that does not depend on where they differ."""
    return token.isascii() and hmac.compare_digest(token, cancel_token(request_id, key))


def _mac(said: str, key: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.new(key, said.encode(), hashlib.sha256).digest()).decode().rstrip("=")
