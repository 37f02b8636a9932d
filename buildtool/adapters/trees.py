"""Deleting whatever a build left behind."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

_MOVED = ".deleted"
"""How a directory is called that was moved up to be deleted; two numbers follow."""

_ROUNDS = 3
"""How often a directory is emptied that is not empty after all."""


def _never() -> None:
    """Go on."""


def remove_tree(path: Path, check: Callable[[], None] = _never) -> None:
    """Delete ``path``, if it is there, whatever its depth and modes (Go's module cache is read-only). Blocks.

    ``check`` is called between small steps: what it raises ends the deleting, and the rest may be deleted later.
    Raises OSError.
    """
    try:
        directory = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if directory:
        _Removal(path, check).run()
    else:
        path.unlink()


class _Removal:
    """Deletes one directory. Those in it are moved up to it before they are emptied: no path grows with the depth."""

    def __init__(self, top: Path, check: Callable[[], None]) -> None:
        self._top = top
        self._check = check
        self._numbers = count(1)
        self._waiting: list[Path] = []

    def run(self) -> None:
        """Delete it. Raises OSError, and what ``check`` raises."""
        self._empty(self._top)
        while self._waiting:
            here = self._waiting.pop()
            for left in reversed(range(_ROUNDS)):
                self._empty(here)
                if self._is_removed(here, last=not left):
                    break
        self._top.rmdir()

    def _empty(self, here: Path) -> None:
        """Delete the files of a directory, and let what is below it wait."""
        if stat.S_IMODE(here.stat().st_mode) & stat.S_IRWXU != stat.S_IRWXU:
            here.chmod(stat.S_IRWXU)
        with os.scandir(here) as entries:
            for entry in entries:
                self._check()
                inner = Path(entry.path)
                if not entry.is_dir(follow_symlinks=False):
                    inner.unlink()
                elif here == self._top:
                    self._waiting.append(inner)
                else:
                    inner.chmod(stat.S_IRWXU)  # only who may write in a directory may move it
                    self._waiting.append(inner.rename(self._free_name()))

    def _is_removed(self, here: Path, *, last: bool) -> bool:
        try:
            here.rmdir()
        except OSError as error:
            if last or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    def _free_name(self) -> Path:
        """Return a name in the directory that nothing has: a build, or a deleting that was cut short, may have some."""
        names = (self._top / f"{_MOVED}-{os.getpid()}-{number}" for number in self._numbers)
        return next(name for name in names if not os.path.lexists(name))
