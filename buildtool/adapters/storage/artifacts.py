"""Artifact bytes on disk: uploads on their way, and what was published, each under its SHA-256.

``incoming/<build>-<epoch>`` is what an Attempt has uploaded so far. Publishing verifies, syncs and renames it to
``artifacts/ab/<digest>.zip``, if what it holds may be kept. So a file under that name is whole: what it holds is
durable before it has that name, and the name before publishing returns, so that then a row can tell of it. Before a
file is given out for the first time by this process, and again whenever inode, size or time of change differ from what
was verified, its bytes are read and compared with its name. Where ``artifacts/`` is a file system of its own, what is
published is copied there first.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from attrs import frozen

from buildtool.adapters.storage.filesystem import (
    Disk,
    FileStatus,
    OpenMode,
    RealDisk,
    exists,
    hashed,
    make_directories,
    move,
    on_disk,
    remove,
)
from buildtool.adapters.storage.uploads import Key, UploadProgress, UploadStore, wrong_digest
from buildtool.concurrency.keyed_lock import KeyedLocks
from buildtool.errors import BadUpload, Damaged, NotFound, UnsafeArchive
from buildtool.ports.common import Executor

T = TypeVar("T")
ContentCheck = Callable[[Callable[[int, int], bytes], int], None]
"""Raises UnsafeArchive for what may not be kept; it gets what reads (size, position), and the size. Blocks."""

DIGEST = re.compile(r"[0-9a-f]{64}")
ARRIVING = "arriving"
"""Where below ``artifacts/`` is copied what arrived on another file system, before it is published."""

LARGE = 1 << 20
"""Bytes from which artifacts are looked into one at a time, since what one of them lists may take much memory."""

VERDICTS = 10_000
"""Most verdicts about stored files that are remembered; the ones not asked for longest are verified anew."""


@frozen
class FileStamp:
    """The mark of one version of a file in the file system; it differs after any rewrite."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class StoredArtifact:
    """An artifact that was verified and is open for reading. ``close`` it only when no ``read`` is under way."""

    def __init__(self, executor: Executor, disk: Disk, file: int, size: int) -> None:
        self._executor = executor
        self._disk = disk
        self._file = file
        self.size = size

    async def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``, fewer at the end of the file. Raises StorageUnavailable."""
        return await on_disk(self._executor, "read an artifact", lambda: self._disk.pread(self._file, size, start))

    def read_here(self, size: int, start: int) -> bytes:
        """Return ``size`` bytes from ``start``, fewer at the end of the file. Blocks. Raises OSError."""
        return self._disk.pread(self._file, size, start)

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._file)


class ArtifactStore:
    """The ``ports.ArtifactFiles``, and what the transfer service needs: uploads, and verified reading."""

    def __init__(
        self, directory: Path, executor: Executor, disk: Disk | None = None, check: ContentCheck | None = None
    ) -> None:
        """Keep artifacts in a state directory; ``check`` looks at each before it is published. None takes any bytes."""
        self._directory = directory
        self._check = check
        self._artifacts = directory / "artifacts"
        self._executor = executor
        self.disk = disk or RealDisk()
        self.uploads = UploadStore(directory / "incoming", executor, self.disk)
        self._locks = KeyedLocks()
        self._verdicts: OrderedDict[str, tuple[FileStamp, bool]] = OrderedDict()
        self._durable: set[Path] = set()
        self._checking = Lock()

    async def start(self, keep: Iterable[Key] = ()) -> None:
        """Make the directories and remove uploads left by an earlier run, but for those in ``keep``.

        Of what is kept, a loss of power may have taken the end, or put zeros there: ``uploaded`` says how much there
        is, ``begin`` goes on from there with a digest of exactly that, and ``verify`` finds what is wrong with it.
        Call it before anything is uploaded; something may be discarded meanwhile.
        """
        await self._do("prepare the artifact store", partial(self._sweep, {self.uploads.path(key) for key in keep}))

    # --- what is published -----------------------------------------------------------------------------

    async def discard(self, build_id: int, epoch: int) -> None:
        await self.uploads.discard((build_id, epoch))

    async def publish(self, build_id: int, epoch: int, digest: str, size: int) -> None:
        if not DIGEST.fullmatch(digest):
            raise BadUpload(f"{digest[:80]!r} is no SHA-256: 64 lower-case hex digits are expected")
        key = (build_id, epoch)
        async with self.uploads.locks.held(key):
            received = await self.uploads.take(key)
            publishing = partial(self._publish, self.uploads.path(key), digest, size, received)
            stamp = await self._do("publish an artifact", publishing)
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
        """Return whether the file of this digest is there with ``size`` bytes. Raises StorageUnavailable if unknown."""
        return not await self.absent([(digest, size)])

    async def open(self, digest: str) -> StoredArtifact:
        """Return an artifact whose bytes were compared with its digest. Raises NotFound, Damaged."""
        if not DIGEST.fullmatch(digest):
            raise NotFound("there is no artifact of that digest")
        async with self._locks.held(digest):
            verdict = self._verdicts.get(digest)
            opened = partial(_open_verified, self.disk, self._path(digest), digest, verdict)
            file, stamp, sound = await self._do("read an artifact", opened)
        self._judge(digest, stamp, sound=sound)
        if not sound:
            self.disk.close(file)
            raise Damaged("the stored artifact is damaged and is not given out: ask for the build again")
        return StoredArtifact(self._executor, self.disk, file, stamp.size)

    def glance(self, digest: str) -> StoredArtifact:
        """Return an artifact to be looked at, whose bytes are not compared, as none are given out. Blocks.

        Raises NotFound, OSError.
        """
        if not DIGEST.fullmatch(digest):
            raise NotFound("there is no artifact of that digest")
        file, stamp = _open(self.disk, self._path(digest))
        return StoredArtifact(self._executor, self.disk, file, stamp.size)

    def _judge(self, digest: str, stamp: FileStamp, *, sound: bool) -> None:
        self._verdicts[digest] = (stamp, sound)
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > VERDICTS:
            self._verdicts.popitem(last=False)

    def _path(self, digest: str) -> Path:
        return stored_path(self._directory, digest)

    async def _do(self, purpose: str, function: Callable[[], T]) -> T:
        return await on_disk(self._executor, purpose, function)

    # --- below: run in threads -------------------------------------------------------------------------

    def _sweep(self, keep: set[Path]) -> None:
        disk, incoming = self.disk, self.uploads.directory
        for directory in (self._artifacts, incoming):
            make_directories(disk, directory)
        disk.sync_directory(self._artifacts)
        remove(disk, self._artifacts / ARRIVING)
        self._durable = {self._artifacts / name for name in disk.names(self._artifacts)}
        for path in (incoming / name for name in disk.names(incoming)):
            if path not in keep or not _resumable(disk, path):
                remove(disk, path)

    def _publish(self, source: Path, digest: str, size: int, received: UploadProgress | None) -> FileStamp | None:
        """Move an upload to its digest, durably; None when there is no upload, or none that is needed."""
        disk, target = self.disk, self._path(digest)
        try:
            file = disk.open(source, OpenMode.APPEND)
        except FileNotFoundError:
            return None
        try:
            there = disk.status(file).size
            known = received is not None and received.length == there
            arrived = (received.hasher if received is not None and known else hashed(disk, file, there)).hexdigest()
            if (there, arrived) != (size, digest) and exists(disk, target):
                disk.unlink(source)  # somebody else published the same, so nobody asked for the rest of this one
                return None
            if there != size:
                raise BadUpload(f"{there} bytes were uploaded, but the artifact has {size}: send the rest")
            if arrived != digest:
                disk.unlink(source)
                raise wrong_digest(digest, arrived)
            self._look_into(source, file, size)
            try:
                disk.sync(file)
            except OSError:
                self.uploads.unsound.add(source)  # see Disk.sync: it has to be sent anew
                disk.unlink(source)
                self.uploads.unsound.discard(source)
                raise
            self._make_place(target.parent)
            # Also over an older copy: that one may be damaged, this one is not.
            move(disk, source, target, self._artifacts / ARRIVING / target.name)
            disk.sync_directory(target.parent)
            return _stamp(disk.look(target))
        finally:
            disk.close(file)

    def _look_into(self, source: Path, file: int, size: int) -> None:
        """Raise UnsafeArchive for an upload that may not be kept; then it is gone."""
        if self._check is None:
            return
        try:
            with self._checking if size > LARGE else nullcontext():
                self._check(partial(self.disk.pread, file), size)
        except UnsafeArchive:
            self.disk.unlink(source)
            raise

    def _make_place(self, directory: Path) -> None:
        """Make the directory that artifacts of one beginning are in, durably."""
        if directory in self._durable and exists(self.disk, directory):
            return
        make_directories(self.disk, directory)
        self._durable.add(directory)


def stored_path(directory: Path, digest: str) -> Path:
    """Return where the artifact of a digest lies in a state directory."""
    return directory / "artifacts" / digest[:2] / f"{digest}.zip"


# --- below: run in threads ------------------------------------------------------------------------------


def _stamp(status: FileStatus) -> FileStamp:
    return FileStamp(status.inode, status.size, status.mtime_ns, status.ctime_ns)


def _look(disk: Disk, paths: Iterable[Path]) -> list[FileStamp | None]:
    stamps: list[FileStamp | None] = []
    for path in paths:
        try:
            stamps.append(_stamp(disk.look(path)))
        except (FileNotFoundError, NotADirectoryError):
            stamps.append(None)
    return stamps


def _resumable(disk: Disk, path: Path) -> bool:
    """Return whether an upload may go on. With a second name it was published, and a crash brought the first back."""
    try:
        status = disk.look(path)
    except FileNotFoundError:  # discarded in this moment
        return False
    return status.plain and status.links == 1


def _open_verified(
    disk: Disk, path: Path, digest: str, verdict: tuple[FileStamp, bool] | None
) -> tuple[int, FileStamp, bool]:
    file, stamp = _open(disk, path)
    try:
        if verdict is not None and verdict[0] == stamp:
            return file, stamp, verdict[1]
        return file, stamp, hashed(disk, file, stamp.size).hexdigest() == digest
    except BaseException:
        disk.close(file)
        raise


def _open(disk: Disk, path: Path) -> tuple[int, FileStamp]:
    """Return an open artifact, and the mark of this version of it. Raises NotFound, OSError."""
    try:
        file = disk.open(path, OpenMode.READ)
    except FileNotFoundError:
        raise NotFound("there is no artifact of that digest") from None
    try:
        return file, _stamp(disk.status(file))
    except BaseException:
        disk.close(file)
        raise
