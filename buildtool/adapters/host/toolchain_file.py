"""The donor's own file about platforms: which to offer, and toolchains that are not found by themselves.

It is TOML and only declares::

    platforms = ["native", "ppc"]

    [[toolchain]]
    triple = "powerpc-linux-gnu"
    cc = "/opt/ppc/bin/gcc -mcpu=603"
    libc_version = "2.31"

Every mistake in it is a ConfigurationError of one line that says where.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from buildtool.adapters.host.toolchains import PROGRAMS, NamedToolchain
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.platforms import ARCHES, TRIPLES, canonical_arch
from buildtool.model.properties import STANDARD
from buildtool.model.servers import OfferKind

SIZE_LIMIT = 64 * 1024
"""The largest file that is read, in bytes."""

TOOLCHAINS_LIMIT = 16
"""The most toolchains that a file may name."""

COMMAND_LIMIT = 500
"""The longest command, in characters: it is announced."""

_TRIPLE = re.compile(r"[a-z0-9_]{1,20}(-[a-z0-9_.]{1,30}){1,3}\Z")
_COMMANDS = {role.lower(): role for role in PROGRAMS}
_KEYS = ("triple", "arch", "kind", *_COMMANDS, "libc", "libc_version", "run")
_KINDS = {kind.value: kind for kind in OfferKind}


@frozen
class ToolchainFile:
    """The contents of the file. ``platforms`` is None when it restricts nothing."""

    platforms: tuple[str, ...] | None = None
    toolchains: tuple[NamedToolchain, ...] = ()


def load_toolchain_file(path: Path) -> ToolchainFile:
    """Read the file. Raises ConfigurationError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > SIZE_LIMIT:
        raise ConfigurationError(f"{path}: is larger than {SIZE_LIMIT // 1024} KiB: that is no list of toolchains")
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {' '.join(str(error).split())}") from error
    return parse_toolchain_file(found, str(path))


def parse_toolchain_file(data: Mapping[str, object], where: str) -> ToolchainFile:
    """Return what the file's ``data`` say; ``where`` names the file. Raises ConfigurationError."""
    _only(data, ("platforms", "toolchain"), where)
    rows = data.get("toolchain", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigurationError(f"{where}: each toolchain is a table of its own under [[toolchain]]")
    if len(rows) > TOOLCHAINS_LIMIT:
        raise ConfigurationError(f"{where}: {len(rows)} toolchains are more than {TOOLCHAINS_LIMIT}")
    named = tuple(_toolchain(row, f"{where}: toolchain {number}") for number, row in enumerate(rows, start=1))
    return ToolchainFile(_platforms(data, where), named)


def arch_of(triple: str) -> str | None:
    """Return the architecture of a triple, also of one that is not in the table; None where the name does not say."""
    first = triple.partition("-")[0]
    arch = canonical_arch(first)
    return TRIPLES.get(triple) or (arch if arch in ARCHES and first != "arm" else None)


def _platforms(data: Mapping[str, object], where: str) -> tuple[str, ...] | None:
    names = data.get("platforms")
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f'{where}: platforms = {_shown(names)} is not a list such as ["native", "ppc"]')
    return tuple(names)


def _toolchain(row: Mapping[str, object], where: str) -> NamedToolchain:
    _only(row, _KEYS, where)
    triple = _text(row, "triple", where)
    if triple is None or not _TRIPLE.match(triple):
        raise ConfigurationError(f"{where}: triple = {_shown(triple)} is not a host triple such as powerpc-linux-gnu")
    where = f"{where} ({triple})"
    kind = _kind(_text(row, "kind", where), where)
    run = _text(row, "run", where)
    if run and kind is OfferKind.NATIVE:
        raise ConfigurationError(f"{where}: what is native runs by itself: leave run out, or say kind = 'cross'")
    return NamedToolchain(
        triple=triple,
        arch=_arch(_text(row, "arch", where), triple, where),
        kind=kind,
        tools={role: _command(row, key, where) for key, role in _COMMANDS.items() if key in row},
        libc=_property(row, "libc", where),
        libc_version=_property(row, "libc_version", where),
        run=None if run is None else tuple(shlex.split(_command(row, "run", where))) if run else (),
        where=where,
    )


def _kind(said: str | None, where: str) -> OfferKind:
    if said is None:
        return OfferKind.CROSS
    if said not in _KINDS:
        raise ConfigurationError(f"{where}: kind = {_shown(said)} is not one of {', '.join(_KINDS)}")
    return _KINDS[said]


def _arch(said: str | None, triple: str, where: str) -> str:
    arch = arch_of(triple) if said is None else canonical_arch(said)
    if arch is None:
        raise ConfigurationError(f"{where}: the triple does not tell the architecture: add arch, such as arch = 'ppc'")
    if arch not in ARCHES:
        raise ConfigurationError(f"{where}: arch = {_shown(said)} is not one of {', '.join(ARCHES)}")
    return arch


def _command(row: Mapping[str, object], key: str, where: str) -> str:
    said = _text(row, key, where) or ""
    try:
        words = shlex.split(said)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {key} = {_shown(said)}: {error}") from error
    if not words or not words[0] or len(said) > COMMAND_LIMIT:
        raise ConfigurationError(
            f"{where}: {key} = {_shown(said)} is not a command of at most {COMMAND_LIMIT} characters"
        )
    if "/" in words[0] and not words[0].startswith("/"):
        # Builds run in the project's tree, where such a name would be the project's own program.
        raise ConfigurationError(f"{where}: {key} = {_shown(said)} is neither a name in PATH nor an absolute path")
    return said


def _property(row: Mapping[str, object], key: str, where: str) -> str | None:
    said = _text(row, key, where)
    if said is None:
        return None
    try:
        return str(STANDARD[key].option.check(said))
    except UsageError as error:
        accepts = STANDARD[key].option.accepts()
        raise ConfigurationError(f"{where}: {key} = {_shown(said)} is not {accepts}") from error


def _text(row: Mapping[str, object], key: str, where: str) -> str | None:
    said = row.get(key)
    if said is not None and (not isinstance(said, str) or not said.isprintable()):
        raise ConfigurationError(f"{where}: {key} = {_shown(said)} is not one line of text")
    return said


def _only(row: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    unknown = next((key for key in row if key not in known), None)
    if unknown is not None:
        raise ConfigurationError(f"{where}: unknown setting {_shown(unknown)}; there are {', '.join(known)}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."  # noqa: PLR2004 - one line for a terminal
