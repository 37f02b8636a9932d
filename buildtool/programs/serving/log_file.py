"""The log in a file: lines are appended whole, the file is kept small or left to others, and no line is lost by that.

Whoever renames the file, this program or another such as logrotate, the next line begins a new one. Python's
``WatchedFileHandler`` and ``RotatingFileHandler`` each do half of that, and Twisted's ``LogFile`` the other; none says
what a full disk has swallowed.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import stat
from pathlib import Path

from attrs import define, field

from buildtool.errors import UsageError
from buildtool.programs.common.output import complain

SIZE = 10_000_000
"""The size in bytes that a log reaches before another one is begun, unless something else is said."""

COUNT = 10
"""How many logs that are full are kept, unless something else is said."""

LEAST_SIZE = 4_096
"""The smallest size in bytes that may be said: a line is never split."""

MOST_COUNT = 100_000

MODE = 0o600
"""The permissions of a log: it names people and machines."""

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_DIGITS = 15


def read_size(text: str) -> int:
    """Return a size in bytes, for argparse: ``10000000``, ``500K``, ``10M``. Raises ArgumentTypeError."""
    digits, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in ("K", "M", "G") else (text, "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a size: say bytes, or 500K, 10M, 1G")
    if (size := int(digits) * _UNITS[unit]) < LEAST_SIZE:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is too small: a log has at least {LEAST_SIZE} bytes")
    return size


def read_count(text: str) -> int | None:
    """Return how many full logs are kept, None for all (``none``), for argparse. Raises ArgumentTypeError."""
    if text.lower() == "none":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and 1 <= int(text) <= MOST_COUNT):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from 1 to {MOST_COUNT}, or none to keep all")
    return int(text)


@define(eq=False)
class LogFile:
    """The file at ``path`` that takes whole lines; it is a stream to which text is written.

    Where ``rotates``, one that would grow beyond ``size`` bytes becomes ``PATH.1``, that one ``PATH.2``, and so on; of
    these ``count`` are kept, all of them where it is None. The descriptors ``mirrors`` are always ones for the same
    file, for what is written past this program.
    """

    path: Path
    size: int = SIZE
    count: int | None = COUNT
    rotates: bool = True
    mirrors: tuple[int, ...] = ()
    encoding: str = field(default="utf-8", init=False)
    closed: bool = field(default=False, init=False)
    _descriptor: int = field(default=-1, init=False)
    _file: tuple[int, int] = field(default=(0, 0), init=False)
    _length: int = field(default=0, init=False)
    _lost: int = field(default=0, init=False)
    _said: set[str] = field(factory=set, init=False)

    def open(self) -> None:
        """Open the file. Raises UsageError where that cannot be, or where another program rotates it already."""
        try:
            self._open()
        except BlockingIOError as error:
            raise UsageError(
                f"--log-file: another program writes {self.path}: give each a file of its own, or say --no-logrotate"
            ) from error
        except OSError as error:
            raise UsageError(f"--log-file: {self.path} cannot be written: {error.strerror or error}") from error

    def write(self, text: str) -> int:
        """Append whole lines. Raises OSError where they cannot be written; what was lost is told once that is over."""
        data = text.encode(self.encoding, "replace")
        self._look(len(data))
        try:
            if self._lost:
                self._append(f"{self._lost} lines could not be written here\n".encode())
                self._lost = 0
            self._append(data)
        except OSError:
            self._lost += 1
            raise
        return len(text)

    def flush(self) -> None:
        """Write what waits, which is never anything."""

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self.closed = True
            os.close(self._descriptor)

    def point(self, descriptors: tuple[int, ...]) -> None:
        """Make descriptors ones for the file from now on, whatever becomes of its name."""
        self.mirrors = descriptors
        self._reflect()

    def _open(self) -> None:
        opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, MODE)
        try:
            status = os.fstat(opened)
            _check(status)
            if self.rotates:
                _lock(opened)
        except OSError:
            os.close(opened)
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._file, self._length = opened, (status.st_dev, status.st_ino), status.st_size
        self._reflect()

    def _reflect(self) -> None:
        if not self.mirrors or self._descriptor < 0:
            return
        # Of its own: what children inherit must not hold the lock.
        try:
            again = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, MODE)
        except OSError as error:
            self._complain("cannot be opened twice", error)
            return
        for number in self.mirrors:
            os.dup2(again, number)
        os.close(again)

    def _append(self, data: bytes) -> None:
        while data:
            written = os.write(self._descriptor, data)
            self._length += written
            data = data[written:]

    def _look(self, coming: int) -> None:
        """Begin a new file where this one was renamed, or would become too large."""
        try:
            if self._named() != self._file:
                self._open()
            elif self.rotates and self._length and self._length + coming > self.size:
                self._rotate()
                self._open()
        except OSError as error:
            self._complain("cannot be begun anew, and what there is grows on", error)
        else:
            self._said.clear()

    def _named(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)  # noqa: PTH116 - for each line
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _rotate(self) -> None:
        """Make room for a new file. What a crash in the midst of it has left is taken up: no file is lost."""
        last = 1
        while (self.count is None or last < self.count) and self._numbered(last).exists():
            last += 1
        for number in range(last, 1, -1):
            self._numbered(number - 1).replace(self._numbered(number))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _complain(self, what: str, error: OSError) -> None:
        words = f"--log-file: {self.path} {what}: {error.strerror or error}"
        if words not in self._said:
            self._said.add(words)
            complain(words)


def _check(status: os.stat_result) -> None:
    """Raise OSError for what is no file, such as a device: it cannot be renamed, or may not take what is written."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no file (without the option, the log goes to standard error)")


def _lock(descriptor: int) -> None:
    """Lock a log for this program, where its file system has locks. Raises BlockingIOError where another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
