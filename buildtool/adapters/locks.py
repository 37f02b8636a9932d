"""One process at a time may own a directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from buildtool.errors import StorageUnavailable


def holder(directory: Path) -> str:
    """Return who took the lock of ``directory`` last, in words with its process id, or "" when that is not known."""
    try:
        return (directory / "lock").read_bytes()[:100].decode(errors="replace").strip()
    except OSError:
        return ""


class DirectoryLock:
    """Holds a directory for this process until it ends or closes the lock; a crash leaves nothing behind.

    Raises StorageUnavailable, naming the process that holds it, or saying why the directory cannot be used.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        path = directory / "lock"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageUnavailable(f"{directory} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 100).decode(errors="replace").strip() or "another process"
            os.close(self._file)
            words = f"one {owner.partition(' ')[0]} at a time may use it, so stop that one first"
            raise StorageUnavailable(f"{directory} is used by {holder}: {words}") from error
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{owner}, process {os.getpid()}\n".encode())

    def close(self) -> None:
        """Let others have the directory."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
