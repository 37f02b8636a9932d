"""What a build has on the disk, however it hides it: other names, files without any, directories out of reach.

Tested by tests/adapters/host/limits/test_disk_use.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import frozen

_BLOCK = 512


@frozen
class DiskFree:
    """The bytes and files that may still be written to a disk, by whomever."""

    size: int
    files: int


@frozen
class DiskUse:
    """The bytes and files that a build has on the disk, and ``memory``, the bytes of files that are nowhere but there.

    ``whole`` says whether all of its directories could be looked into.
    """

    size: int
    files: int
    memory: int
    whole: bool


def disk_free(place: Path) -> DiskFree:
    """Return what is free on the disk of a directory. Raises OSError."""
    found = os.statvfs(place)
    return DiskFree(found.f_bavail * found.f_frsize, found.f_favail)


def disk_use(directories: Sequence[Path], processes: Iterable[int]) -> DiskUse:
    """Return what is below directories, and in files that some processes hold open and that have no name. Blocks.

    A file with several names counts once.
    """
    disks = {one.lstat().st_dev for one in directories if one.exists()}
    walk = _Walk(directories)
    size = files = memory = 0
    known: set[tuple[int, int]] = set()
    for found in (*walk, *_unnamed(processes)):
        if found.st_nlink != 1 and not stat.S_ISDIR(found.st_mode):
            if (found.st_dev, found.st_ino) in known:
                continue
            known.add((found.st_dev, found.st_ino))
        if found.st_dev in disks:
            files += 1
            size += found.st_blocks * _BLOCK
        else:
            memory += found.st_blocks * _BLOCK
    return DiskUse(size, files, memory, walk.whole)


class _Walk:
    """All that is below some directories; ``whole`` says, in the end, whether nothing was out of reach."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._waiting = [str(one) for one in directories]
        self.whole = True

    def __iter__(self) -> Iterator[os.stat_result]:
        while self._waiting:
            try:
                with os.scandir(self._waiting.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            self._waiting.append(entry.path)
                        yield entry.stat(follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it was removed meanwhile
            except OSError:
                self.whole = False  # it is shut, or deeper than a path can say


def _unnamed(processes: Iterable[int]) -> Iterator[os.stat_result]:
    """Yield the files without a name that processes hold open, as far as we may see that."""
    for pid in processes:
        try:
            held = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for descriptor in held:
            try:
                found = os.stat(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH116 - there are many
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                yield found
