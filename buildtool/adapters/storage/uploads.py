"""What each Attempt has uploaded so far, ``incoming/<build>-<epoch>``, added to by one connection at a time.

Tested by tests/adapters/storage/test_artifacts.py.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from buildtool.adapters.storage.filesystem import Disk, OpenMode, hashed, on_disk, remove, storage_unavailable
from buildtool.concurrency.keyed_lock import KeyedLocks
from buildtool.errors import BadOffset, Superseded, WrongDigest
from buildtool.ports.common import Executor

if TYPE_CHECKING:
    from hashlib import _Hash

Key = tuple[int, int]
"""Build and epoch."""


@define
class UploadProgress:
    """The length of an upload so far, and the running digest of exactly these bytes."""

    hasher: _Hash
    length: int


@define(eq=False)
class UploadStore:
    """The uploads below ``directory``. ``unsound`` are files whose sync failed and that could not be removed yet."""

    directory: Path
    executor: Executor
    disk: Disk
    locks: KeyedLocks = field(factory=KeyedLocks, init=False)
    unsound: set[Path] = field(factory=set, init=False)
    _open: dict[Key, Upload] = field(factory=dict, init=False)
    _received: dict[Key, UploadProgress] = field(factory=dict, init=False)

    def path(self, key: Key) -> Path:
        """Return where an upload is."""
        return self.directory / f"{key[0]}-{key[1]}"

    async def uploaded(self, build_id: int, epoch: int) -> int:
        """Return how many bytes of an upload are there, 0 when there is none."""
        key = (build_id, epoch)
        async with self.locks.held(key):
            return await on_disk(self.executor, "look at the upload", partial(_size, self.disk, self.path(key)))

    async def room(self, size: int) -> None:
        """Raise StorageUnavailable when the disk has no room for ``size`` more bytes."""
        await on_disk(self.executor, "keep the upload", partial(_check_room, self.disk, self.directory, size))

    async def begin(self, build_id: int, epoch: int, offset: int, size: int, superseded: Callable[[], None]) -> Upload:
        """Return the upload of an Attempt, to go on at byte ``offset`` of ``size``; what lies behind it is cut off.

        The newest connection wins: a machine that comes back must not wait until the link that it lost times out
        here. ``superseded`` is called when that happens to this one. Raises BadOffset, StorageUnavailable.
        """
        key = (build_id, epoch)
        async with self.locks.held(key):
            received = await self.take(key)
            going_on = partial(_continue, self.disk, self.path(key), offset, size, received)
            file, so_far = await on_disk(self.executor, "keep the upload", going_on)
            upload = self._open[key] = Upload(self, key, file, so_far, superseded)
            return upload

    async def take(self, key: Key) -> UploadProgress | None:
        """End the turn of an upload's writer, and return how far it got, if known; under the key's lock."""
        older = self._open.get(key)
        if older is not None:
            older.supersede()
            self.release(key)
        if self.path(key) in self.unsound:
            await self.forget(key)
        return self._received.pop(key, None)

    def release(self, key: Key) -> None:
        """Take the pen from an upload's writer and remember its digest so far; under the key's lock."""
        upload = self._open.pop(key, None)
        if upload is not None:
            upload.shut()
            self._received[key] = upload.received

    async def forget(self, key: Key) -> None:
        """Remove what was uploaded; under the key's lock."""
        self.release(key)
        self._received.pop(key, None)
        path = self.path(key)
        await on_disk(self.executor, "remove an upload", partial(remove, self.disk, path))
        self.unsound.discard(path)

    async def discard(self, key: Key) -> None:
        """Remove what an Attempt uploaded, if anything. Raises StorageUnavailable."""
        async with self.locks.held(key):
            await self.take(key)
            await self.forget(key)


class Upload:
    """The one connection that may add to an Attempt's upload. Made by ``UploadStore.begin``."""

    def __init__(
        self, uploads: UploadStore, key: Key, file: int, received: UploadProgress, superseded: Callable[[], None]
    ) -> None:
        self._uploads = uploads
        self._key = key
        self._file: int | None = file
        self._superseded = superseded
        self.received = received

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Append ``pieces``. Raises Superseded, and StorageUnavailable when the disk is full: the upload is lost."""
        async with self._uploads.locks.held(self._key):
            file = self._open()
            try:
                await self._uploads.executor.run(partial(_append, self._uploads.disk, file, self.received, pieces))
            except OSError as error:
                await self._uploads.forget(self._key)
                raise storage_unavailable("keep the upload", error) from error

    async def verify(self, digest: str) -> None:
        """Compare what arrived with the digest of the whole. Raises WrongDigest; then the upload is gone."""
        async with self._uploads.locks.held(self._key):
            self._open()
            arrived = self.received.hasher.hexdigest()
            if arrived != digest:
                await self._uploads.forget(self._key)
                raise wrong_digest(digest, arrived)

    async def close(self) -> None:
        """End this connection's turn; what arrived stays, to be resumed or published."""
        async with self._uploads.locks.held(self._key):
            if self._file is not None:
                self._uploads.release(self._key)

    def shut(self) -> None:
        """Close the file; only under the store's lock for this upload."""
        file, self._file = self._file, None
        if file is not None:
            self._uploads.disk.close(file)

    def supersede(self) -> None:
        """End this connection's turn, since a newer one takes over; only under the store's lock for this upload."""
        self.shut()
        self._superseded()

    def _open(self) -> int:
        if self._file is None:
            raise Superseded("a newer connection sends this upload: this one ends")
        return self._file


def wrong_digest(promised: str, arrived: str) -> WrongDigest:
    """Return the error for bytes that are not those that were promised."""
    return WrongDigest(f"the bytes have SHA-256 {arrived}, but {promised} was promised: send the file again")


# --- below: run in threads ------------------------------------------------------------------------------


def _size(disk: Disk, path: Path) -> int:
    try:
        return disk.look(path).size
    except FileNotFoundError:
        return 0


def _check_room(disk: Disk, directory: Path, size: int) -> None:
    if disk.free(directory) < size:
        raise OSError(errno.ENOSPC, "no space left")


def _append(disk: Disk, file: int, received: UploadProgress, pieces: Sequence[bytes]) -> None:
    for piece in pieces:  # not joined: copying them once more costs more than a call for each
        disk.append(file, piece)
        received.hasher.update(piece)
        received.length += len(piece)


def _continue(
    disk: Disk, path: Path, offset: int, size: int, received: UploadProgress | None
) -> tuple[int, UploadProgress]:
    """Open an upload for appending at ``offset``, with the digest of what lies before."""
    there = _size(disk, path)
    if offset > there:
        raise BadOffset(f"the upload starts at byte {offset}, but {there} bytes have arrived: go on from there", there)
    _check_room(disk, path.parent, size - there)
    file = disk.open(path, OpenMode.CONTINUE)
    try:
        if offset < there:
            disk.truncate(file, offset)
        if received is None or received.length != offset:
            # A restart lost the running digest, or the sender goes back: what is on disk is what counts.
            received = UploadProgress(hashed(disk, file, offset), offset)
    except BaseException:
        disk.close(file)
        raise
    return file, received
