"""What a recipe may have from outside: files that are declared with their digests, and hosts that a step may speak to.

Tested by tests/project/test_fetching.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath, PurePosixPath
from urllib.parse import urlsplit

from attrs import field, frozen

from buildtool.errors import ConfigurationError

HOSTS = 32
"""Most hosts that one plan names."""

DOWNLOADS = 256
"""Most files that one plan declares."""

USUAL_PORTS = (80, 443)
"""The ports of a host that is named without one."""

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_PORTS = range(1, 65536)


def below_source(path: object, what: str) -> str:
    """Return ``path`` in its plain form. Raises ConfigurationError for one that names nothing below the source."""
    if not isinstance(path, str | PurePath) or not str(path) or "\0" in str(path):
        raise ConfigurationError(f"a {what} is the name of a file or directory below the source, not {path!r}")
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts:
        raise ConfigurationError(f"a recipe's paths lie below the source; {str(path)!r} does not")
    return str(plain)


@frozen
class NamedHost:
    """A host that builds may speak to; ``port`` is 0 for the usual ones."""

    name: str
    port: int = 0

    @classmethod
    def of(cls, text: object) -> NamedHost:
        """Return what ``pypi.org`` or ``localhost:8080`` names. Raises ConfigurationError."""
        if isinstance(text, str):
            name, colon, port = text.lower().partition(":")
            if _HOST.match(name) and (not colon or (port.isdecimal() and int(port) in _PORTS)):
                return cls(name, int(port or 0))
        raise ConfigurationError(f"a plan's network names hosts such as 'pypi.org' or 'example.org:8080', not {text!r}")

    def words(self) -> str:
        """Return the host as a recipe names it, with its port if it has one of its own."""
        return f"{self.name}:{self.port:d}" if self.port else self.name

    def allows(self, host: str, port: int) -> bool:
        """Return whether this is that host, and the port one to speak to."""
        return host.lower().rstrip(".") == self.name and (port == self.port if self.port else port in USUAL_PORTS)


def hosts(value: Iterable[str]) -> tuple[NamedHost, ...]:
    """Return named hosts. Raises ConfigurationError."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"a plan's network is a list of hosts, not the one {value!r}")
    found = tuple(one if isinstance(one, NamedHost) else NamedHost.of(one) for one in value)
    if len(found) > HOSTS:
        raise ConfigurationError(f"a plan's network names {len(found)} hosts, at most {HOSTS} are allowed")
    return found


def _url(value: object) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isascii() and value.isprintable() else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or " " in str(value) or "@" in str(urlsplit(str(value)).netloc):
        raise ConfigurationError(f"a download's url begins with https:// or http:// and has no login, unlike {value!r}")
    return str(value)


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.match(value.lower()):
        raise ConfigurationError(f"a download's sha256 has 64 hexadecimal digits, unlike {value!r}")
    return value.lower()


def _path(value: object) -> str:
    return below_source(value, "download's path")


@frozen
class Download:
    """A file that a build needs: where it is, its SHA-256 in hex, and where below the source it is put beforehand."""

    url: str = field(converter=_url)
    sha256: str = field(converter=_digest)
    path: str = field(converter=_path)


def downloads(value: Sequence[Download]) -> tuple[Download, ...]:
    """Return declared files, each in a place of its own. Raises ConfigurationError."""
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"a plan's downloads are a list of Download(...), not the one {value!r}")
    found = tuple(value)
    for one in found:
        if not isinstance(one, Download):
            raise ConfigurationError(f"a plan's downloads are Download(url, sha256, path), which {one!r} is not")
    if len(found) > DOWNLOADS:
        raise ConfigurationError(f"a plan declares {len(found)} downloads, at most {DOWNLOADS} are allowed")
    places = [one.path for one in found]
    for place in places:
        if place == "." or places.count(place) > 1:
            raise ConfigurationError(f"each download has a path of its own, which {place!r} is not")
        above = next((one for one in places if one != place and PurePosixPath(place).is_relative_to(one)), None)
        if above is not None:
            raise ConfigurationError(f"{place!r} cannot lie below the download {above!r}, which is a file")
    return found
