"""Reads the settings that name places: hosts, ports, URLs, an address of mail, directories.

Each reader returns a value in its one form, or raises ConfigurationError that begins with what set it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from attrs import evolve

from buildtool.configuration.finding import at_home
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, at_ports, read_addresses
from buildtool.model.addresses import PORTS, is_address, valid_address, valid_bind, valid_host, valid_url
from buildtool.model.text import quoted


def valid_port(_instance: object, attribute: object, value: int) -> None:
    """Raise ConfigurationError unless an attribute is a port; a validator of attrs."""
    check_port(getattr(attribute, "name", "port"), value)


def check_port(name: str, value: object) -> None:
    """Raise ConfigurationError unless the value of a setting is a port."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in PORTS:
        raise ConfigurationError(f"{name} = {quoted(value)} is not usable: a port is a whole number from 1 to 65535")


def read_host(value: object, what: str = "host =") -> str:
    """Return where the metaserver is found. Raises ConfigurationError."""
    return _read(partial(valid_host, port="pb_port ="), value, what)


def read_metaserver(path: Path, value: object, port: int, what: str = "host =") -> tuple[MetaserverAddress, ...]:
    """Return the addresses of the metaserver, at ``port`` where they name none. Raises ConfigurationError.

    Files that they name lie beside the configuration file.
    """
    try:
        found = at_ports(read_addresses(value, what, "pb_port ="), port)
    except UsageError as error:
        raise ConfigurationError(str(error)) from error

    def beside(said: str) -> str:
        return said and str(path.parent / at_home(Path(said), what))

    return tuple(
        evolve(
            one,
            trust_roots=beside(one.trust_roots),
            certificate=beside(one.certificate),
            private_key=beside(one.private_key),
        )
        for one in found
    )


def read_mail_host(value: object, what: str = "mail: host =") -> str:
    """Return where the mail server is found. Raises ConfigurationError."""
    return _read(partial(valid_host, port="port ="), value, what)


def read_bind(value: object, what: str = "bind =") -> str:
    """Return the address to listen on. Raises ConfigurationError."""
    return _read(valid_bind, value, what)


def read_public_url(value: object, what: str = "public_url =") -> str:
    """Return what links to pages begin with, without a slash at the end. Raises ConfigurationError."""
    return _read(valid_url, value, what)


def read_transfer_url(value: object, what: str = "transfer_url =") -> str:
    """Return where artifacts are fetched, without a slash at the end. Raises ConfigurationError."""
    return _read(valid_url, value, what)


def read_sender(value: object, what: str = "mail: sender =") -> str:
    """Return the address that mail comes from. Raises ConfigurationError."""
    try:
        return valid_address(value if isinstance(value, str) else "")
    except UsageError as error:
        raise ConfigurationError(
            f"{what} {quoted(value)} is not usable: it is an address such as farm@example.org"
        ) from error


def _read(read: Callable[[object, str], str], value: object, what: str) -> str:
    """Return a host, an address or a URL in its one form. Raises ConfigurationError that begins with ``what``."""
    try:
        return read(value, what)
    except UsageError as error:
        raise ConfigurationError(str(error)) from error


def reading(read: Callable[[object, str], str]) -> Callable[[object, str], str]:
    """Return what reads a setting as ``read`` does, but raises ConfigurationError."""
    return partial(_read, read)


PLACES: Mapping[str, Callable[[object, str], str]] = {
    "bind": read_bind,
    "public_url": read_public_url,
    "transfer_url": read_transfer_url,
    "mail.host": read_mail_host,
    "mail.sender": read_sender,
}
"""How the settings are read that name machines, wherever they come from."""


def is_within(said: str, numbers: range) -> bool:
    """Return whether a text is one of these numbers, in digits; not one of so many zeros that it is none."""
    return said.isascii() and said.isdigit() and len(said) <= len(str(numbers[-1])) and int(said) in numbers


def read_directory(path: Path, name: str, value: object) -> Path:
    """Return ``value`` as an absolute path, relative to the configuration file. Raises ConfigurationError."""
    said = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if not isinstance(said, str) or not said or not _is_file_name(said):
        raise ConfigurationError(f"{name} = {quoted(value)} is not usable: it is a path")
    plain = str.__str__(said)  # of a text that is also something else the text alone
    return path.parent / at_home(Path(plain), name)


def _is_file_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def check_builds_apart(state_dir: Path, build_dir: Path) -> None:
    """Raise ConfigurationError when builds would be made among what the metaserver must not lose."""
    state, build = Path(os.path.realpath(state_dir)), Path(os.path.realpath(build_dir))
    if state == build or state in build.parents:
        how = "is" if state == build else "lies inside"
        raise ConfigurationError(
            f"build_dir = {build_dir} {how} state_dir = {state_dir}: build servers need a directory outside of it"
        )


def default_bind(host: str) -> str:
    """Return ``host`` when it is an address; for a name only loopback, until ``bind`` says more."""
    return host if is_address(host) else "127.0.0.1"
