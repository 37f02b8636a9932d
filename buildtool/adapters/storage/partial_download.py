"""A file that is being fetched, beside the place where it will be: resumable, verified, renamed when it is whole.

Tested by tests/adapters/http/test_transfer_client.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from buildtool.adapters.storage.filesystem import sync_directory, write_all
from buildtool.concurrency.backpressure import PIECE

if TYPE_CHECKING:
    from hashlib import _Hash

_PART_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class PartialDownload:
    """The part of a file that has come. Every method may raise OSError, and is called in a thread."""

    def __init__(self, path: Path, descriptor: int, digest: str) -> None:
        self._path = path
        self._descriptor = descriptor
        self.digest = digest
        self.hasher: _Hash = hashlib.sha256()
        self.length = 0
        self._kept = True
        self._published = False

    @classmethod
    def begin(cls, target: Path, size: int, digest: str) -> PartialDownload:
        """Open what an earlier try has left, or a new file. A second program that fetches the same has its own."""
        common = target.with_name(f".{target.name[:200]}.{digest[:16]}.part")
        descriptor = _locked(common)
        part = cls(common, descriptor, digest) if descriptor is not None else cls._private(target, digest)
        try:
            part.resume(size)
        except BaseException:
            part.close()
            raise
        return part

    @classmethod
    def _private(cls, target: Path, digest: str) -> PartialDownload:
        path = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.part")
        part = cls(path, os.open(path, _PART_FLAGS | os.O_EXCL, 0o666), digest)
        part._kept = False
        return part

    def resume(self, size: int) -> None:
        """Open the part that is there, of a file of ``size`` bytes."""
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, 0)
        while piece := os.read(self._descriptor, PIECE):
            self.hasher.update(piece)
            self.length += len(piece)

    def restart(self) -> None:
        """Forget what came, and begin anew."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.hasher, self.length = hashlib.sha256(), 0

    def write(self, pieces: list[bytes]) -> None:
        """Append ``pieces`` to the part."""
        data = b"".join(pieces)
        write_all(self._descriptor, data)
        self.hasher.update(data)
        self.length += len(data)

    def publish(self, target: Path) -> None:
        """Rename the part to ``target``, durably."""
        os.fsync(self._descriptor)
        self._path.rename(target)
        self._published = True
        sync_directory(target.parent)

    def remove(self) -> None:
        """Remove the part."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the part; what came stays for the next try, unless no next try would look for it."""
        if not self._published and (not self.length or not self._kept):
            self.remove()
        os.close(self._descriptor)


def _locked(path: Path) -> int | None:
    """Open a file, made if need be, for this program alone; None when another one has it."""
    while True:
        descriptor = os.open(path, _PART_FLAGS, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat(follow_symlinks=False).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # the other program has just given it its final name, so this one is not ours to touch
        os.close(descriptor)
