"""The file with the number of a server's process: whole and locked by that process, as long as that lives.

So a file whose process has ended is told from one that counts, whatever program has the number by now: what is locked
by none is stale. Those who would take a file look at it one after the other, by a lock on its directory, and replace it
whole: what is locked was written by who holds it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from attrs import define, frozen

from buildtool.errors import AlreadyRunning, UsageError

HELD = "BUILDTOOL_PID_FILE_HELD"
"""The variable by which a process that executes itself anew tells which descriptor holds its file."""

MODE = 0o600
"""The permissions of the file: who may read it could hold its lock."""

_SIZE = 64
_TURN = 5.0
_LOOK = 0.02


@frozen
class HeldProcess:
    """A server's process, by the number in its file. It is gone once that is released and the process has ended."""

    number: int
    file: Path
    descriptor: int

    def stop(self) -> None:
        """Send SIGTERM to it. Raises UsageError where this account may not."""
        try:
            if self.descriptor >= 0:
                signal.pidfd_send_signal(self.descriptor, signal.SIGTERM)
            else:
                os.kill(self.number, signal.SIGTERM)
        except ProcessLookupError:
            return  # it has ended by itself
        except PermissionError as error:
            raise UsageError(f"process {self.number} ({self.file}) may not be stopped by this account") from error

    def gone(self, seconds: float) -> bool:
        """Return whether it has ended, after waiting for that for so many seconds at most."""
        until = time.monotonic() + seconds
        while not self._ended(max(0.0, until - time.monotonic())) or _is_held(self.file):
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK)
        return True

    def close(self) -> None:
        """Forget the process."""
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def _ended(self, seconds: float) -> bool:
        if self.descriptor >= 0:
            return bool(select.select([self.descriptor], [], [], seconds)[0])
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


@define
class PidFile:
    """The pid file of this process, locked as long as it lives."""

    path: Path
    _descriptor: int

    @classmethod
    def take(cls, path: Path) -> Self:
        """Write the file at ``path`` for this process, and hold it.

        Raises AlreadyRunning where another process does, and UsageError where it cannot be written.
        """
        try:
            kept = _kept(path)
            if kept is not None:
                return cls(path, kept)
            with _turn(path):
                there = running(path)
                if there is not None:
                    there.close()
                    raise AlreadyRunning(f"it runs already, as process {there.number} ({path})")
                return cls(path, _written(path))
        except OSError as error:
            raise UsageError(f"--pid-file: {path} cannot be written: {error.strerror or error}") from error

    def release(self) -> None:
        """Remove the file, unless another one is in its place."""
        if _same(self.path, self._descriptor):
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        os.environ.pop(HELD, None)


def running(path: Path) -> HeldProcess | None:
    """Return the process whose file this is, None where there is no file or its process has ended.

    Raises UsageError for what is no pid file, or cannot be read.
    """
    try:
        number = _number(path)
        if number is None:
            return None
        descriptor = os.pidfd_open(number) if hasattr(os, "pidfd_open") else -1
        # Who held it when its number was looked at holds it now, so the number is still its own.
        if _is_held(path) and _number(path) == number:
            return HeldProcess(number, path, descriptor)
        if descriptor >= 0:
            os.close(descriptor)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise UsageError(f"--pid-file: {path} cannot be read: {error.strerror or error}") from error
    return None


def _number(path: Path) -> int | None:
    """Return the number in a file, None where there is no file. Raises OSError, and UsageError for anything else."""
    try:
        with _opened(path) as file:
            text = file.read(_SIZE).strip()
    except FileNotFoundError:
        return None
    if not text.isdigit() or not 0 < int(text) < 1 << 31:
        raise UsageError(f"--pid-file: {path} holds no number of a process: name another file, or remove that one")
    return int(text)


def _opened(path: Path) -> BinaryIO:
    """Open a file for reading; nothing else is waited for, such as a pipe that nobody writes to. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a pipe, and no file")
    return os.fdopen(descriptor, "rb")


def _is_held(path: Path) -> bool:
    """Return whether a process holds the lock on a file. Raises OSError."""
    try:
        with _opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _written(path: Path) -> int:
    """Put a file with the number of this process in place, and return the descriptor that holds it. Raises OSError."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(descriptor, MODE)
        os.write(descriptor, b"%d\n" % os.getpid())
        new.replace(path)
    except OSError:
        os.close(descriptor)
        new.unlink(missing_ok=True)
        raise
    # Executed anew, the process goes on holding it; what it starts otherwise has only its standard streams.
    os.set_inheritable(descriptor, True)
    os.environ[HELD] = f"{os.getpid()}:{descriptor}"
    return descriptor


def _kept(path: Path) -> int | None:
    """Return the descriptor by which this process holds the file since before it executed itself anew, or None."""
    process, _, descriptor = os.environ.get(HELD, "").partition(":")
    if process != str(os.getpid()) or not descriptor.isdigit() or not _same(path, int(descriptor)):
        return None
    return int(descriptor)


def _same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Hold the directory of a file alone. Raises OSError where another process does for long."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until = time.monotonic() + _TURN
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise OSError(errno.EBUSY, f"another program locks {path.parent}") from None
                time.sleep(_LOOK)
        yield
    finally:
        os.close(descriptor)
