"""What is asked of a file system, one operation at a time, so that a test can fail or crash it at each of them.

Stores that must survive a crash work on a ``Disk``. Two things are durable apart from each other: what a file holds
(``sync``) and which names a directory has (``sync_directory``, for names made, replaced or removed in it). Every
method blocks and raises OSError.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from attrs import frozen

from buildtool.errors import StorageUnavailable
from buildtool.ports.common import Executor

if TYPE_CHECKING:
    from hashlib import _Hash

T = TypeVar("T")

_ALWAYS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""What is no plain file is not waited for: opening a FIFO would take until somebody writes to it."""

_APPEND = os.O_RDWR | os.O_APPEND
_PIECE = 1024 * 1024
_RANDOM = 8  # bytes, in the name of what is not whole yet


class OpenMode(enum.Enum):
    """The way in which a file is opened. Whatever is written goes to its end; a symbolic link is not followed."""

    READ = os.O_RDONLY
    APPEND = _APPEND
    CONTINUE = _APPEND | os.O_CREAT
    """As APPEND; made when it is not there."""
    EMPTY = _APPEND | os.O_CREAT | os.O_TRUNC
    """As CONTINUE; what it held is thrown away."""
    NEW = _APPEND | os.O_CREAT | os.O_EXCL
    """Raises FileExistsError when it is there."""


@frozen
class FileStatus:
    """The file system's record of a file; sizes are in bytes.

    ``links`` is how many names it has, ``plain`` whether it is a file and neither a directory nor anything special.
    ``ctime_ns`` is when the file was last changed in any way, which unlike ``mtime_ns`` no program can set.
    """

    inode: int
    size: int
    mtime_ns: int
    links: int
    plain: bool
    directory: bool
    ctime_ns: int


class Disk(Protocol):
    """The operations. A file that is open is named by a number, as everywhere in POSIX."""

    def open(self, path: Path, mode: OpenMode) -> int:
        """Open a file; what is made is only for its owner. What is there and no plain file is refused."""

    def close(self, file: int) -> None:
        """Close an open file, which syncs nothing."""

    def pread(self, file: int, size: int, position: int) -> bytes:
        """Return at most ``size`` bytes from ``position`` on, b"" at the end."""

    def append(self, file: int, data: bytes) -> None:
        """Write all of ``data`` at the end; when that fails, part of it may be there."""

    def truncate(self, file: int, size: int) -> None:
        """Remove what lies behind ``size`` bytes."""

    def status(self, file: int) -> FileStatus:
        """Return what an open file is."""

    def sync(self, file: int) -> None:
        """Return when what the file holds is durable.

        When this fails, what was written since the last time may be lost though it can still be read, and though the
        next ``sync`` succeeds: the system forgets what it could not write. So the file must be written anew.
        """

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory are durable."""

    def look(self, path: Path) -> FileStatus:
        """Return what a name stands for; a symbolic link is not followed. Raises FileNotFoundError."""

    def names(self, path: Path) -> list[str]:
        """Return the names in a directory, in any order."""

    def make_directory(self, path: Path) -> None:
        """Make a directory that is only for its owner. Raises FileExistsError."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file; a file that has that name already is replaced in the same instant."""

    def link(self, source: Path, target: Path) -> None:
        """Add a name to a file. Raises FileExistsError."""

    def unlink(self, path: Path) -> None:
        """Remove a file's name. Raises FileNotFoundError."""

    def free(self, path: Path) -> int:
        """Return how many bytes there is room for, for those who are not root."""


class RealDisk:
    """The ``Disk`` of the system."""

    def open(self, path: Path, mode: OpenMode) -> int:
        file = os.open(path, mode.value | _ALWAYS, 0o600)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        return file

    def close(self, file: int) -> None:
        os.close(file)

    def pread(self, file: int, size: int, position: int) -> bytes:
        return os.pread(file, size, position)

    def append(self, file: int, data: bytes) -> None:
        write_all(file, data)

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def status(self, file: int) -> FileStatus:
        return _status(os.fstat(file))

    def sync(self, file: int) -> None:
        os.fsync(file)

    def sync_directory(self, path: Path) -> None:
        sync_directory(path)

    def look(self, path: Path) -> FileStatus:
        return _status(os.stat(path, follow_symlinks=False))  # noqa: PTH116 - Path.stat costs twice as much

    def names(self, path: Path) -> list[str]:
        return os.listdir(path)

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def remove_directory(self, path: Path) -> None:
        path.rmdir()

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def free(self, path: Path) -> int:
        return shutil.disk_usage(path).free


def _status(found: os.stat_result) -> FileStatus:
    kind = stat.S_IFMT(found.st_mode)
    return FileStatus(
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_nlink,
        kind == stat.S_IFREG,
        kind == stat.S_IFDIR,
        found.st_ctime_ns,
    )


# --- made of these operations ----------------------------------------------------------------------------


async def on_disk(executor: Executor, purpose: str, act: Callable[[], T]) -> T:
    """Return what ``act`` does in a thread. Raises StorageUnavailable, with what for, when it raises OSError."""
    try:
        return await executor.run(act)
    except OSError as error:
        raise storage_unavailable(purpose, error) from error


@contextmanager
def opened(disk: Disk, path: Path, mode: OpenMode) -> Iterator[int]:
    """Yield a file that is open until the end of the block. Raises OSError."""
    file = disk.open(path, mode)
    try:
        yield file
    finally:
        disk.close(file)


def hashed(disk: Disk, file: int, length: int) -> _Hash:
    """Return the SHA-256, to go on with, of the first ``length`` bytes of an open file. Raises OSError."""
    hasher, position = hashlib.sha256(), 0
    while position < length and (piece := disk.pread(file, min(_PIECE, length - position), position)):
        hasher.update(piece)
        position += len(piece)
    return hasher


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def exists(disk: Disk, path: Path) -> bool:
    """Return whether a name stands for anything. Raises OSError."""
    try:
        disk.look(path)
    except FileNotFoundError:
        return False
    return True


def read_whole(disk: Disk, path: Path, limit: int) -> bytes:
    """Return what a file holds, but at most ``limit`` bytes. Raises OSError."""
    with opened(disk, path, OpenMode.READ) as file:
        return disk.pread(file, limit, 0)


def write_whole(disk: Disk, path: Path, data: bytes) -> None:
    """Write ``data`` as all that a file holds, durably; its name is its caller's to make so. Raises OSError."""
    with opened(disk, path, OpenMode.EMPTY) as file:
        disk.append(file, data)
        disk.sync(file)


def put_whole(disk: Disk, path: Path, data: bytes, *, replace: bool = True) -> None:
    """Make a file appear whole and durably; one that is there is replaced, or stays. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM)}")
    try:
        with opened(disk, fresh, OpenMode.NEW) as file:
            disk.append(file, data)
            disk.sync(file)
        if replace:
            disk.rename(fresh, path)
        else:
            disk.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        remove(disk, fresh)
    disk.sync_directory(path.parent)


def remove_half_made(disk: Disk, directory: Path, begun: Callable[[FileStatus], bool] = lambda _status: True) -> None:
    """Remove what ``put_whole`` left in a directory where it was cut off, such as half of a private key.

    ``begun`` returns False for what another program may be writing right now. Raises OSError.
    """
    for name in disk.names(directory):
        what, _, tail = name[1:].rpartition(".")
        if name.startswith(".") and what and len(tail) == 2 * _RANDOM:
            try:
                if begun(disk.look(directory / name)):
                    remove(disk, directory / name)
            except FileNotFoundError:
                continue  # it is whole by now


def make_directories(disk: Disk, path: Path) -> None:
    """Make a directory durably, with those above it that are not there; it may be there already. Raises OSError.

    The one above it is synced even then, if it may be read: a crash may have come between making and syncing.
    """
    made = True
    try:
        disk.make_directory(path)
    except FileNotFoundError:
        make_directories(disk, path.parent)
        disk.make_directory(path)
    except FileExistsError:
        made = False
    try:
        disk.sync_directory(path.parent)
    except PermissionError:
        if made:
            raise


def move(disk: Disk, source: Path, target: Path, fresh: Path) -> None:
    """Rename a synced file; where ``target`` lies on another file system, copy it to ``fresh`` first, which lies there.

    Either way ``target`` appears whole. Raises OSError; what is left at ``fresh`` then, the next try replaces.
    """
    try:
        disk.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    make_directories(disk, fresh.parent)
    try:
        _copy(disk, source, fresh)
        disk.rename(fresh, target)
    except BaseException:
        remove(disk, fresh)
        raise
    disk.unlink(source)


def _copy(disk: Disk, source: Path, target: Path) -> None:
    """Copy a file durably. Raises OSError."""
    with opened(disk, source, OpenMode.READ) as old, opened(disk, target, OpenMode.EMPTY) as new:
        position = 0
        while piece := disk.pread(old, _PIECE, position):
            disk.append(new, piece)
            position += len(piece)
        disk.sync(new)


def remove(disk: Disk, path: Path) -> None:
    """Remove a file, or a directory with all that is in it; it need not be there. Raises OSError."""
    try:
        if not disk.look(path).directory:
            disk.unlink(path)
            return
        for name in disk.names(path):
            remove(disk, path / name)
        disk.remove_directory(path)
    except FileNotFoundError:
        return


def storage_unavailable(purpose: str, error: OSError) -> StorageUnavailable:
    """Return the error for a disk that will not ``purpose``, in one line."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageUnavailable(f"cannot {purpose}: the disk is full; try again when there is room")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        mend = "its owner has to allow it" if error.errno != errno.EROFS else "it is mounted read-only"
        return StorageUnavailable(f"cannot {purpose}: {error.strerror}; {mend}")
    return StorageUnavailable(f"cannot {purpose}: {error.strerror or 'the disk failed'}; try again later")
