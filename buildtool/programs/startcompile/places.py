"""Where the metaserver is for whoever has no configuration: where the environment says, or where this account joined.

Tested by tests/programs/startcompile/test_describing.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from buildtool.adapters.storage.private_directories import own_keys
from buildtool.client.farm_urls import FarmUrl, read_farm_url
from buildtool.configuration.given.values import NOTHING, SPOKEN, Given, given_to, options_of
from buildtool.errors import UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, addresses_meant, at_ports, read_addresses
from buildtool.model.addresses import PORTS
from buildtool.programs.common.subcommands import before_dashes

_LEADING = ("--host", "--port", "--config", "--settings-file")
"""The options with a value that say where the metaserver is, for whatever is done there."""

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

    That is where its pages are; ``token_file`` is a file with the token to show there, ``token`` the token itself.
    """

    addresses: tuple[MetaserverAddress, ...] = ()
    http: FarmUrl | None = None
    token_file: Path | None = None
    chosen: bool = False
    token: str = field(default="", repr=False)

    @property
    def asked(self) -> tuple[MetaserverPlace, ...]:
        """The places that are tried; none where no one was said."""
        return (self.http,) if self.http is not None else self.addresses


NO_PLACE = MetaserverPlaces()


def places_meant(said: argparse.Namespace, configured: tuple[MetaserverAddress, ...] | None) -> MetaserverPlaces:
    """Return where the metaserver is: as said, as configured (or None), as the environment says, or where one joined.

    Raises UsageError for what contradicts itself, or is no address.
    """
    given = given_to(said) or NOTHING
    spoken = options_of(said, SPOKEN)
    chosen, over_http = bool(said.host or said.port or said.use_tls), bool(said.http)
    here, there = not spoken.isdisjoint(("host", "port", "use_tls")), "http" in spoken
    if chosen and over_http and here != there:  # what the command line says goes before what is given
        chosen, over_http = here, there
    if chosen and over_http:
        raise UsageError("--http says where the pages are, --host, --port and --use-tls where the control port: choose")
    http = _url_said(said.http, given) if over_http and not chosen else None
    if said.token_file is not None and http is None and "token_file" not in given.options:
        raise UsageError("--token-file goes with --http: at the control port the key of this account says who asks")
    if configured is None:
        configured = () if http else places_without_configuration(given)
    addresses: tuple[MetaserverAddress, ...] = ()
    if configured or (said.host and chosen):
        fallback = configured or (MetaserverAddress("", USUAL_PORT),)
        host, port, use_tls = (said.host or (), said.port, said.use_tls) if chosen else ((), 0, False)
        addresses = addresses_meant(host, port, fallback, use_tls=use_tls)
    token = given.options.get("token")
    return MetaserverPlaces(addresses, http, said.token_file, chosen, str(token.value) if token is not None else "")


def called_again(program: str, words: Sequence[str]) -> str:
    """Return how a program is called that speaks to the same metaserver as one that was called with these words."""
    found, coming = [program], iter(before_dashes(words))
    for word in coming:
        flag, equals, _ = word.partition("=")
        if flag in _LEADING:
            found += [word] if equals else [word, next(coming, "")]
        elif word == "--use-tls":
            found.append(word)
    return shlex.join(found)


def _url_said(said: str, given: Given) -> FarmUrl:
    """Return where the pages are that are to be asked: as said, or as given. Raises UsageError."""
    kept = given.options.get("http")
    return read_farm_url(said) if kept is None else read_farm_url(said, kept.origin)


def shown_token(path: Path | None, given: str) -> str:
    """Return the token to show over HTTP: in a file, or as it was given; "" for none. Raises UsageError.

    Nothing that is started from here on finds it in the environment.
    """
    os.environ.pop("BUILDTOOL_TOKEN", "")
    text, where = given, "BUILDTOOL_TOKEN"
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


def places_without_configuration(given: Given) -> tuple[MetaserverAddress, ...]:
    """Return the addresses of the metaserver, or none. Raises UsageError for what is no address."""
    said, port = given.settings.get("host"), given.settings.get("pb_port")
    number = port.value if port is not None and isinstance(port.value, int) and port.value in PORTS else USUAL_PORT
    if said is not None:
        return at_ports(read_addresses(said.value, said.origin.removeprefix("$")), number)
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
