"""One process at a time may own a directory.

What is locked is the directory itself, whatever its name is and whatever becomes of the files in it; the file ``lock``
says who holds it.

Tested by tests/adapters/maintenance/test_tenure.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from buildtool.errors import StorageUnavailable

DATABASE = "buildtool.sqlite"


def process_words(owner: str, now: float) -> str:
    """Return this process in words: program, process id, host, and since when (``now``, wall time) it is the owner."""
    since = datetime.fromtimestamp(now, UTC)
    return f"{owner}, process {os.getpid()} on {os.uname().nodename}, since {since:%Y-%m-%d %H:%M:%S} UTC"


def holder(directory: Path) -> str:
    """Return who took the lock of ``directory`` last, in words, or "" when neither its file nor its database says."""
    try:
        file = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            said = os.read(file, 300).decode(errors="replace").strip()
        finally:
            os.close(file)
    except OSError:
        said = ""
    return said or _in_database(directory / DATABASE)


def is_locked(directory: Path) -> bool:
    """Return whether a process holds the lock of ``directory`` now. Raises OSError."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _in_database(path: Path) -> str:
    """Return who took the last term of a database, as far as it can be read."""
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=1.0)) as asked:
            row = asked.execute("SELECT holder FROM tenure").fetchone()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""


class DirectoryLock:
    """A lock on a directory for this process until it ends or closes the lock; a crash leaves nothing behind.

    Raises StorageUnavailable, naming the process that holds it, or saying why the directory cannot be used.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        try:
            _make(directory)
            self._held = [_locked(directory, os.O_RDONLY | os.O_DIRECTORY)]
            try:
                self._held.append(_locked(directory / "lock", os.O_RDWR | os.O_CREAT))
            except BaseException:
                self.close()
                raise
        except BlockingIOError as error:
            words = f"one {owner.partition(' ')[0]} at a time may use it, so stop that one first"
            raise StorageUnavailable(
                f"{directory} is used by {holder(directory) or 'another process'}: {words}"
            ) from error
        except OSError as error:
            raise StorageUnavailable(f"{directory} cannot be used: {_why(error, directory)}") from error
        with suppress(OSError):  # a full disk takes nothing from the lock, which is the directory's: this only names us
            os.ftruncate(self._held[-1], 0)
            os.write(self._held[-1], f"{process_words(owner, time.time())}\n".encode())

    def close(self) -> None:
        """Unlock the directory."""
        while self._held:
            os.close(self._held.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _why(error: OSError, directory: Path) -> str:
    """Return what the system says, and of which path where that is another than the directory."""
    where = f"{error.filename}: " if error.filename not in (None, str(directory)) else ""
    return f"{where}{error.strerror}"


def _make(directory: Path) -> None:
    """Make the directory unless it is there. Raises OSError, which says of what stands in its way that it is none."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from error


def _locked(path: Path, flags: int) -> int:
    """Open and lock what has this name, and has it still once it is locked. Raises BlockingIOError, OSError."""
    while True:
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW * (not flags & os.O_DIRECTORY), 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        except FileNotFoundError:
            pass  # it was taken away meanwhile
        except BaseException:
            os.close(file)
            raise
        os.close(file)
