"""Artifact bytes on disk: uploads on their way, and what was published, each under its SHA-256.

``incoming/<build>-<epoch>`` is what an Attempt has uploaded so far. Publishing verifies, syncs and renames it to
``artifacts/ab/<digest>.zip``, so a file under that name is whole: what it holds is durable before it has that name, and
the name before publishing returns, so that then a row can tell of it. Before a file is given out for the first time by
this process, and again whenever inode, size or time of change differ from what was verified, its bytes are read and
compared with its name. Where ``artifacts/`` is a file system of its own, what is published is copied there first.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from attrs import define, frozen

from buildtool.adapters.storage.filesystem import (
    Disk,
    Mode,
    RealDisk,
    Status,
    exists,
    make_directories,
    move,
    remove,
    storage_unavailable,
)
from buildtool.concurrency.keyed_lock import KeyedLocks
from buildtool.errors import (
    BadOffset,
    BadUpload,
    Damaged,
    NotFound,
    Superseded,
    WrongDigest,
)
from buildtool.ports.common import Executor

if TYPE_CHECKING:
    from hashlib import _Hash

T = TypeVar("T")

Key = tuple[int, int]
"""Build and epoch."""

DIGEST = re.compile(r"[0-9a-f]{64}")
ARRIVING = "arriving"
"""Where below ``artifacts/`` is copied what arrived on another file system, before it is published."""

VERDICTS = 10_000
"""Most verdicts about stored files that are remembered; the ones not asked for longest are verified anew."""

_READ = 1024 * 1024


@frozen
class Stamp:
    """What the file system says about one version of a file; it differs after any rewrite."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@define
class Received:
    """How far an upload got, and the running digest of exactly these bytes."""

    hasher: _Hash
    length: int


class Upload:
    """The one connection that may add to an Attempt's upload. Made by ``ArtifactStore.begin``."""

    def __init__(
        self, store: ArtifactStore, key: Key, file: int, received: Received, superseded: Callable[[], None]
    ) -> None:
        self._store = store
        self._key = key
        self._file: int | None = file
        self._superseded = superseded
        self.received = received

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Append. Raises Superseded, and StorageUnavailable when the disk is full: then the upload is gone."""
        async with self._store.locks.held(self._key):
            file = self._open()
            try:
                await self._store.executor.run(partial(_append, self._store.disk, file, self.received, pieces))
            except OSError as error:
                await self._store.forget(self._key)
                raise storage_unavailable("keep the upload", error) from error

    async def verify(self, digest: str) -> None:
        """Compare what arrived with the digest of the whole. Raises WrongDigest; then the upload is gone."""
        async with self._store.locks.held(self._key):
            self._open()
            arrived = self.received.hasher.hexdigest()
            if arrived != digest:
                await self._store.forget(self._key)
                raise wrong_digest(digest, arrived)

    async def close(self) -> None:
        """End this connection's turn; what arrived stays, to be resumed or published."""
        async with self._store.locks.held(self._key):
            if self._file is not None:
                self._store.release(self._key)

    def shut(self) -> None:
        """Close the file; only under the store's lock for this upload."""
        file, self._file = self._file, None
        if file is not None:
            self._store.disk.close(file)

    def supersede(self) -> None:
        """A newer connection takes over; only under the store's lock for this upload."""
        self.shut()
        self._superseded()

    def _open(self) -> int:
        if self._file is None:
            raise Superseded("a newer connection sends this upload: this one ends")
        return self._file


class Stored:
    """An artifact that was verified and is open for reading. ``close`` it only when no ``read`` is under way."""

    def __init__(self, executor: Executor, disk: Disk, file: int, size: int) -> None:
        self._executor = executor
        self._disk = disk
        self._file = file
        self.size = size

    async def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``, fewer at the end of the file. Raises StorageUnavailable."""
        try:
            return await self._executor.run(lambda: self._disk.pread(self._file, size, start))
        except OSError as error:
            raise storage_unavailable("read an artifact", error) from error

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._file)


class ArtifactStore:
    """Implements ``ports.ArtifactFiles`` and what the transfer service needs: uploads, and verified reading."""

    def __init__(self, directory: Path, executor: Executor, disk: Disk | None = None) -> None:
        self._artifacts = directory / "artifacts"
        self._incoming = directory / "incoming"
        self.executor = executor
        self.disk = disk or RealDisk()
        self.locks = KeyedLocks()
        self._uploads: dict[Key, Upload] = {}
        self._received: dict[Key, Received] = {}
        self._verdicts: OrderedDict[str, tuple[Stamp, bool]] = OrderedDict()
        self._durable: set[Path] = set()
        self._unsound: set[Path] = set()

    async def start(self, keep: Iterable[Key] = ()) -> None:
        """Make the directories and remove uploads left by an earlier run, but for those in ``keep``.

        Of what is kept, a loss of power may have taken the end, or put zeros there: ``uploaded`` says how much there
        is, ``begin`` goes on from there with a digest of exactly that, and ``verify`` finds what is wrong with it.
        Call it before anything is uploaded; something may be discarded meanwhile.
        """
        names = {_name(key) for key in keep}
        await self._do("prepare the artifact store", partial(self._sweep, names))

    # --- uploads ---------------------------------------------------------------------------------------

    async def uploaded(self, build_id: int, epoch: int) -> int:
        """Return how many bytes of an upload are there, 0 when there is none."""
        key = (build_id, epoch)
        async with self.locks.held(key):
            return await self._do("look at the upload", partial(_size, self.disk, self._incoming / _name(key)))

    async def room(self, size: int) -> None:
        """Raise StorageUnavailable when the disk has no room for ``size`` more bytes."""
        await self._do("keep the upload", partial(_room, self.disk, self._incoming, size))

    async def begin(self, build_id: int, epoch: int, offset: int, size: int, superseded: Callable[[], None]) -> Upload:
        """Return the upload of an Attempt, to go on at byte ``offset`` of ``size``; what lies behind it is cut off.

        The newest connection wins: a machine that comes back must not wait until the link that it lost times out
        here. ``superseded`` is called when that happens to this one. Raises BadOffset, StorageUnavailable.
        """
        key = (build_id, epoch)
        async with self.locks.held(key):
            await self._remove_unsound(key)
            older = self._uploads.pop(key, None)
            received = older.received if older is not None else self._received.get(key)
            if older is not None:
                older.supersede()
            self._received.pop(key, None)
            path = self._incoming / _name(key)
            going_on = partial(_continue, self.disk, path, offset, size, received)
            file, so_far = await self._do("keep the upload", going_on)
            upload = self._uploads[key] = Upload(self, key, file, so_far, superseded)
            return upload

    def release(self, key: Key) -> None:
        """Take the pen from an upload's writer and remember its digest so far; under the key's lock."""
        upload = self._uploads.pop(key, None)
        if upload is not None:
            upload.shut()
            self._received[key] = upload.received

    async def forget(self, key: Key) -> None:
        """Remove what was uploaded; under the key's lock."""
        self.release(key)
        self._received.pop(key, None)
        path = self._incoming / _name(key)
        await self._do("remove an upload", partial(remove, self.disk, path))
        self._unsound.discard(path)

    async def _remove_unsound(self, key: Key) -> None:
        """Remove an upload whose sync failed, if that could not be done at once; under the key's lock."""
        if self._incoming / _name(key) in self._unsound:
            await self.forget(key)

    async def discard(self, build_id: int, epoch: int) -> None:
        key = (build_id, epoch)
        async with self.locks.held(key):
            upload = self._uploads.get(key)
            if upload is not None:
                upload.supersede()
            await self.forget(key)

    async def publish(self, build_id: int, epoch: int, digest: str, size: int) -> None:
        if not DIGEST.fullmatch(digest):
            raise BadUpload(f"{digest[:80]!r} is no SHA-256: 64 lower-case hex digits are expected")
        key = (build_id, epoch)
        async with self.locks.held(key):
            upload = self._uploads.get(key)
            if upload is not None:
                upload.supersede()
                self.release(key)
            await self._remove_unsound(key)
            received = self._received.pop(key, None)
            source = self._incoming / _name(key)
            stamp = await self._do("publish an artifact", partial(self._publish, source, digest, size, received))
        if stamp is not None:
            self._judge(digest, stamp, sound=True)
            return
        try:
            stored = await self.open(digest)
        except (NotFound, Damaged) as error:
            raise BadUpload(f"nothing was uploaded for build {build_id}, attempt {epoch}: send the file") from error
        stored.close()
        if stored.size != size:
            raise BadUpload(f"the artifact {digest} has {stored.size} bytes, not {size}")
        # Whoever renamed it may have been killed, or have failed, before the name was durable.
        await self._do("publish an artifact", partial(self.disk.sync_directory, self._path(digest).parent))

    # --- what is published -----------------------------------------------------------------------------

    async def absent(self, files: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        looked_for = [one for one in files if DIGEST.fullmatch(one[0])]
        look = partial(_look, self.disk, [self._path(digest) for digest, _ in looked_for])
        stamps = await self._do("look at an artifact", look)
        there = {
            (digest, size)
            for (digest, size), stamp in zip(looked_for, stamps, strict=True)
            if stamp is not None and stamp.size == size and self._verdicts.get(digest) != (stamp, False)
        }
        return frozenset(files) - there

    async def present(self, digest: str, size: int) -> bool:
        """Return whether the file of this digest is there with this size. Raises StorageUnavailable: nobody knows."""
        return not await self.absent([(digest, size)])

    async def open(self, digest: str) -> Stored:
        """Return an artifact whose bytes were compared with its digest. Raises NotFound, Damaged."""
        if not DIGEST.fullmatch(digest):
            raise NotFound("there is no artifact of that digest")
        async with self.locks.held(digest):
            verdict = self._verdicts.get(digest)
            opened = partial(_open_verified, self.disk, self._path(digest), digest, verdict)
            file, stamp, sound = await self._do("read an artifact", opened)
        self._judge(digest, stamp, sound=sound)
        if not sound:
            self.disk.close(file)
            raise Damaged("the stored artifact is damaged and is not given out: ask for the build again")
        return Stored(self.executor, self.disk, file, stamp.size)

    def _judge(self, digest: str, stamp: Stamp, *, sound: bool) -> None:
        self._verdicts[digest] = (stamp, sound)
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > VERDICTS:
            self._verdicts.popitem(last=False)

    def _path(self, digest: str) -> Path:
        return self._artifacts / digest[:2] / f"{digest}.zip"

    async def _do(self, purpose: str, function: Callable[[], T]) -> T:
        try:
            return await self.executor.run(function)
        except OSError as error:
            raise storage_unavailable(purpose, error) from error

    # --- below: run in threads -------------------------------------------------------------------------

    def _sweep(self, keep: set[str]) -> None:
        disk = self.disk
        for directory in (self._artifacts, self._incoming):
            make_directories(disk, directory)
        disk.sync_directory(self._artifacts)
        remove(disk, self._artifacts / ARRIVING)
        self._durable = {self._artifacts / name for name in disk.names(self._artifacts)}
        for name in disk.names(self._incoming):
            path = self._incoming / name
            if name not in keep or not _resumable(disk, path):
                remove(disk, path)

    def _publish(self, source: Path, digest: str, size: int, received: Received | None) -> Stamp | None:
        """Move an upload to its digest, durably; None when there is no upload, or none that is needed."""
        disk, target = self.disk, self._path(digest)
        try:
            file = disk.open(source, Mode.APPEND)
        except FileNotFoundError:
            return None
        try:
            there = disk.status(file).size
            known = received is not None and received.length == there
            arrived = (received.hasher if received is not None and known else _hash(disk, file, there)).hexdigest()
            if (there, arrived) != (size, digest) and exists(disk, target):
                disk.unlink(
                    source
                )  # somebody else published the same, so that the rest of this one was never asked for
                return None
            if there != size:
                raise BadUpload(f"{there} bytes were uploaded, but the artifact has {size}: send the rest")
            if arrived != digest:
                disk.unlink(source)
                raise wrong_digest(digest, arrived)
            try:
                disk.sync(file)
            except OSError:
                self._unsound.add(source)  # see Disk.sync: it has to be sent anew
                disk.unlink(source)
                self._unsound.discard(source)
                raise
            self._make_place(target.parent)
            # Also over an older copy: that one may be damaged, this one is not.
            move(disk, source, target, self._artifacts / ARRIVING / target.name)
            disk.sync_directory(target.parent)
            return _stamp(disk.look(target))
        finally:
            disk.close(file)

    def _make_place(self, directory: Path) -> None:
        """Make the directory that artifacts of one beginning are in, durably."""
        if directory in self._durable and exists(self.disk, directory):
            return
        make_directories(self.disk, directory)
        self._durable.add(directory)


def wrong_digest(promised: str, arrived: str) -> WrongDigest:
    """The error for bytes that are not those that were promised."""
    return WrongDigest(f"the bytes have SHA-256 {arrived}, but {promised} was promised: send the file again")


# --- below: run in threads ------------------------------------------------------------------------------


def _name(key: Key) -> str:
    return f"{key[0]}-{key[1]}"


def _stamp(status: Status) -> Stamp:
    return Stamp(status.inode, status.size, status.mtime_ns, status.ctime_ns)


def _look(disk: Disk, paths: Iterable[Path]) -> list[Stamp | None]:
    stamps: list[Stamp | None] = []
    for path in paths:
        try:
            stamps.append(_stamp(disk.look(path)))
        except (FileNotFoundError, NotADirectoryError):
            stamps.append(None)
    return stamps


def _resumable(disk: Disk, path: Path) -> bool:
    """Say whether an upload may go on. With a second name it was published, and a crash brought the first one back."""
    try:
        status = disk.look(path)
    except FileNotFoundError:  # discarded in this moment
        return False
    return status.plain and status.links == 1


def _size(disk: Disk, path: Path) -> int:
    try:
        return disk.look(path).size
    except FileNotFoundError:
        return 0


def _room(disk: Disk, directory: Path, size: int) -> None:
    if disk.free(directory) < size:
        raise OSError(errno.ENOSPC, "no space left")


def _hash(disk: Disk, file: int, length: int) -> _Hash:
    hasher = hashlib.sha256()
    position = 0
    while position < length and (piece := disk.pread(file, min(_READ, length - position), position)):
        hasher.update(piece)
        position += len(piece)
    return hasher


def _append(disk: Disk, file: int, received: Received, pieces: Sequence[bytes]) -> None:
    for piece in pieces:  # not joined: copying them once more costs more than a call for each
        disk.append(file, piece)
        received.hasher.update(piece)
        received.length += len(piece)


def _continue(disk: Disk, path: Path, offset: int, size: int, received: Received | None) -> tuple[int, Received]:
    """Open an upload for appending at ``offset``, with the digest of what lies before."""
    there = _size(disk, path)
    if offset > there:
        raise BadOffset(f"the upload starts at byte {offset}, but {there} bytes have arrived: go on from there", there)
    _room(disk, path.parent, size - there)
    file = disk.open(path, Mode.CONTINUE)
    try:
        if offset < there:
            disk.truncate(file, offset)
        if received is None or received.length != offset:
            # A restart lost the running digest, or the sender goes back: what is on disk is what counts.
            received = Received(_hash(disk, file, offset), offset)
    except BaseException:
        disk.close(file)
        raise
    return file, received


def _open_verified(disk: Disk, path: Path, digest: str, verdict: tuple[Stamp, bool] | None) -> tuple[int, Stamp, bool]:
    try:
        file = disk.open(path, Mode.READ)
    except FileNotFoundError:
        raise NotFound("there is no artifact of that digest") from None
    try:
        stamp = _stamp(disk.status(file))
        if verdict is not None and verdict[0] == stamp:
            return file, stamp, verdict[1]
        return file, stamp, _hash(disk, file, stamp.size).hexdigest() == digest
    except BaseException:
        disk.close(file)
        raise
