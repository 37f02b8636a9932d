"""``quarantine/``: where files go that are damaged or belong to nobody, for a person to look at and delete.

Tested by tests/adapters/maintenance/test_scrub_artifacts.py.
"""

from __future__ import annotations

from pathlib import Path

from buildtool.adapters.storage.filesystem import Disk, RealDisk
from buildtool.adapters.storage.filesystem import move as carry

DIRECTORY = "quarantine"


def move(directory: Path, path: Path, disk: Disk | None = None) -> Path:
    """Move a file of the state directory ``directory`` into its quarantine, durably; return where it is now.

    It keeps its name, with a number where that is taken. Raises OSError.
    """
    disk = disk or RealDisk()
    quarantine = directory / DIRECTORY
    try:
        taken = set(disk.names(quarantine))
    except FileNotFoundError:
        disk.make_directory(quarantine)
        disk.sync_directory(directory)
        taken = set()
    name, number = path.name, 1
    while name in taken:
        number += 1
        name = f"{path.name}.{number}"
    carry(disk, path, quarantine / name, quarantine / f".{name}")
    disk.sync_directory(quarantine)
    disk.sync_directory(path.parent)
    return quarantine / name


def count(directory: Path) -> int:
    """Return how many files wait there for a person to look at them. Raises OSError."""
    try:
        return sum(not name.startswith(".") for name in RealDisk().names(directory / DIRECTORY))
    except FileNotFoundError:
        return 0
