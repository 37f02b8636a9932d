"""The one line that an invited machine or person is given: where to join, whom to believe there, and the token.

``farm.example.org:23432,[2001:db8::1]:443/sha256:FINGERPRINT/TOKEN``, without blanks, so that it is one word of a shell
and survives a mail. The fingerprint identifies the authority's key (``key_id``).

Tested by tests/model/access/test_enrolment.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import field, frozen

from buildtool.errors import UsageError
from buildtool.model.addresses import at_port, is_port, valid_host
from buildtool.model.names import is_digest

HostPort = tuple[str, int]

ADDRESSES = 8
"""Most addresses of one metaserver."""

LINE_LIMIT = 3_000
"""Most characters of the line."""

_LINE = re.compile(r"(?P<where>[^/\s]+)/sha256:(?P<pin>[^/\s]+)/(?P<token>[A-Za-z0-9_-]{20,100})\Z")
_ADDRESS = re.compile(r"(?P<host>\[[^\]\s]*\]|[^:\[\]\s]+):(?P<port>[0-9]{1,5})\Z")
_RIGHT = "it looks like farm.example.org:23432/sha256:…/…, as bin/metaserver invite NAME printed it"


@frozen
class JoinLine:
    """The contents of an invitation's line. The token is the secret itself."""

    addresses: tuple[HostPort, ...]
    fingerprint: str
    token: str = field(repr=False)

    @property
    def where(self) -> str:
        """The addresses, as people write them."""
        return ",".join(at_port(host, port) for host, port in self.addresses)

    def __str__(self) -> str:
        return f"{self.where}/sha256:{self.fingerprint}/{self.token}"


def read_join_line(text: str) -> JoinLine:
    """Return what a line says. Raises UsageError, which does not repeat the token."""
    said = _LINE.match(text.strip()) if len(text) <= LINE_LIMIT else None
    if said is None:
        raise UsageError(f"that is no line to join with: {_RIGHT}")
    if not is_digest(said["pin"]):
        raise UsageError(
            "the fingerprint in the line to join with is not whole: it has 64 digits from 0 to 9 and a to f"
        )
    addresses = read_addresses(said["where"].split(","), "the line to join with:")
    return JoinLine(addresses, said["pin"], said["token"])


def read_addresses(texts: Sequence[str], what: str) -> tuple[HostPort, ...]:
    """Return hosts with their ports. Raises UsageError, which begins with ``what``."""
    if len(texts) > ADDRESSES:
        raise UsageError(f"{what} {len(texts)} addresses are too many: at most {ADDRESSES} are tried")
    return tuple(_address(text, what) for text in texts)


def _address(text: str, what: str) -> HostPort:
    said = _ADDRESS.match(text)
    if said is None or not is_port(said["port"]):
        raise UsageError(f"{what} {text[:80]!r} is no host with a port: it looks like farm.example.org:23432")
    return valid_host(said["host"], what), int(said["port"])
