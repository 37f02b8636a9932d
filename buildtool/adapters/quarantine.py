"""``quarantine/``: where files go that are damaged or belong to nobody, for a person to look at and delete."""

from __future__ import annotations

import os
from pathlib import Path

from buildtool.adapters.files import sync_directory

DIRECTORY = "quarantine"


def stored_path(directory: Path, digest: str) -> Path:
    """Return where the artifact of a digest lies in a state directory."""
    return directory / "artifacts" / digest[:2] / f"{digest}.zip"


def move(directory: Path, path: Path) -> Path:
    """Move a file of the state directory ``directory`` into its quarantine, durably; return where it is now.

    It keeps its name, with a number where that is taken. Raises OSError.
    """
    quarantine = directory / DIRECTORY
    if not quarantine.is_dir():
        quarantine.mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory)
    target, number = quarantine / path.name, 1
    while target.exists() or target.is_symlink():
        number += 1
        target = quarantine / f"{path.name}.{number}"
    path.rename(target)
    sync_directory(quarantine)
    sync_directory(path.parent)
    return target


def count(directory: Path) -> int:
    """Return how many files wait there for somebody to look at them. Raises OSError."""
    try:
        return len(os.listdir(directory / DIRECTORY))
    except FileNotFoundError:
        return 0
