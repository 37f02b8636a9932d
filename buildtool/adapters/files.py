"""Artifact bytes on disk: uploads on their way, and what was published, each under its SHA-256.

``incoming/<build>-<epoch>`` is what an Attempt has uploaded so far. Publishing verifies, syncs and renames it to
``artifacts/ab/<digest>.zip``, so a file under that name is whole. Before a file is given out for the first time by
this process, and again whenever inode, size or time of change differ from what was verified, its bytes are read
and compared with its name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from attrs import define, frozen

from buildtool.adapters.keyed import KeyedLocks
from buildtool.domain.tickets import KEY_BYTES
from buildtool.errors import (
    BadOffset,
    BadUpload,
    Damaged,
    EmptySecret,
    NotFound,
    StorageUnavailable,
    Superseded,
    WrongDigest,
)
from buildtool.ports import Executor

if TYPE_CHECKING:
    from hashlib import _Hash

T = TypeVar("T")

Key = tuple[int, int]
"""Build and epoch."""

DIGEST = re.compile(r"[0-9a-f]{64}")
VERDICTS = 10_000
"""Most verdicts about stored files that are remembered; the ones not asked for longest are verified anew."""

_READ = 1024 * 1024
_NEW = os.O_NOFOLLOW | os.O_CLOEXEC


@frozen
class Stamp:
    """What the file system says about one version of a file; it differs after any rewrite."""

    inode: int
    size: int
    mtime_ns: int


@define
class Received:
    """How far an upload got, and the running digest of exactly these bytes."""

    hasher: _Hash
    length: int


class Upload:
    """The one connection that may add to an Attempt's upload. Made by ``ArtifactStore.begin``."""

    def __init__(
        self, store: ArtifactStore, key: Key, descriptor: int, received: Received, superseded: Callable[[], None]
    ) -> None:
        self._store = store
        self._key = key
        self._descriptor: int | None = descriptor
        self._superseded = superseded
        self.received = received

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Append. Raises Superseded, and StorageUnavailable when the disk is full: then the upload is gone."""
        async with self._store.locks.held(self._key):
            descriptor = self._open()
            try:
                await self._store.executor.run(partial(_append, descriptor, self.received, pieces))
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
            if self._descriptor is not None:
                self._store.release(self._key)

    def shut(self) -> None:
        """Close the file; only under the store's lock for this upload."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def supersede(self) -> None:
        """A newer connection takes over; only under the store's lock for this upload."""
        self.shut()
        self._superseded()

    def _open(self) -> int:
        if self._descriptor is None:
            raise Superseded("a newer connection sends this upload: this one ends")
        return self._descriptor


class Stored:
    """An artifact that was verified and is open for reading. ``close`` it only when no ``read`` is under way."""

    def __init__(self, executor: Executor, descriptor: int, size: int) -> None:
        self._executor = executor
        self._descriptor = descriptor
        self.size = size

    async def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``, fewer at the end of the file."""
        return await self._executor.run(lambda: os.pread(self._descriptor, size, start))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class ArtifactStore:
    """Implements ``ports.ArtifactFiles`` and what the transfer service needs: uploads, and verified reading."""

    def __init__(self, directory: Path, executor: Executor) -> None:
        self._artifacts = directory / "artifacts"
        self._incoming = directory / "incoming"
        self.executor = executor
        self.locks = KeyedLocks()
        self._uploads: dict[Key, Upload] = {}
        self._received: dict[Key, Received] = {}
        self._verdicts: OrderedDict[str, tuple[Stamp, bool]] = OrderedDict()

    async def start(self, keep: Iterable[Key] = ()) -> None:
        """Make the directories and remove uploads left by an earlier run, but for those in ``keep``."""
        names = {_name(key) for key in keep}
        await self._disk("prepare the artifact store", partial(self._sweep, names))

    # --- uploads ---------------------------------------------------------------------------------------

    async def uploaded(self, build_id: int, epoch: int) -> int:
        """Return how many bytes of an upload are there, 0 when there is none."""
        key = (build_id, epoch)
        async with self.locks.held(key):
            return await self._disk("look at the upload", partial(_size, self._incoming / _name(key)))

    async def room(self, size: int) -> None:
        """Raise StorageUnavailable when the disk has no room for ``size`` more bytes."""
        await self._disk("keep the upload", partial(_room, self._incoming, size))

    async def begin(self, build_id: int, epoch: int, offset: int, size: int, superseded: Callable[[], None]) -> Upload:
        """Return the upload of an Attempt, to go on at byte ``offset`` of ``size``; what lies behind it is cut off.

        The newest connection wins: a machine that comes back must not wait until the link that it lost times out
        here. ``superseded`` is called when that happens to this one. Raises BadOffset, StorageUnavailable.
        """
        key = (build_id, epoch)
        async with self.locks.held(key):
            older = self._uploads.pop(key, None)
            received = older.received if older is not None else self._received.get(key)
            if older is not None:
                older.supersede()
            self._received.pop(key, None)
            path = self._incoming / _name(key)
            descriptor, so_far = await self._disk("keep the upload", partial(_continue, path, offset, size, received))
            upload = self._uploads[key] = Upload(self, key, descriptor, so_far, superseded)
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
        await self._disk("remove an upload", partial(_remove, self._incoming / _name(key)))

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
            received = self._received.get(key)
            source, target = self._incoming / _name(key), self._path(digest)
            stamp = await self._disk("publish an artifact", partial(_publish, source, target, digest, size, received))
            self._received.pop(key, None)
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

    # --- what is published -----------------------------------------------------------------------------

    def present(self, digest: str, size: int) -> bool:
        if not DIGEST.fullmatch(digest):
            return False
        try:
            stamp = _stamp(self._path(digest).stat(follow_symlinks=False))
        except OSError:
            return False
        return stamp.size == size and self._verdicts.get(digest) != (stamp, False)

    async def open(self, digest: str) -> Stored:
        """Return an artifact whose bytes were compared with its digest. Raises NotFound, Damaged."""
        if not DIGEST.fullmatch(digest):
            raise NotFound("there is no artifact of that digest")
        async with self.locks.held(digest):
            verdict = self._verdicts.get(digest)
            opened = partial(_open_verified, self._path(digest), digest, verdict)
            descriptor, stamp, sound = await self._disk("read an artifact", opened)
        self._judge(digest, stamp, sound=sound)
        if not sound:
            os.close(descriptor)
            raise Damaged("the stored artifact is damaged and is not given out: ask for the build again")
        return Stored(self.executor, descriptor, stamp.size)

    def _judge(self, digest: str, stamp: Stamp, *, sound: bool) -> None:
        self._verdicts[digest] = (stamp, sound)
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > VERDICTS:
            self._verdicts.popitem(last=False)

    def _path(self, digest: str) -> Path:
        return self._artifacts / digest[:2] / f"{digest}.zip"

    async def _disk(self, purpose: str, function: Callable[[], T]) -> T:
        try:
            return await self.executor.run(function)
        except OSError as error:
            raise storage_unavailable(purpose, error) from error

    def _sweep(self, keep: set[str]) -> None:
        for directory in (self._artifacts, self._incoming):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in list(self._incoming.iterdir()):
            if path.name not in keep:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def load_key(path: Path) -> bytes:
    """Return the ticket key in ``path``, making it (readable by its owner only) when the file is not there.

    A short or empty file is not replaced: whoever emptied it has to know that tokens and tickets given out under
    the old key no longer hold. Raises EmptySecret, StorageUnavailable.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_unavailable(f"read the key {path}", error) from error
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NEW, 0o600)
        try:
            write_all(descriptor, secrets.token_bytes(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(fresh, path)  # unlike a rename it never replaces a key that another process just made
        except FileExistsError:
            return _read_key(path)
        finally:
            fresh.unlink()
        sync_directory(path.parent)
        return _read_key(path)
    except OSError as error:
        raise storage_unavailable(f"keep the key {path}", error) from error


def storage_unavailable(purpose: str, error: OSError) -> StorageUnavailable:
    """The error for a disk that will not ``purpose``, in one line."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageUnavailable(f"cannot {purpose}: the disk is full; try again when there is room")
    return StorageUnavailable(f"cannot {purpose}: {error.strerror or 'the disk failed'}; try again later")


def wrong_digest(promised: str, arrived: str) -> WrongDigest:
    """The error for bytes that are not those that were promised."""
    return WrongDigest(f"the bytes have SHA-256 {arrived}, but {promised} was promised: send the file again")


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- below: run in threads ------------------------------------------------------------------------------


def _name(key: Key) -> str:
    return f"{key[0]}-{key[1]}"


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        held = f"holds {len(key)} bytes" if key else "is empty"
        raise EmptySecret(f"the key {path} {held}: restore its {KEY_BYTES} bytes, or remove it to have a new one made")
    return key


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _room(directory: Path, size: int) -> None:
    if shutil.disk_usage(directory).free < size:
        raise OSError(errno.ENOSPC, "no space left")


def _hash(descriptor: int, length: int) -> _Hash:
    hasher = hashlib.sha256()
    position = 0
    while position < length and (piece := os.pread(descriptor, min(_READ, length - position), position)):
        hasher.update(piece)
        position += len(piece)
    return hasher


def _append(descriptor: int, received: Received, pieces: Sequence[bytes]) -> None:
    for piece in pieces:  # not joined: copying them once more costs more than a call for each
        write_all(descriptor, piece)
        received.hasher.update(piece)
        received.length += len(piece)


def _continue(path: Path, offset: int, size: int, received: Received | None) -> tuple[int, Received]:
    """Open an upload for appending at ``offset``, with the digest of what lies before."""
    there = _size(path)
    if offset > there:
        raise BadOffset(f"the upload starts at byte {offset}, but {there} bytes have arrived: go on from there", there)
    _room(path.parent, size - there)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NEW, 0o600)
    try:
        os.ftruncate(descriptor, offset)
        if received is None or received.length != offset:
            # A restart lost the running digest, or the sender goes back: what is on disk is what counts.
            received = Received(_hash(descriptor, offset), offset)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, received


def _publish(source: Path, target: Path, digest: str, size: int, received: Received | None) -> Stamp | None:
    """Move an upload to its digest, durably; None when there is no upload."""
    try:
        descriptor = os.open(source, os.O_RDWR | _NEW)
    except FileNotFoundError:
        return None
    try:
        there = os.fstat(descriptor).st_size
        if there != size:
            raise BadUpload(f"{there} bytes were uploaded, but the artifact has {size}: send the rest")
        known = received is not None and received.length == there
        arrived = (received.hasher if received is not None and known else _hash(descriptor, there)).hexdigest()
        if arrived != digest:
            source.unlink()
            raise wrong_digest(digest, arrived)
        os.fsync(descriptor)
        if not target.parent.exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            sync_directory(target.parent.parent)
        source.rename(target)  # also over an older copy: that one may be damaged, this one is not
        sync_directory(target.parent)
        return _stamp(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _open_verified(path: Path, digest: str, verdict: tuple[Stamp, bool] | None) -> tuple[int, Stamp, bool]:
    try:
        descriptor = os.open(path, os.O_RDONLY | _NEW)
    except FileNotFoundError:
        raise NotFound("there is no artifact of that digest") from None
    try:
        stamp = _stamp(os.fstat(descriptor))
        if verdict is not None and verdict[0] == stamp:
            return descriptor, stamp, verdict[1]
        return descriptor, stamp, _hash(descriptor, stamp.size).hexdigest() == digest
    except BaseException:
        os.close(descriptor)
        raise
