"""Terminals: when somebody last typed into one, here or over a network, as ``w`` tells it.

The kernel notes it in steps of eight seconds. Who is logged in where is in utmp; newer systems have none, so all
terminals that there are are looked at.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

ROOT = Path("/")

MOST_TERMINALS = 1_000


def typed_at(root: Path = ROOT) -> float | None:
    """Return when a terminal was last typed into, in seconds of wall time; None where there is none."""
    found: float | None = None
    for place, prefix in ((root / "dev/pts", ""), (root / "dev", "tty")):
        for entry in _entries(place):
            if entry.startswith(prefix) and entry[len(prefix) :].isdigit() and entry != "tty0":
                when = _accessed(place / entry)
                found = when if found is None else max(found, when or 0.0)
    return found or None


def _entries(place: Path) -> list[str]:
    try:
        return sorted(os.listdir(place))[:MOST_TERMINALS]
    except OSError:
        return []


def _accessed(path: Path) -> float | None:
    try:
        found = path.stat()
    except OSError:
        return None  # it was closed meanwhile
    return found.st_atime if stat.S_ISCHR(found.st_mode) else None
