"""Where a word belongs that stands where it is not known: in another file of the owner's, or on the command line.

Covered by tests/programs/buildserver/guest/test_wishes.py and tests/programs/buildserver/test_owner_file.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from buildtool.errors import ConfigurationError
from buildtool.model.properties import nearest
from buildtool.model.text import near_word, quoted
from buildtool.programs.common.output import called

OWNER_FILE, GUEST_FILE = "buildserver.toml", "guest.toml"
"""The owner's files of settings, in ``build_dir``."""

COMMANDS = (
    "serve", "stop", "restart", "status", "pause", "resume", "reload", "drain", "guest-sample", "history",
    "config-diff", "accept-config", "add-toolchain", "add-platform", "list-platforms", "remove-platform", "show-info",
    "check-config", "doctor", "try", "new-project",
)  # fmt: skip
"""The commands of the program, each of which may be taken for a setting."""

_ELSEWHERE = {
    "host": f"say addresses in {OWNER_FILE}, or --host on the command line",
    "port": f"say addresses in {OWNER_FILE}, or --port on the command line",
    "use-tls": f'say addresses = ["tls:HOST:PORT"] in {OWNER_FILE}, or --use-tls on the command line',
    "no-cross": f"say cross = false in {OWNER_FILE}",
    **{
        one: f"it is said on the command line alone, as --{one}" for one in (
            "join", "settings", "config", "settings-file", "verbose", "log-file", "log-size", "log-count",
            "no-logrotate", "daemon", "pid-file", "basedir",
        )
    },
}  # fmt: skip
"""What to say of options that are settings of no file."""


def unknown_setting(
    path: Path, name: str, known: Collection[str], other: Mapping[str, Collection[str]]
) -> ConfigurationError:
    """Return the error of a setting in the file at ``path`` that is not among those ``known``; ``other`` are by file.

    It names what was meant: a setting of this file, or of another one, or a command.
    """
    plain = name.replace("_", "-").lower()
    for file, names in other.items():
        if plain.replace("-", "_") in names:
            return _error(path, name, f": it belongs into {file}")
    if plain in COMMANDS:
        return _error(path, name, f": it is a command: type {called('buildserver.py')} {plain}")
    if plain in _ELSEWHERE:
        return _error(path, name, f": {_ELSEWHERE[plain]}")
    if not near_word(name, known):
        for file, names in other.items():
            if near := near_word(name, names):
                return _error(path, name, f": did you mean {near}, which belongs into {file}?")
    return _error(path, name, nearest(name, known))


def _error(path: Path, name: str, end: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: unknown setting {quoted(name)}{end}")
