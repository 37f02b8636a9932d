"""Where the metaserver is for whoever has no configuration: where the environment says, or where this account joined.

Tested by tests/programs/startcompile/test_describing.py.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Protocol

from attrs import frozen

from buildtool.adapters.storage.private_directories import own_keys
from buildtool.client.farm_urls import FarmUrl, read_farm_url
from buildtool.errors import UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, addresses_meant, at_ports, read_addresses

USUAL_PORT = 23_432
"""The control port, unless it is said."""

USUAL_TRANSFER_PORT = 23_433
"""The transfer port, unless a configuration says it."""

NOWHERE = "nobody says where the metaserver is: say --host HOST, set BUILDTOOL_HOST, or join a farm"

_MOST = 1024 * 1024
_TOKEN = 200
"""Most characters of a token."""


class MetaserverPlace(Protocol):
    """A place where a metaserver is asked: an address of its control port, or that of the pages."""

    @property
    def where(self) -> str:
        """What people write for it."""


@frozen
class MetaserverPlaces:
    """The places to ask a metaserver at: ``addresses`` of its control port, ``chosen`` if one was said, or ``http``.

    That is where its pages are; ``token_file`` is a file with the token to show there.
    """

    addresses: tuple[MetaserverAddress, ...] = ()
    http: FarmUrl | None = None
    token_file: Path | None = None
    chosen: bool = False

    @property
    def asked(self) -> tuple[MetaserverPlace, ...]:
        """The places that are tried; none where no one was said."""
        return (self.http,) if self.http is not None else self.addresses


NO_PLACE = MetaserverPlaces()


def places_meant(said: argparse.Namespace, configured: tuple[MetaserverAddress, ...] | None) -> MetaserverPlaces:
    """Return where the metaserver is: as said, as configured (or None), as the environment says, or where one joined.

    Raises UsageError for what contradicts itself, or is no address.
    """
    chosen = bool(said.host or said.port or said.use_tls)
    if chosen and said.http:
        raise UsageError("--http says where the pages are, --host, --port and --use-tls where the control port: choose")
    http = None if chosen else _url_said(said.http or "")
    if said.token_file is not None and http is None:
        raise UsageError("--token-file goes with --http: at the control port the key of this account says who asks")
    if configured is None:
        configured = () if http else places_without_configuration()
    addresses: tuple[MetaserverAddress, ...] = ()
    if configured or said.host:
        fallback = configured or (MetaserverAddress("", USUAL_PORT),)
        addresses = addresses_meant(said.host or (), said.port, fallback, use_tls=said.use_tls)
    return MetaserverPlaces(addresses, http, said.token_file, chosen)


def _url_said(said: str) -> FarmUrl | None:
    """Return where the pages are that are to be asked: as said, or as the environment says. Raises UsageError."""
    kept = os.environ.get("BUILDTOOL_HTTP", "")
    if not (said or kept):
        return None
    return read_farm_url(said) if said else read_farm_url(kept, "BUILDTOOL_HTTP")


def shown_token(path: Path | None) -> str:
    """Return the token to show over HTTP: in a file, or in the environment; "" for none. Raises UsageError.

    Nothing that is started from here on finds it in the environment.
    """
    text, where = os.environ.pop("BUILDTOOL_TOKEN", ""), "BUILDTOOL_TOKEN"
    if path is not None:
        where = f"--token-file {path}"
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(_MOST).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not text and path is None:
        return ""
    if not (text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= _TOKEN):
        raise UsageError(f"{where} holds no token, such as bt_...: startcompile.py token WORDS makes one")
    return text


def places_without_configuration() -> tuple[MetaserverAddress, ...]:
    """Return the addresses of the metaserver, or none. Raises UsageError for what is no address."""
    said, port = os.environ.get("BUILDTOOL_HOST", ""), os.environ.get("BUILDTOOL_PB_PORT", "")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else USUAL_PORT  # noqa: PLR2004 - digits
    if said:
        return at_ports(read_addresses(said, "BUILDTOOL_HOST"), number)
    joined = [found for found in map(_joined, own_keys()) if found]
    if len(joined) > 1:
        several = " and ".join(one[0].where for one in joined)
        raise UsageError(f"you have joined several farms, at {several}: say which with --host")
    return joined[0] if joined else ()


def _joined(directory: Path) -> tuple[MetaserverAddress, ...]:
    """Return where the metaserver was of which a directory has the key; none where it has none of use."""
    try:
        with (directory / "identity.json").open("rb") as file:
            found = json.loads(file.read(_MOST))["addresses"]
        return tuple(MetaserverAddress(str(host), int(port)) for host, port in found)
    except (OSError, ValueError, KeyError, TypeError):
        return ()
