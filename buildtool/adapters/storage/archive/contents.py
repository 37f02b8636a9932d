"""The files in stored artifacts: listed without unpacking anything, and unpacked one at a time, piece by piece.

An artifact was looked at before it was kept, but its files may still be other than it says: a zip that unpacks to more,
less or something else than its directory has ends in an error, and never in more bytes than it announced.
"""

from __future__ import annotations

import stat
import threading
import zlib
from collections.abc import Callable
from functools import partial
from itertools import islice

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.adapters.storage.archive.directory import (
    DEFLATED,
    ENCRYPTED,
    STORED,
    ListedMember,
    listed_members,
    place_of,
    read_directory,
)
from buildtool.adapters.storage.artifacts import ArtifactStore, StoredArtifact
from buildtool.adapters.storage.filesystem import on_disk
from buildtool.errors import Damaged, NotFound, UnsafeArchive, UsageError
from buildtool.model.text import size_words
from buildtool.ports.artifacts import ArtifactFile, FileKind, FilesFound
from buildtool.ports.common import Executor

LARGEST = 256 * 2**20
"""Most bytes of a file that is unpacked: who wants a larger one fetches the artifact."""

PIECE = 128 * 1024
"""Bytes that are unpacked at once; about as much is in memory for each file that is read."""

_PACKED = 32 * 1024

_log = Logger()


@define(eq=False)
class ArchiveContents:
    """The ``ports.FilesReader`` over stored artifacts, in threads of its own."""

    store: ArtifactStore
    executor: Executor

    async def files(self, digest: str, skip: int, most: int) -> FilesFound:
        try:
            return await on_disk(self.executor, "list an artifact", partial(_listed, self.store, digest, skip, most))
        except UnsafeArchive as error:
            raise Damaged(f"what is in this artifact cannot be listed: {error}") from error

    async def open(self, digest: str, name: str) -> MemberReader:
        reader = MemberReader(await _held(Deferred.fromCoroutine(self.store.open(digest))), self.executor)
        try:
            await on_disk(self.executor, "read an artifact", partial(reader.find, name))
        except UnsafeArchive as error:
            reader.close()
            raise Damaged(f"what is in this artifact cannot be read: {error}") from error
        except BaseException:
            reader.close()
            raise
        return reader


class MemberReader:
    """The ``ports.FileReader`` of a member of a zip."""

    def __init__(self, stored: StoredArtifact, executor: Executor) -> None:
        self._stored, self._executor = stored, executor
        self._using = threading.Lock()
        self._closed = False
        self._at = self._end = self._made = self._sum = 0
        self._inflating: zlib._Decompress | None = None
        self.file = ArtifactFile("", 0, FileKind.FILE)
        self._checksum = 0

    async def read(self) -> bytes:
        return await on_disk(self._executor, "read an artifact", self._next)

    def close(self) -> None:
        """Close the file as soon as no thread reads it any more."""
        Deferred.fromCoroutine(self._executor.run(self._close)).addErrback(
            lambda failure: _log.failure("an artifact stays open", failure)
        )

    # --- below: run in threads ----------------------------------------------------------------------------

    def find(self, name: str) -> None:
        """Find the member of a name. Raises NotFound, UnsafeArchive, and UsageError for one that is too large."""
        with self._using:
            listed, limit = _member(self._stored, name)
            kind = _kind(listed)
            if kind is FileKind.LINK:
                raise NotFound(f"{name!r:.200} is a link in this artifact, and has no bytes of its own")
            if listed.size > LARGEST:
                raise UsageError(
                    f"{name!r:.200} has {size_words(listed.size)}: a file of more than {size_words(LARGEST)} is fetched"
                    " with the whole artifact"
                )
            if listed.flags & ENCRYPTED or listed.method not in {STORED, DEFLATED}:
                raise UnsafeArchive("it is packed in a way that is not known")
            self._at, _ = place_of(_at(self._stored), limit, listed)
            self._end = self._at + listed.packed
            if listed.method == DEFLATED:
                self._inflating = zlib.decompressobj(-zlib.MAX_WBITS)
            self.file, self._checksum = ArtifactFile(listed.name, listed.size, kind), listed.checksum

    def _next(self) -> bytes:
        with self._using:
            if self._closed:
                return b""
            piece = self._piece()
            self._made += len(piece)
            self._sum = zlib.crc32(piece, self._sum)
            if self._made > self.file.size:
                raise self._wrong("more bytes than it says")
            if not piece and (self._made, self._sum) != (self.file.size, self._checksum):
                raise self._wrong("other bytes than it says")
            return piece

    def _piece(self) -> bytes:
        """Return what comes next, b"" at the end. Raises Damaged."""
        inflating = self._inflating
        if inflating is None:
            return self._packed(PIECE)
        piece = b""
        try:
            while not piece and not inflating.eof:
                packed = inflating.unconsumed_tail or self._packed(_PACKED)
                piece = inflating.decompress(packed, PIECE)  # of nothing too: there may be more of what was taken
                if not (packed or piece):
                    break
        except zlib.error:
            raise self._wrong("bytes that cannot be unpacked") from None
        return piece

    def _packed(self, most: int) -> bytes:
        size = min(most, self._end - self._at)
        data = self._stored.read_here(size, self._at) if size else b""
        self._at += len(data)
        return data

    def _wrong(self, what: str) -> Damaged:
        return Damaged(f"{self.file.name!r:.200} in this artifact has {what}")

    def _close(self) -> None:
        with self._using:
            if not self._closed:
                self._closed = True
                self._stored.close()


def _at(stored: StoredArtifact) -> Callable[[int, int], bytes]:
    return lambda position, length: stored.read_here(length, position)


def _held(opening: Deferred[StoredArtifact]) -> Deferred[StoredArtifact]:
    """Return what is opened. If that is not waited for to the end, it is closed as soon as it is there."""
    left = list[object]()
    waiting: Deferred[StoredArtifact] = Deferred(left.append)

    def opened(result: StoredArtifact | Failure) -> None:
        if not left:
            waiting.callback(result)
        elif isinstance(result, StoredArtifact):
            result.close()

    opening.addBoth(opened)
    return waiting


def _listed(store: ArtifactStore, digest: str, skip: int, most: int) -> FilesFound:
    stored = store.glance(digest)
    try:
        start, end, count = read_directory(_at(stored), stored.size)
        members = listed_members(_at(stored), start, end, count)
        found = [ArtifactFile(one.name, one.size, _kind(one)) for one in islice(members, skip, skip + most)]
        return FilesFound(count, found)
    finally:
        stored.close()


def _member(stored: StoredArtifact, name: str) -> tuple[ListedMember, int]:
    """Return the member of a name, and where the directory begins. Raises NotFound, UnsafeArchive."""
    start, end, count = read_directory(_at(stored), stored.size)
    for one in listed_members(_at(stored), start, end, count):
        if one.name == name:
            return one, start
    raise NotFound(f"there is no {name!r:.200} in this artifact")


def _kind(listed: ListedMember) -> FileKind:
    mode = listed.attributes >> 16
    if stat.S_ISLNK(mode):
        return FileKind.LINK
    return FileKind.PROGRAM if mode & stat.S_IXUSR else FileKind.FILE
