"""Directories that are this account's alone, whatever the umask was when they were made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from buildtool.errors import UsageError

OTHERS = 0o077
"""Everything that anybody else may do."""

OTHERS_WRITE = 0o022


def people_directory() -> Path:
    """Return where the keys are that this account has at metaservers, a directory for each. Raises UsageError."""
    try:
        top = os.environ.get("XDG_CONFIG_HOME", "") or Path.home() / ".config"
    except RuntimeError as error:
        raise UsageError("this account has no home directory to keep a key in: set $XDG_CONFIG_HOME") from error
    return Path(top) / "buildtool" / "metaservers"


def own_keys() -> list[Path]:
    """Return the directories of the keys that this account has, none where it never joined a farm."""
    try:
        return sorted(people_directory().iterdir())
    except (OSError, UsageError):
        return []


def make_private(directories: Iterable[Path]) -> list[str]:
    """Make missing directories for this account alone; return a line for each that was open. Raises OSError."""
    said = []
    for directory in directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        said += tighten(directory, OTHERS)
    return said


def tighten(directory: Path, forbidden: int) -> list[str]:
    """Take others' permissions from a directory, if it is there; return the line that says so, or what prevented it.

    One with the sticky bit stays as it is, like /tmp.
    """
    try:
        mode = directory.stat().st_mode
        if not stat.S_ISDIR(mode) or not mode & forbidden:
            return []  # a device that is everybody's would be nobody's any more
        mode = stat.S_IMODE(mode)
        if mode & stat.S_ISVTX:
            return [f"{directory} is used by others, too (mode {mode:04o}): name a directory below it"]
        directory.chmod(mode & ~forbidden)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        return [
            f"{directory} may be used by others, which cannot be changed: {error.strerror}; give it to this account"
        ]
    return [f"{directory} could be used by others (mode {mode:04o}): it has mode {mode & ~forbidden:04o} now"]
