"""Directories of a build server that are left over: found, measured and removed. Everything here blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from buildtool.adapters.storage.trees import remove_tree
from buildtool.errors import MachineFault
from buildtool.model.guest.leftovers import KeptNow, LeftoverDirectory, why_left

_LOOKED_AT = ("sources/*/slot-*", "sources/svn/*/slot-*", "sources/*", "sources/svn/*", "mirrors/*", "follow")
_SIZE_LOOKS = 200_000
"""The most files of which the size is asked."""


def find_leftovers(top: Path, now: KeptNow, at: float) -> tuple[LeftoverDirectory, ...]:
    """Return what is left over below a build server's directory ``top``; ``at`` is wall time in seconds.

    What lies in another that is left over is not told apart, and what is empty takes nothing and is not told at all.
    """
    found: list[LeftoverDirectory] = []
    for path, parts in sorted(_candidates(top)):
        if any(path.is_relative_to(one.path) for one in found):
            continue
        try:
            beside = top / "sources" / path.name.removesuffix(".git")  # what was made from a mirror tells of its use
            newest = max(_changed(path), _changed(beside) if parts[0] == "mirrors" and beside.is_dir() else 0.0)
            unused = max(0.0, at - newest)
            empty = not any(path.iterdir())
        except OSError:
            continue  # it has gone meanwhile, or is not ours to look at
        if empty:
            continue
        why = why_left(parts, unused, now)
        if why:
            found.append(LeftoverDirectory(str(path), why, _size(path), unused))
    return tuple(found)


def remove_leftovers(found: Iterable[LeftoverDirectory]) -> None:
    """Delete directories that are left over. Raises MachineFault."""
    for one in found:
        try:
            remove_tree(Path(one.path))
        except OSError as error:
            raise MachineFault(f"cannot delete {one.path}: {error.strerror or error}") from error


def _candidates(top: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    for pattern in _LOOKED_AT:
        for path in top.glob(pattern):
            inner = path.relative_to(top)
            if not any((top / Path(*inner.parts[: depth + 1])).is_symlink() for depth in range(len(inner.parts))):
                yield from [(path, inner.parts)] if path.is_dir() else []
    trials = top.parent / "trying"
    for path in () if trials.is_symlink() else trials.glob("*"):
        if path.is_dir() and not path.is_symlink():
            yield path, ("..", "trying", path.name)


def _changed(path: Path, depth: int = 2) -> float:
    """Return when a directory, or what is in it to some depth, has changed last. Raises OSError."""
    newest = path.lstat().st_mtime
    with os.scandir(path) as entries:
        for entry in entries:
            newest = max(newest, entry.stat(follow_symlinks=False).st_mtime)
            if depth > 1 and entry.is_dir(follow_symlinks=False):
                newest = max(newest, _changed(Path(entry.path), depth - 1))
    return newest


def _size(path: Path) -> int:
    """Return how many bytes are in a directory; of very many files, in the first of them."""
    total, looks, waiting = 0, 0, [str(path)]
    while waiting and looks < _SIZE_LOOKS:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    looks += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # what cannot be looked at counts for nothing
    return total
