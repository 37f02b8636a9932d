"""Reads the settings of the ports: what each listens on, which speak plainly, an own certificate, and proxies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from attrs import frozen

from buildtool.configuration.places import read_bind, read_directory
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.proxies import NO_IDENTITY, Proxies, ProxyIdentity
from buildtool.model.addresses import is_loopback
from buildtool.model.text import quoted

__all__ = ["UNIX", "Front", "Part", "check_apart", "is_here", "read_front", "read_listening",
           "read_own_files", "read_plain", "read_proxies"]  # fmt: skip

UNIX = "unix:"
"""What a path to listen at begins with."""

PATH_LIMIT = 100
"""The longest path of a socket, in bytes; systems end at 104 to 108."""

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared only
"""The addresses that are all of a machine's."""


class Part(Enum):
    """A part of the metaserver that has a port; the values are what the names of its settings begin with."""

    CONTROL = "pb"
    TRANSFER = "transfer"
    WEB = "web"


BINDS = tuple(f"{part.value}_bind" for part in Part)
"""The settings that override ``bind``."""

PLAIN = (Part.TRANSFER, Part.WEB)
"""What may speak plainly where others reach it; the control port does where everybody is trusted."""


@frozen
class Place:
    """The place at which a part listens: an address and a port, or ``unix:`` and a path."""

    part: Part
    bind: str
    port: int


def read_listening(value: object, what: str) -> str:
    """Return an address to listen on, or ``unix:`` and a path. Raises ConfigurationError."""
    if not isinstance(value, str) or not value.startswith(UNIX):
        return read_bind(value, what)
    path = value.removeprefix(UNIX)
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ConfigurationError(f"{what} {quoted(value)} is not usable: behind unix: is a path that begins with /")
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise ConfigurationError(
            f"{what} {quoted(value)} is not usable: the path of a socket has at most {PATH_LIMIT} bytes"
        )
    return UNIX + os.path.normpath(path)


def read_plain(value: object, what: str = "plain_ports =") -> tuple[Part, ...]:
    """Return the parts that speak plainly wherever they listen. Raises ConfigurationError."""
    said = value.split(",") if isinstance(value, str) else value
    known = [*PLAIN, *(part.value for part in PLAIN)]
    if not isinstance(said, list | tuple) or not all(one in known for one in said):
        raise ConfigurationError(f"{what} {quoted(value)} is not usable: it lists what speaks no TLS: web, transfer")
    return tuple(part for part in PLAIN if part in said or part.value in said)


def read_own_files(path: Path, certificate: object, key: object) -> tuple[Path, Path] | None:
    """Return the files of an own certificate and of its key, None where there is none. Raises ConfigurationError.

    ``path`` is the configuration's. What the files hold is looked at by who shows it.
    """
    if certificate is None and key is None:
        return None
    for name, said, other in (("tls_certificate", certificate, "tls_key"), ("tls_key", key, "tls_certificate")):
        if said is None:
            raise ConfigurationError(f"{other} is there without {name}: a certificate and its key belong together")
    return read_directory(path, "tls_certificate", certificate), read_directory(path, "tls_key", key)


def is_here(bind: str) -> bool:
    """Return whether only this machine reaches what listens there."""
    return bind.startswith(UNIX) or is_loopback(bind)


def check_apart(places: Sequence[Place]) -> None:
    """Raise ConfigurationError where two parts would listen at one place."""
    for number, one in enumerate(places):
        for other in places[:number]:
            unix = one.bind.startswith(UNIX) or other.bind.startswith(UNIX)
            if unix and one.bind == other.bind:
                raise ConfigurationError(
                    f"{other.part.value}_bind and {one.part.value}_bind are both {one.bind}: each needs its own place"
                )
            same = one.bind == other.bind or one.bind in ANYWHERE or other.bind in ANYWHERE
            if not unix and same and one.port == other.port:
                raise ConfigurationError(
                    f"{other.part.value}_port and {one.part.value}_port are both {one.port}: each needs its own port"
                )


def read_proxies(value: object) -> Proxies:
    """Return whose word is taken for who asks. Raises ConfigurationError, in one line."""
    try:
        return Proxies.of(value)
    except UsageError as error:
        raise ConfigurationError(str(error)) from error


@frozen
class Front:
    """The way in which proxies say who visits, and the file that keeps who did, if there is one."""

    identity: ProxyIdentity = NO_IDENTITY
    access_log: Path | None = None


def read_front(path: Path, given: Mapping[str, object]) -> Front:
    """Return what ``given`` settings of the file at ``path`` say. Raises ConfigurationError, in one line."""
    try:
        identity = ProxyIdentity.of(given.get("proxy_identity", {}))
    except UsageError as error:
        raise ConfigurationError(str(error)) from error
    if identity.header and not given.get("proxies"):
        raise ConfigurationError(
            f"proxy_identity: no proxy may say in {identity.header} who visits: name yours in proxies, "
            'such as ("127.0.0.1",)'
        )
    said = given.get("access_log")
    return Front(identity, None if said is None else read_directory(path, "access_log", said))
