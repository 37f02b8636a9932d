"""The owner's files in ``build_dir``: ``buildserver.toml`` with the options, ``info/`` with words about the machine.

Joining a farm writes samples of them; what is there is the owner's and never overwritten. Mistakes in the file are a
ConfigurationError of one line.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from buildtool.adapters.storage.whole_text import new_text
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, read_placed
from buildtool.model.text import one_line, quoted
from buildtool.programs.buildserver.guest.placing import GUEST_FILE, OWNER_FILE, unknown_setting
from buildtool.programs.buildserver.guest.wishes import GUEST_NAMES, GUEST_OPTIONS
from buildtool.programs.buildserver.options import ADDRESSES, DEFAULTS, OPTIONS
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import Subcommand

FILE = OWNER_FILE
INFO = "info"

SIZE_LIMIT = 64 * 1024
"""The largest file that is read, in bytes."""

_SAMPLES = {
    "platforms": '["native", "ppc"]',
    "toolchains": '"toolchains.toml"',
    "time_limit": "3600",
    "secret_files": '["secrets/token"]',
    "sandbox": '"strict"',
    "readable": '["/opt"]',
    "allow_network": '["testproject"]',
    "umask": '"022"',
    "numcpus": "4",
    "without": '["ccache"]',
    "follow_config": '"https://git.example.org/farm.git#main"',
    "signed_by": '["keys/anna.pub"]',
    "maxretries": "100",
    "max_idle": "1800",
}
"""What is shown of settings that have no default; nothing is set by it."""

_LISTS = frozenset({"platforms", "secret_files", "readable", "allow_network", "signed_by", "without"})
"""Settings that may be a list."""

_NUMBERS = frozenset({"time_limit", "numcpus", "maxretries", "max_idle"})
"""Settings that are numbers though they have no default."""

_GUEST_SAMPLES = {
    "hours": '["Mon-Fri 20:00-07:00", "Sat,Sun 00:00-24:00"]', "network_hours": '["22:00-06:00"]', "idle_after": "15",
    "away": '["2026-12-24..2027-01-02"]', "max_load": "0.5", "patience": "10", "nice": "10", "cpus": "2", "disk": "20",
    "memory": '"75%"', "memory_present": "4", "upload_rate": "500", "download_rate": "2000", "allow_shutdown": '"both"',
}  # fmt: skip
"""What is shown of the owner's wishes, of which those that are not here are true or false."""

_ABOUT = {
    "admin": "# Whom to ask about this machine, such as: Ann Example <ann@example.org>",
    "host": "# What people may want to know of this machine, in a line, such as: the old workstation in room 12",
    "access_uri": "# How those who may log in reach it, such as: ssh://attic.example.org",
}
"""The samples in ``info/``, by name. Lines that begin with # are not shown to anybody."""

_UNEDITED = frozenset({
    *(words.removeprefix("# ") for words in _ABOUT.values()),
    "Your Name Here <admin@youraddress.invalid>",
    "Please put a description of this build host here",
})  # fmt: skip
"""What stands in samples, ours and Buildbot's, and says nothing."""


@frozen
class OwnerFile:
    """The settings in the owner's file: those of options by their name in the program, and the ``addresses``."""

    path: Path
    options: Mapping[str, object]
    addresses: tuple[MetaserverAddress, ...] = ()


@frozen
class MachineInfo:
    """The words of the owner about the machine, each one line or empty."""

    admin: str = ""
    host: str = ""
    access_uri: str = ""


# --- reading --------------------------------------------------------------------------------------------


def load_owner_file(build_dir: Path) -> OwnerFile:
    """Return what the owner's file says; nothing where there is none. Raises ConfigurationError."""
    path = build_dir / FILE
    data = _read(path)
    if data is None:
        return OwnerFile(path, {})
    if len(data) > SIZE_LIMIT:
        raise ConfigurationError(f"{path}: is larger than {SIZE_LIMIT // 1024} KiB")
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {' '.join(str(error).split())}") from error
    return parse_owner_file(found, path)


def parse_owner_file(found: Mapping[str, object], path: Path) -> OwnerFile:
    """Return what the values of the file at ``path`` mean. Raises ConfigurationError."""
    known = [ADDRESSES, *DEFAULTS]
    for name in found:
        if name not in known:
            raise unknown_setting(path, name, known, {GUEST_FILE: GUEST_NAMES})
    options = {name: _value(name, value, path) for name, value in found.items() if name != ADDRESSES}
    said = found.get(ADDRESSES, [])
    try:
        addresses = read_placed(said, f"{path}: {ADDRESSES} =") if said else ()
    except UsageError as error:
        raise ConfigurationError(str(error)) from error
    return OwnerFile(path, options, addresses)


def _value(name: str, value: object, path: Path) -> object:
    """Return a setting as its option has it. Raises ConfigurationError."""
    if isinstance(DEFAULTS[name], bool):
        if isinstance(value, bool):
            return value
        raise ConfigurationError(f"{path}: {name} = {quoted(value)} is not true or false")
    if name in _LISTS and isinstance(value, list):
        value = ",".join(map(str, value))
    number = (isinstance(DEFAULTS[name], int) and name != "umask") or name in _NUMBERS
    if isinstance(value, bool) or not isinstance(value, int if number else str):
        raise ConfigurationError(f"{path}: {name} = {quoted(value)} is not {'a whole number' if number else 'a text'}")
    read: Callable[[str], object] = OPTIONS[f"--{name.replace('_', '-')}"]["type"]
    try:
        made = read(str(value))
    except (UsageError, argparse.ArgumentTypeError, ValueError) as error:
        raise ConfigurationError(f"{path}: {name} = {error}") from error
    if isinstance(made, tuple):
        return tuple(path.parent / one if isinstance(one, Path) else one for one in made)
    return path.parent / made if isinstance(made, Path) else made


def load_info(build_dir: Path) -> MachineInfo:
    """Return what the owner wrote about the machine. Raises ConfigurationError."""
    return MachineInfo(**{name: _words(build_dir / INFO / name) for name in _ABOUT})


def _words(path: Path) -> str:
    """Return what a file of the owner's says in a line; nothing while it is a sample. Raises ConfigurationError."""
    if path.exists() and not path.is_file():  # a pipe or a device might never end
        raise ConfigurationError(f"{path}: is no file")
    text = (_read(path) or b"").decode("utf-8", "replace")
    said = one_line(" ".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).strip())
    return "" if said in _UNEDITED else said


def _read(path: Path) -> bytes | None:
    """Return what a file holds, None where there is none. Raises ConfigurationError."""
    try:
        with path.open("rb") as stream:
            return stream.read(SIZE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error


# --- samples --------------------------------------------------------------------------------------------


def write_samples(build_dir: Path, name: str, addresses: Sequence[tuple[str, int]]) -> tuple[Path, ...]:
    """Write the files that are not there, for a machine that joined under ``name``; return those that were written.

    Raises ConfigurationError.
    """
    found = {build_dir / FILE: sample(name, addresses), build_dir / GUEST_FILE: guest_sample()}
    found |= {build_dir / INFO / one: f"{words}\n" for one, words in _ABOUT.items()}
    return tuple(path for path, text in found.items() if _write_new(path, text))


def sample(name: str, addresses: Sequence[tuple[str, int]]) -> str:
    """Return the text of a file that says what a machine has joined as and where, and every option at its default."""
    where = ", ".join(json.dumps(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") for host, port in addresses)
    lines = [
        "# What this build server is started with. An option of the command line goes before it.",
        "# It was written when the machine joined its farm, and is yours to edit: it is never overwritten.",
        "",
        "# The name under which it joined, and where the metaserver is: tried in turn; endpoint strings work too.",
        f"name = {json.dumps(name)}",
        f"{ADDRESSES} = [{where}]",
    ]
    for option, default in DEFAULTS.items():
        if option == "name":
            continue
        flag = "--no-cross" if option == "cross" else f"--{option.replace('_', '-')}"
        words = "whether to look for cross compilers" if option == "cross" else OPTIONS[flag]["help"]
        shown = _SAMPLES.get(option) or json.dumps(default)
        lines += ["", f"# {words[:1].upper()}{words[1:]}.", f"# {option} = {shown}"]
    return "\n".join(lines) + "\n"


def _show_guest_sample(_said: argparse.Namespace) -> int:
    say(guest_sample().rstrip("\n"))
    return EXIT_OK


SAMPLE_COMMAND: Subcommand[int] = Subcommand(
    "guest-sample", f"print a sample of {GUEST_FILE}: each wish that its owner may have, and what it means",
    f"guest-sample > builds/{GUEST_FILE}", _show_guest_sample, options=(),
)  # fmt: skip
"""The command that prints what joining a farm writes."""


def guest_sample() -> str:
    """Return the text of a file in which each wish of the owner stands with what it means, and none is set."""
    lines = [
        "# When this machine builds and what builds may use. An option of the command line goes before it.",
        "# It is read again when it changes. It was written when the machine joined its farm, and is yours to edit.",
    ]
    for name in GUEST_NAMES:
        words = GUEST_OPTIONS[f"--{name.replace('_', '-')}"]["help"].replace("%%", "%")
        lines += ["", f"# {words[:1].upper()}{words[1:]}.", f"# {name} = {_GUEST_SAMPLES.get(name, 'true')}"]
    return "\n".join(lines) + "\n"


def _write_new(path: Path, text: str) -> bool:
    """Write a file whole unless there is one of its name; return whether it was. Raises ConfigurationError."""
    try:
        with new_text(path, text):
            return True
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}") from error
