"""Who asked the pages for what, a line an answer, in the combined format that web servers have.

What is secret in an address (a code that was mailed, the token of a link in a mail) is left out, and nothing that was
sent begins a line of its own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from attrs import frozen

LENGTH = 2_000
"""Most characters of an address or header in a line."""

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_SECRET = re.compile(r"/(confirm|sign-in|unsubscribe|subscribe)/(?!mail\b)[^/?]+")


@frozen
class VisitLine:
    """One answer: to whom (an address, and a name where it is known), for what, and how it went.

    ``at`` is wall time in seconds, ``length`` the bytes of the answer's body.
    """

    client: str
    who: str
    at: float
    method: bytes
    target: bytes
    protocol: bytes
    status: int
    length: int
    referer: bytes = b""
    agent: bytes = b""

    def line(self) -> str:
        """Return the line in the combined format."""
        now = datetime.fromtimestamp(self.at, UTC)
        when = now.strftime(f"%d/{_MONTHS[now.month - 1]}/%Y:%H:%M:%S +0000")
        asked = f"{_plain(self.method)} {without_secrets(_plain(self.target))} {_plain(self.protocol)}"
        who = _plain(self.who.encode()).replace(" ", "_") or "-"
        heads = f'"{without_secrets(_plain(self.referer)) or "-"}" "{_plain(self.agent) or "-"}"'
        return f'{self.client or "-"} - {who} [{when}] "{asked}" {self.status} {self.length or "-"} {heads}\n'


def without_secrets(address: str) -> str:
    """Return an address without what is secret in it."""
    return _SECRET.sub(_left_out, address)


def _left_out(found: re.Match[str]) -> str:
    return f"/{found[1]}/***"


def _plain(said: bytes) -> str:
    """Return what was sent in printable ASCII, without quotation marks."""
    text = said[:LENGTH].decode("utf-8", "replace").encode("unicode_escape").decode()
    return text.replace('"', "\\x22")
