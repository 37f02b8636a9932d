"""The settings of a machine's owner: said on the command line, or else in a TOML file.

That file is read again when it changes. A wrong value is one line that says what would be right.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

from attrs import frozen

from buildtool.adapters.host.presence.probe import ToldBy
from buildtool.adapters.host.zones import zone_named
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.guest.hours import DaySpan, WeekHours, read_away, read_hours
from buildtool.model.guest.memory import MemoryAmount, read_memory
from buildtool.model.guest.stance import IDLE_AFTER, MAX_LOAD, PATIENCE, OwnerWishes
from buildtool.model.text import quoted
from buildtool.programs.buildserver.guest.placing import GUEST_FILE, OWNER_FILE, unknown_setting
from buildtool.programs.buildserver.options import ADDRESSES, DEFAULTS
from buildtool.programs.common.subcommands import How, Several, number, switch, valued

FILE = GUEST_FILE
"""The name in ``build_dir`` of the file that is read where ``--settings`` names no other."""

SIZE_LIMIT = 64 * 1024
MOST_SPANS = 16
"""Most hours, and most spans of days, that may be said."""

SHUTDOWNS = ("signal", "file", "both", "none")
"""What may have a build server drain: SIGHUP, its stamp, both or none."""

_MINUTE = 60.0
GIB = 1 << 30
_MOST_LOAD = 1_000.0


def load_number(text: str) -> float:
    """Return a number of processors. Raises UsageError."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= _MOST_LOAD:
        raise UsageError(f"{quoted(text)} is no number of processors: say 0.5, or 2")
    return found


def shutdown_choice(text: str) -> str:
    """Return what may have the build server drain. Raises UsageError."""
    if text not in SHUTDOWNS:
        raise UsageError(f"{quoted(text)} is none of {', '.join(SHUTDOWNS)}")
    return text


def hours_said(text: str) -> tuple[WeekHours, ...]:
    """Return the hours that one value says. Raises UsageError."""
    return (read_hours(text, zone_named),)


def away_said(text: str) -> tuple[DaySpan, ...]:
    """Return the days that one value says. Raises UsageError."""
    return (read_away(text, zone_named),)


_TIMES = '"Mon-Fri 20:00-07:00 Europe/Berlin"'

GUEST_OPTIONS: Mapping[str, How] = {
    "--settings": valued(f"what is said here, in a TOML file that is read again when it changes (default: {FILE} in "
                         "build_dir, if it is there)", "FILE", Path),
    "--hours": valued(f"take builds in these hours only, such as {_TIMES}; may be said several times", "HOURS",
                      hours_said, action=Several),
    "--network-hours": valued("begin builds and send artifacts in these hours only; what runs goes on", "HOURS",
                              hours_said, action=Several),
    "--idle-only": {**switch("build only while its owner is away from the machine"), "default": None},
    "--idle-after": valued(f"minutes without keyboard and mouse after which they are (default {IDLE_AFTER / 60:g})",
                           "MIN", number(1, 1440)),
    "--max-load": valued("processors that others may use while it builds with --idle-only (default: no limit, "
                         f"or {MAX_LOAD:g} where nothing else tells of the owner)", "N", load_number),
    "--mains-only": {**switch("build only while the machine does not run from its battery"), "default": None},
    "--patience": valued(f"minutes for which a build is frozen before it is handed back (default {PATIENCE / 60:g})",
                         "MIN", number(0, 1440)),
    "--away": valued("days on which nobody is to miss the machine, such as 2026-12-24..2027-01-02; may be said several "
                     "times", "DAYS", away_said, action=Several),
    "--nice": valued("by how much builds give way to everything else on the processors, up to 19 (default 0)", "N",
                     number(0, 19)),
    "--io-idle": {**switch("let builds use disks only while nothing else does (Linux)"), "default": None},
    "--cpus": valued("processors that all builds together may use (default: all)", "N", number(1, 4096)),
    "--memory": valued("memory that all builds together may use: GiB, or a share such as 75%% (default: 90%%)",
                       "AMOUNT", read_memory),
    "--memory-present": valued("the same while its owner is at the machine: builds that use more stand still until "
                               "they have left it (default: no less)", "AMOUNT", read_memory),
    "--disk": valued("GiB of the disk that builds leave free: below it none begins, and what builds is handed back "
                     "(default 0)", "GIB", number(0, 10**6)),
    "--upload-rate": valued("KiB of logs and artifacts that are sent each second at most (default: no limit)", "KIB",
                            number(1, 10**7)),
    "--download-rate": valued("KiB that are fetched each second at most (default: no limit)", "KIB", number(1, 10**7)),
    "--allow-shutdown": valued("what lets it drain: signal (SIGHUP), file (shutdown.stamp), both, none (default both)",
                               "WHAT", shutdown_choice),
}  # fmt: skip
"""What ``add_argument`` takes for each."""

_LISTS = frozenset({"hours", "network_hours", "away"})
_FLAGS = frozenset({"idle_only", "mains_only", "io_idle"})
_AMOUNTS = frozenset({"memory", "memory_present"})
GUEST_NAMES = tuple(flag[2:].replace("-", "_") for flag in GUEST_OPTIONS if flag != "--settings")
"""The settings of the file."""


@frozen
class GuestSettings:
    """The settings as they hold now: what the owner wishes, and what may have the build server drain.

    ``nice``, ``io_idle`` and ``cpus`` are for commands that start from now on, as in ``Gentleness``, ``memory`` for
    builds that do: how many bytes all of them may use. Rates are in bytes each second.
    """

    wishes: OwnerWishes
    shutdown: str = "both"
    nice: int = 0
    io_idle: bool = False
    cpus: int | None = None
    upload_rate: float | None = None
    download_rate: float | None = None
    memory: int | None = None

    @property
    def disk_kept(self) -> int:
        """How many bytes of the disk the owner keeps from builds."""
        return int(self.wishes.disk * GIB)


def settings_file(said: argparse.Namespace, build_dir: Path) -> Path:
    """Return where the settings are: in the file that was named, or in that of ``build_dir``."""
    named = getattr(said, "settings", None)
    return build_dir / FILE if named is None else Path(named)


def read_settings(said: argparse.Namespace, path: Path, machine: int | None = None) -> GuestSettings:
    """Return the settings by the command line, which goes first, and the file. Raises ConfigurationError.

    ``machine`` is how many bytes of memory there are, of which settings may say a share.
    """
    found = {**_parsed(path, required=getattr(said, "settings", None) is not None), **_spoken(said)}
    for name in _LISTS:
        if len(found.get(name) or ()) > MOST_SPANS:
            raise ConfigurationError(f"{name}: at most {MOST_SPANS} may be said")
    memory, present = (_size(name, found.get(name), machine) for name in ("memory", "memory_present"))
    if memory is not None and present is not None and present > memory:
        raise ConfigurationError("memory_present is more than memory: while its owner is there, builds get less")
    wishes = OwnerWishes(
        zone_named(""),
        hours=tuple(found.get("hours") or ()),
        network_hours=tuple(found.get("network_hours") or ()),
        away=tuple(found.get("away") or ()),
        idle_only=bool(found.get("idle_only")),
        idle_after=found.get("idle_after", IDLE_AFTER / _MINUTE) * _MINUTE,
        max_load=found.get("max_load"),
        mains_only=bool(found.get("mains_only")),
        patience=found.get("patience", PATIENCE / _MINUTE) * _MINUTE,
        disk=float(found.get("disk", 0)),
        memory_present=present,
    )
    return GuestSettings(
        wishes,
        found.get("allow_shutdown", "both"),
        nice=found.get("nice", 0),
        io_idle=bool(found.get("io_idle")),
        cpus=found.get("cpus"),
        upload_rate=_rate(found.get("upload_rate")),
        download_rate=_rate(found.get("download_rate")),
        memory=memory,
    )


def check_told(wishes: OwnerWishes, told: ToldBy) -> None:
    """Raise UsageError where nothing on this machine tells what a wish depends on."""
    if wishes.watches_owner and not told.words():
        flag = "--idle-only" if wishes.idle_only else "--memory-present"
        raise UsageError(
            f"{flag}: nothing on this machine tells whether its owner is there (logind, /dev/input, terminals, "
            f"/proc/stat were looked for): say {'--hours' if wishes.idle_only else '--memory'} instead"
        )
    if wishes.max_load is not None and wishes.watches_owner and not told.load:
        raise UsageError("--max-load: nothing on this machine tells what others use (/proc/stat was looked for)")


def _rate(said: int | None) -> float | None:
    return None if said is None else said * 1024.0


def _size(name: str, said: MemoryAmount | None, machine: int | None) -> int | None:
    try:
        return None if said is None else said.of(machine)
    except UsageError as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _spoken(said: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name in GUEST_NAMES if (value := getattr(said, name, None)) is not None}


def _parsed(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if required:
            raise ConfigurationError(f"{path}: there is no such file") from error
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > SIZE_LIMIT:
        raise ConfigurationError(f"{path}: is larger than {SIZE_LIMIT // 1024} KiB")
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {' '.join(str(error).split())}") from error
    for name in found:
        if name not in GUEST_NAMES:
            raise unknown_setting(path, name, GUEST_NAMES, {OWNER_FILE: (ADDRESSES, *DEFAULTS)})
    return {name: _value(name, value, path) for name, value in found.items()}


def _value(name: str, value: object, path: Path) -> Any:  # noqa: ANN401 - of whatever kind the setting is
    where, read = f"{path}: {name} =", GUEST_OPTIONS[f"--{name.replace('_', '-')}"].get("type", str)
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise ConfigurationError(f"{where} {quoted(value)} is not true or false")
        return value
    if name in _LISTS:
        texts: Sequence[object] = value if isinstance(value, list) else [value]
        return tuple(one for text in texts for one in _made(where, read, text, str))
    kind = str if name == "allow_shutdown" else str | int | float if name in _AMOUNTS else int | float
    return _made(where, read, value, kind)


def _made(where: str, read: Callable[[str], Any], value: object, kind: type | UnionType) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ConfigurationError(f"{where} {quoted(value)} is not {'a text' if kind is str else 'a number'}")
    try:
        return read(str(value))
    except (UsageError, argparse.ArgumentTypeError) as error:
        raise ConfigurationError(f"{where} {error}") from error
