"""Reads the settings that are times, of keys, certificates and backups, and where others reach the metaserver.

Each reader returns a value in its one form, or raises ConfigurationError that begins with what set it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from buildtool.configuration.places import read_host
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.join_line import ADDRESSES, HostPort, read_addresses
from buildtool.model.addresses import at_port, in_url, is_loopback
from buildtool.model.text import duration_of, duration_text, quoted

CERTIFICATE_LIFE = duration_of("30d")
REJOIN_WITHIN = duration_of("400d")

TLS_NAMES = 32

_LIVES = (10.0, duration_of("400d"))
_AWAY = (10.0, duration_of("3650d"))
_BACKUPS = (10.0, duration_of("400d"))


class Trusted(Enum):
    """The peers that are believed without a key: none, those on this machine, or all that can connect."""

    NOBODY = "nobody"
    LOOPBACK = "loopback"
    EVERYBODY = "everybody"


def read_trusted(value: object) -> Trusted:
    """Return who is believed without a key. Raises ConfigurationError."""
    for one in Trusted:
        if value in (one, one.value):
            return one
    raise ConfigurationError(
        f"trusted = {quoted(value)} is not usable: it says who is believed without a key, "
        "and is 'nobody', 'loopback' or 'everybody'"
    )


def needs_keys_at(trusted: Trusted, bind: str) -> bool:
    """Return whether a peer that connects to this address needs a key."""
    if trusted is Trusted.LOOPBACK:
        return not is_loopback(bind)
    return trusted is Trusted.NOBODY


def read_tls_names(value: object) -> tuple[str, ...]:
    """Return under which other hosts the metaserver is reached. Raises ConfigurationError."""
    if isinstance(value, str) or not isinstance(value, list | tuple) or len(value) > TLS_NAMES:
        raise ConfigurationError(
            f"tls_names = {quoted(value)} is not usable: it is a list of at most {TLS_NAMES} hosts"
        )
    return tuple(read_host(one, "tls_names =") for one in value)


def read_certificate_life(value: object, what: str = "certificate_life =") -> float:
    """Return for how many seconds a certificate holds. Raises ConfigurationError."""
    return _duration(value, what, *_LIVES)


def read_rejoin_within(value: object, what: str = "rejoin_within =") -> float:
    """Return for how many seconds a key may be away after its certificate has expired. Raises ConfigurationError."""
    return _duration(value, what, *_AWAY)


def read_backup_within(value: object, what: str = "backup_within =") -> float:
    """Return how old the last backup may be, in seconds, 0 for any age. Raises ConfigurationError."""
    unlimited = value == "" or (isinstance(value, float) and value == 0)
    return 0.0 if unlimited else _duration(value, what, *_BACKUPS)


def read_public_address(value: object, what: str = "public_address =") -> tuple[HostPort, ...]:
    """Return the hosts and ports under which others reach the metaserver. Raises ConfigurationError."""
    said = value.split(",") if isinstance(value, str) else value
    if not isinstance(said, list | tuple) or not all(isinstance(one, str | tuple) for one in said):
        raise ConfigurationError(
            f"{what} {quoted(value)} is not usable: it is farm.example.org:443, or a list of at most {ADDRESSES} such"
        )
    try:
        return read_addresses([at_port(*one) if isinstance(one, tuple) else one.strip() for one in said], what)
    except (UsageError, TypeError) as error:
        raise ConfigurationError(str(error)) from error


def own_site(addresses: tuple[HostPort, ...], host: str, port: int) -> str:
    """Return the URL of the one port that speaks TLS, as others reach it."""
    host, port = addresses[0] if addresses else (host, port)
    return f"https://{in_url(host)}:{port}"


def _duration(value: object, what: str, least: float, most: float) -> float:
    if isinstance(value, float) and least <= value <= most:
        return value  # read already
    try:
        found = duration_of(value if isinstance(value, str) else "")
    except UsageError as error:
        raise ConfigurationError(
            f"{what} {quoted(value)} is not usable: it is a text such as '20s', '12h' or '30d'"
        ) from error
    if not least <= found <= most:
        raise ConfigurationError(
            f"{what} {quoted(value)} is not usable: it is from {duration_text(least)} to {duration_text(most)}"
        )
    return found


READERS: Mapping[str, Callable[[object, str], object]] = {
    "certificate_life": read_certificate_life,
    "rejoin_within": read_rejoin_within,
    "backup_within": read_backup_within,
    "public_address": read_public_address,
}
"""How these settings are read, wherever they come from."""
