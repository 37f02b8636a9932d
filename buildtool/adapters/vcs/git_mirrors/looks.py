"""How a mirror looks from outside, without reading what is in it: a text that is another after anything was done to it.

``stamp`` is kept on disk and says whether files are those that this program left. ``look`` is for the program's own
memory and leaves nothing out, directories, modes and owners included: where it is as it was, all that was checked or
mended then is so now. Both rest on the time of change, which nobody can set; what was changed only just now may be
changed once more within one tick of the clock, so that it is not looked at but checked. Everything here blocks.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

SETTLED = 50_000_000
"""Nanoseconds after which what was changed has a time of change that a later change cannot have: many ticks."""

now_ns = time.time_ns
"""The clock that times of change are compared with."""

PASSING = frozenset({"FETCH_HEAD", "worktrees", "gc.log", "gc.pid"})
"""What is in a mirror and says nothing of its state."""


def stamp(path: Path) -> str:
    """Return a text that differs after anything in the mirror was written, removed or put in another's place."""
    digest = hashlib.sha256()
    for line in sorted(_states(path, "")):
        digest.update(line)
    return digest.hexdigest()


def _states(path: Path, inner: str) -> Iterator[bytes]:
    with os.scandir(path) as entries:
        for one in entries:
            name = f"{inner}{one.name}"
            if name in PASSING or name.endswith(".lock"):
                continue
            if one.is_dir(follow_symlinks=False):
                yield from _states(Path(one.path), f"{name}/")
            else:
                yield state_of(name, one.stat(follow_symlinks=False))


def state_of(name: str, now: os.stat_result) -> bytes:
    """Return what is another line after a file was written, or another was put in its place."""
    state = f"{name}\0{now.st_ino}\0{now.st_size}\0{now.st_mtime_ns}\0{now.st_ctime_ns}\n"
    return state.encode("utf-8", "surrogateescape")


def look(mirror: Path, *beside: Path) -> str:
    """Return how a mirror looks with all that is in it, and what lies ``beside`` it.

    Returns "" where something is missing, cannot be looked at, or was changed only just now.
    """
    said, newest = [], 0
    try:
        waiting = [os.fspath(mirror)]
        found = [(one, os.lstat(one)) for one in (*waiting, *map(os.fspath, beside))]
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    found.append((entry.path, entry.stat(follow_symlinks=False)))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    except OSError:
        return ""
    for name, now in found:
        said.append(
            f"{name}\0{now.st_dev}\0{now.st_ino}\0{now.st_mode}\0{now.st_uid}\0{now.st_gid}\0{now.st_nlink}\0"
            f"{now.st_size}\0{now.st_mtime_ns}\0{now.st_ctime_ns}\n"
        )
        newest = max(newest, now.st_ctime_ns)
    if newest + SETTLED > now_ns():
        return ""
    said.sort()
    return hashlib.sha256("".join(said).encode("utf-8", "surrogateescape")).hexdigest()
