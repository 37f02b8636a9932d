"""The one line that an invited machine or person is given: where to join, whom to believe there, and the token.

``farm.example.org:23432,[2001:db8::1]:443/sha256:FINGERPRINT/TOKEN``, without blanks, so that it is one word of a shell
and survives a mail. The fingerprint identifies the authority's key (``key_id``).

Tested by tests/model/access/test_enrolment.py.
"""

from __future__ import annotations

import re

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.addresses import at_port, is_port, valid_host
from buildtool.model.names import is_digest

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

    addresses: tuple[tuple[str, int], ...]
    fingerprint: str
    token: str

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
    addresses = tuple(map(_address, said["where"].split(",")))
    if len(addresses) > ADDRESSES:
        raise UsageError(f"the line to join with has {len(addresses)} addresses: at most {ADDRESSES} are tried")
    return JoinLine(addresses, said["pin"], said["token"])


def _address(text: str) -> tuple[str, int]:
    said = _ADDRESS.match(text)
    if said is None or not is_port(said["port"]):
        raise UsageError(f"{text[:80]!r} in the line to join with is no host with a port: {_RIGHT}")
    return valid_host(said["host"], "the host in the line to join with"), int(said["port"])
