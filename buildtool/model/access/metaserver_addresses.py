"""Where a metaserver is reached: hosts, or Twisted's endpoint strings, wherever somebody says it.

``tls:farm.example.org:23432:trustRoots=/etc/farm`` is one address, and says how it is spoken to. Several are separated
by commas. A backslash takes its meaning from the character after it, and brackets from the colons of an IPv6 address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import evolve, frozen

from buildtool.errors import UsageError
from buildtool.model.access.join_line import ADDRESSES
from buildtool.model.addresses import at_port, is_port, valid_host
from buildtool.model.properties import nearest
from buildtool.model.text import quoted

SAID_LIMIT = 4_000
"""Most characters in which they are said."""

MOST_SECONDS = 3_600
"""The longest that connecting to one may take."""

_EXAMPLE = "tls:farm.example.org:23432"
_PLACED = "farm.example.org:23432"
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NAMES = {
    "host": "host",
    "port": "port",
    "trustRoots": "trust_roots",
    "caCertsDir": "trust_roots",
    "certificate": "certificate",
    "certKey": "certificate",
    "privateKey": "private_key",
    "timeout": "timeout",
}
"""What may be said in an endpoint string as NAME=VALUE; ``ssl:`` has its own names for some."""


class Speech(Enum):
    """A way to speak to a metaserver: by TLS, in plain, or by TLS where this side has a key for it."""

    TLS = "tls"
    PLAIN = "tcp"
    AS_JOINED = ""


_KINDS: Mapping[str, Speech] = {"tls": Speech.TLS, "ssl": Speech.TLS, "tcp": Speech.PLAIN}


@frozen
class MetaserverAddress:
    """One address of a metaserver; ``port`` is 0 where it is said elsewhere.

    ``trust_roots`` is a directory of certificates of authorities, ``certificate`` and ``private_key`` are files to
    show; "" is none. ``timeout`` is for connecting, in seconds.
    """

    host: str
    port: int = 0
    speech: Speech = Speech.AS_JOINED
    trust_roots: str = ""
    certificate: str = ""
    private_key: str = ""
    timeout: float | None = None

    @property
    def is_endpoint(self) -> bool:
        """Whether it says how it is spoken to, and at which port."""
        return self.speech is not Speech.AS_JOINED

    @property
    def where(self) -> str:
        """The host and port, as people write them."""
        return at_port(self.host, self.port)


def read_addresses(said: object, what: str, port: str = "") -> tuple[MetaserverAddress, ...]:
    """Return the addresses in a text or in a list of texts; ``what`` and ``port`` are for messages, see ``valid_host``.

    Raises UsageError.
    """
    texts = said if isinstance(said, list | tuple) else [said]
    found = tuple(address for one in texts for address in _several(one, what, port))
    if not found:
        raise UsageError(f"{what} names no metaserver: say a host, or an endpoint string such as {_EXAMPLE}")
    if len(found) > ADDRESSES:
        raise UsageError(f"{what} has {len(found)} addresses: at most {ADDRESSES} are tried")
    _check_alike(found, what)
    return found


def read_placed(said: object, what: str) -> tuple[MetaserverAddress, ...]:
    """Return addresses that each have a port: ``HOST:PORT`` or an endpoint string, in a list. Raises UsageError."""
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said) or len(said) > ADDRESSES:
        raise UsageError(f"{what} {quoted(said)} is not a list of at most {ADDRESSES} texts such as {_PLACED!r}")
    return tuple(_placed(one.strip(), what) for one in said)


def _placed(said: str, what: str) -> MetaserverAddress:
    if said.partition(":")[0].lower() in _KINDS:
        return _address(said, what, "")
    host, colon, port = said.rpartition(":")
    if not colon or not is_port(port) or (":" in host and not host.startswith("[")):
        raise UsageError(f"{what} {quoted(said)} is no host with its port: say it like {_PLACED}")
    return MetaserverAddress(valid_host(host, what), int(port))


def addresses_meant(
    said: Sequence[MetaserverAddress], port: int, configured: Sequence[MetaserverAddress], *, use_tls: bool
) -> tuple[MetaserverAddress, ...]:
    """Return the addresses that a command line means, by ``--host``, ``--port`` (0 when not said) and ``--use-tls``.

    ``configured`` are those of the configuration, each with a port. Raises UsageError for what contradicts itself.
    """
    _check_alike(said, "--host")
    meant, where = (said, "--host") if said else (configured, "host of the configuration")
    if any(one.is_endpoint for one in meant):
        for flag, is_said in (("--port", port > 0), ("--use-tls", use_tls)):
            if is_said:
                raise UsageError(
                    f"{flag} goes with a plain host: {where} is an endpoint string, which says that itself"
                )
        return tuple(meant)
    speech = Speech.TLS if use_tls else Speech.AS_JOINED
    found = (evolve(one, port=port or one.port or configured[0].port, speech=speech) for one in meant)
    return tuple(dict.fromkeys(found))


def at_ports(found: Sequence[MetaserverAddress], port: int) -> tuple[MetaserverAddress, ...]:
    """Return addresses of which those without a port have this one."""
    return tuple(evolve(one, port=one.port or port) for one in found)


def _check_alike(found: Sequence[MetaserverAddress], what: str) -> None:
    """Raise UsageError for endpoint strings beside plain hosts: whether those speak TLS could only be guessed."""
    if len({one.is_endpoint for one in found}) > 1:
        raise UsageError(f"{what} has an endpoint string beside a plain host: say both like {_EXAMPLE}")


def _several(said: object, what: str, port: str) -> tuple[MetaserverAddress, ...]:
    if not isinstance(said, str) or len(said) > SAID_LIMIT:
        return (MetaserverAddress(valid_host(said, what, port)),)
    return tuple(_address(one.strip(), what, port) for one in _split(said, ","))


def _split(text: str, at: str) -> list[str]:
    """Return the parts of a text between the characters ``at`` that have their meaning; backslashes stay."""
    parts, inside, escaped = [""], False, False
    for char in text:
        if not escaped and char in "[]":
            inside = char == "["
        if char == at and not escaped and not inside:
            parts.append("")
        else:
            parts[-1] += char
        escaped = char == "\\" and not escaped
    return parts


def _address(said: str, what: str, port: str) -> MetaserverAddress:
    speech = _KINDS.get(said.partition(":")[0].lower())
    if speech is None or ":" not in said:
        return MetaserverAddress(valid_host(said, what, port))
    begun = f"{what} {quoted(said)}"
    values = _values(_split(said, ":")[1:], begun)
    number, lasts = values.pop("port", ""), values.pop("timeout", "")
    if not is_port(number):
        why = f": {quoted(number)} is no port: a number from 1 to 65535" if number else " has no port"
        raise UsageError(f"{begun}{why}: say it like {_EXAMPLE} (an IPv6 address stands in brackets)")
    if lasts and not (is_port(lasts) and int(lasts) <= MOST_SECONDS):
        raise UsageError(f"{begun}: timeout is a whole number of seconds from 1 to {MOST_SECONDS}")
    if speech is Speech.PLAIN and values.keys() - {"host"}:
        raise UsageError(f"{begun} names certificates, but tcp: is plain: say tls:")
    if ("certificate" in values) != ("private_key" in values):
        raise UsageError(f"{begun}: the files of certificate= and privateKey= go together")
    host = valid_host(values.pop("host", ""), f"{what} {quoted(said)}: the host")
    return MetaserverAddress(host, int(number), speech, timeout=float(lasts) if lasts else None, **values)


def _values(parts: Sequence[str], begun: str) -> dict[str, str]:
    """Return what an endpoint string says, by the names of our fields. Raises UsageError that begins with ``begun``."""
    found: dict[str, str] = {}
    for number, part in enumerate(parts):
        name, equals, value = part.partition("=")
        if not equals or not name.isalpha():
            name, value = ("host", "port", "")[min(number, 2)], part
        if not name:
            why = f"{quoted(part)} is too much"
            raise UsageError(f"{begun}: {why}: say it like {_EXAMPLE} (an IPv6 address stands in brackets)")
        ours = _NAMES.get(name)
        if ours is None:
            raise UsageError(f"{begun}: {quoted(name)} is not known in it{nearest(name, sorted(_NAMES))}")
        if ours in found:
            raise UsageError(f"{begun} says {name} twice")
        found[ours] = _ESCAPED.sub(r"\1", value)
        if not found[ours] or "\0" in found[ours]:
            raise UsageError(f"{begun}: {name} is empty")
    return found
