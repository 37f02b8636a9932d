"""The log of each Attempt: appended by offset, followed while it grows, compressed at the end, read by range.

``logs/<build>-<epoch>.log`` grows; ``finish`` turns it into ``<build>-<epoch>.log.zst``: Zstandard frames of FRAME
bytes each with a seek table behind them (the "seekable format" of the Zstandard project, which ``zstd -d`` reads like
any other file), so that any range is read without decompressing what lies before it. A log may hold any bytes. Beside
each is its index (``buildtool/adapters/storage/log_index``).
"""

from __future__ import annotations

import re
import struct
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import zstandard
from attrs import frozen
from twisted.internet.defer import Deferred

from buildtool.adapters.storage.filesystem import (
    Disk,
    OpenMode,
    RealDisk,
    exists,
    make_directories,
    on_disk,
    opened,
    remove,
)
from buildtool.adapters.storage.log_index.keeping import LogIndexes
from buildtool.adapters.storage.log_index.looking import LogSearch, read_lines
from buildtool.adapters.storage.uploads import Key
from buildtool.concurrency.backpressure import PIECE
from buildtool.concurrency.keyed_lock import KeyedLocks
from buildtool.errors import BadOffset, BadUpload, Damaged, LimitReached, NotFound, TooLong
from buildtool.model.logs.index import FoundInLog, LogIndex
from buildtool.model.logs.marks import LogMark
from buildtool.ports.common import Executor
from buildtool.ports.pages import LINES_LIMIT

T = TypeVar("T")

FRAME = PIECE
"""Bytes of log in one compressed frame; what is read at once costs one frame."""

READ_LIMIT = 4 * 1024 * 1024
"""Most bytes that one ``read`` returns."""

LEVEL = 3

SEARCHES = 8
"""Searches that run or wait at once."""

_HALF = ".new"
_GROWING = re.compile(r"([1-9][0-9]{0,17})-([0-9]{1,9})\.log")
_ENTRY = struct.Struct("<II")
_HEAD = struct.Struct("<II")
_FOOT = struct.Struct("<IBI")
_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1


@frozen
class LogState:
    """The length of a log in bytes, and whether more can come."""

    length: int
    finished: bool


class LogStore:
    """The ``ports.LogFiles``, and what the transfer service and the pages need."""

    def __init__(
        self,
        directory: Path,
        executor: Executor,
        disk: Disk | None = None,
        now: Callable[[], float] = time.time,
        searchers: Executor | None = None,
    ) -> None:
        """``now`` is the wall time; ``searchers`` run searches, so that nothing else waits for them."""
        self._directory = directory / "logs"
        self._executor = executor
        self._searchers = searchers or executor
        self._searching = 0
        self._disk = disk or RealDisk()
        self._indexes = LogIndexes(self._disk, now)
        self._locks = KeyedLocks()
        self._looks = KeyedLocks()
        self._watchers: dict[Key, list[Deferred[None]]] = {}
        self.read_lately: set[Key] = set()
        """Whose logs were read since this was made empty: what forgets logs leaves these for now."""

    async def start(self) -> None:
        """Make the directory and clear away what a crash left half done."""
        await self._do("prepare the log store", partial(_sweep, self._disk, self._directory))

    async def unfinished(self) -> list[Key]:
        """Return whose logs are not finished: at the start also those that a crash kept from being so."""
        return await self._do("look at the logs", partial(_unfinished, self._disk, self._directory))

    async def append(
        self, build_id: int, epoch: int, offset: int, data: bytes, limit: int, marks: Sequence[LogMark] = ()
    ) -> int:
        """Write ``data`` at ``offset`` of a log and return its length; what is already there is skipped.

        Sending the same bytes again changes nothing. Survives a crash of this process at once, one of the machine
        from ``finish`` on. ``marks`` go into the index. Raises BadOffset (a gap; tells the length), TooLong (``limit``
        bytes at most), BadUpload (finished already) and StorageUnavailable; then nothing of ``data`` is kept.
        """
        key = (build_id, epoch)
        async with self._locks.held(key):
            plain, packed = self._paths(key)

            def appended() -> tuple[int, int]:
                before, after = _append(self._disk, plain, packed, offset, data, limit)
                if before != after or marks:
                    self._indexes.appended(plain, before, data[len(data) - (after - before) :], marks)
                return before, after

            before, after = await self._do("keep the log", appended)
        if before != after:
            self._changed(key)
        return after

    async def finish(self, build_id: int, epoch: int) -> None:
        key = (build_id, epoch)
        async with self._locks.held(key):
            plain, packed = self._paths(key)

            def finished() -> None:
                self._indexes.complete(plain)
                _compress(self._disk, plain, packed)

            await self._do("compress a log", finished)
        self._changed(key)

    async def state(self, build_id: int, epoch: int) -> LogState:
        """Return length and whether the log is finished. Raises NotFound."""
        return await self._do("read a log", partial(_read, self._disk, *self._paths((build_id, epoch)), _state_of))

    async def read(self, build_id: int, epoch: int, start: int, size: int) -> bytes:
        """Return at most ``size`` bytes (never over READ_LIMIT) from ``start`` on; b"" at the end.

        Raises NotFound, Damaged.
        """
        self.read_lately.add((build_id, epoch))

        def take(log: _Plain | _Compressed) -> bytes:
            return log.read(start, min(size, READ_LIMIT))

        return await self._do("read a log", partial(_read, self._disk, *self._paths((build_id, epoch)), take))

    async def index(self, build_id: int, epoch: int) -> LogIndex:
        """Return the index of a log, as the port says."""
        return await self._look(build_id, epoch, lambda _log, index: index)

    async def lines(self, build_id: int, epoch: int, first: int, count: int) -> Sequence[bytes]:
        """Return lines of a log, as the port says."""
        most = min(count, LINES_LIMIT)
        return await self._look(build_id, epoch, lambda log, index: read_lines(log, index, first, most))

    async def search(self, build_id: int, epoch: int, text: bytes, *, fold: bool) -> FoundInLog:
        """Return what is found in a log, as the port says. Raises LimitReached."""
        if self._searching >= SEARCHES:
            raise LimitReached("too many logs are searched right now: try again in a moment", 1.0)
        stop = threading.Event()
        search = LogSearch(text, fold, stop.is_set)
        paths = self._paths((build_id, epoch))
        self._searching += 1
        try:
            return await on_disk(self._searchers, "search a log", partial(_read, self._disk, *paths, search.run))
        finally:
            stop.set()
            self._searching -= 1

    async def _look(self, build_id: int, epoch: int, use: Callable[[_Plain | _Compressed, LogIndex], T]) -> T:
        key = (build_id, epoch)
        plain, packed = self._paths(key)

        def look(log: _Plain | _Compressed) -> T:
            return use(log, self._indexes.of(plain, log))

        async with self._looks.held(key):
            return await self._do("read a log", partial(_read, self._disk, plain, packed, look))

    def changed(self, build_id: int, epoch: int) -> Deferred[None]:
        """Return a Deferred that fires when the log grows or ends. Cancel it to stop waiting.

        Ask for it *before* looking at the log's state, lest a change between the two be missed.
        """
        watchers = self._watchers.setdefault((build_id, epoch), [])

        def give_up(watcher: Deferred[None]) -> None:
            watchers.remove(watcher)
            if not watchers and self._watchers.get((build_id, epoch)) is watchers:
                del self._watchers[build_id, epoch]

        watchers.append(Deferred(give_up))
        return watchers[-1]

    def _changed(self, key: Key) -> None:
        for watcher in tuple(self._watchers.pop(key, [])):
            if not watcher.called:
                watcher.callback(None)

    def _paths(self, key: Key) -> tuple[Path, Path]:
        plain = self._directory / f"{key[0]}-{key[1]}.log"
        return plain, plain.with_name(f"{plain.name}.zst")

    async def _do(self, purpose: str, function: Callable[[], T]) -> T:
        return await on_disk(self._executor, purpose, function)


# --- below: run in threads ------------------------------------------------------------------------------


class _Plain:
    """A log that still grows."""

    finished = False

    def __init__(self, disk: Disk, file: int) -> None:
        self._disk = disk
        self._file = file
        self.length = disk.status(file).size

    def read(self, start: int, size: int) -> bytes:
        return self._disk.pread(self._file, size, start)


class _Compressed:
    """A finished log; raises Damaged for what no ``_compress`` has written."""

    finished = True

    def __init__(self, disk: Disk, file: int) -> None:
        self._disk = disk
        self._file = file
        end = disk.status(file).size
        try:
            count, _flags, magic = _FOOT.unpack(disk.pread(file, _FOOT.size, max(end - _FOOT.size, 0)))
        except struct.error as error:
            raise _damaged() from error
        start = end - _FOOT.size - count * _ENTRY.size
        if magic != _SEEKABLE or start < 0:
            raise _damaged()
        self._frames: list[tuple[int, int, int, int]] = []  # place and size packed, size, position
        self._starts: list[int] = []
        place = self.length = 0
        for frame in _ENTRY.iter_unpack(disk.pread(file, count * _ENTRY.size, start)):
            self._frames.append((place, *frame, self.length))
            self._starts.append(self.length)
            place += frame[0]
            self.length += frame[1]

    def read(self, start: int, size: int) -> bytes:
        stop, found = start + size, []
        for place, packed, length, position in self._frames[max(bisect_right(self._starts, start) - 1, 0) :]:
            if position >= stop:
                break
            if position + length > start:
                piece = self._frame(place, packed, length)
                found.append(piece[max(start - position, 0) : stop - position])
        return b"".join(found)

    def _frame(self, place: int, packed: int, length: int) -> bytes:
        if max(packed, length) > 2 * FRAME:
            raise _damaged()
        frame = self._disk.pread(self._file, packed, place)
        try:
            if zstandard.frame_content_size(frame) != length:  # what the decompressor would make room for
                raise _damaged()
            piece = zstandard.ZstdDecompressor().decompress(frame)
        except zstandard.ZstdError as error:
            raise _damaged() from error
        if len(piece) != length:
            raise _damaged()
        return piece


def _damaged() -> Damaged:
    return Damaged("the stored log is damaged and cannot be read")


def _state_of(log: _Plain | _Compressed) -> LogState:
    return LogState(log.length, log.finished)


def _read(disk: Disk, plain: Path, packed: Path, use: Callable[[_Plain | _Compressed], T]) -> T:
    """Open a log in whichever form it has. The plain one is looked for again last: ``finish`` may come between."""
    kinds: tuple[tuple[Path, type[_Plain | _Compressed]], ...]
    kinds = ((packed, _Compressed), (plain, _Plain), (packed, _Compressed))
    for path, kind in kinds:
        with suppress(FileNotFoundError), opened(disk, path, OpenMode.READ) as file:
            return use(kind(disk, file))
    raise NotFound("there is no such log: the build may not have started")


def _append(disk: Disk, plain: Path, packed: Path, offset: int, data: bytes, limit: int) -> tuple[int, int]:
    """Return the length before and after."""
    if exists(disk, packed):
        length = _read(disk, plain, packed, _state_of).length
        if offset + len(data) > length:
            raise BadUpload("the log is finished: nothing can be appended to it")
        return length, length
    try:
        file = disk.open(plain, OpenMode.APPEND if offset else OpenMode.CONTINUE)
    except FileNotFoundError:
        raise _gap(offset, 0) from None
    try:
        length = disk.status(file).size
        if offset > length:
            raise _gap(offset, length)
        fresh = data[length - offset :]
        if fresh and length + len(fresh) > limit:
            raise TooLong(f"the log would have {length + len(fresh)} bytes, but {limit} are allowed")
        try:
            if fresh:
                disk.append(file, fresh)
        except OSError:
            disk.truncate(file, length)
            raise
        return length, length + len(fresh)
    finally:
        disk.close(file)


def _gap(offset: int, length: int) -> BadOffset:
    return BadOffset(f"the log has {length} bytes, so nothing can be put at byte {offset}: go on from there", length)


def _compress(disk: Disk, plain: Path, packed: Path) -> None:
    """Compress durably, then remove the plain file. Does nothing when that has been done."""
    if not exists(disk, packed):
        fresh = packed.with_name(f"{packed.name}{_HALF}")
        try:
            with opened(disk, fresh, OpenMode.EMPTY) as file:
                _write_frames(disk, plain, file)
                disk.sync(file)
                disk.rename(fresh, packed)
        except BaseException:
            remove(disk, fresh)
            raise
    _remove_plain(disk, plain)


def _remove_plain(disk: Disk, plain: Path) -> None:
    """Remove what is there compressed too, once the name of that is durable: whoever gave it may have been killed."""
    disk.sync_directory(plain.parent)
    remove(disk, plain)


def _write_frames(disk: Disk, plain: Path, packed: int) -> None:
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    table = []
    # An Attempt that never said anything has no file: its log is empty, and finished.
    with suppress(FileNotFoundError), opened(disk, plain, OpenMode.READ) as log:
        position = 0
        while piece := disk.pread(log, FRAME, position):
            frame = compressor.compress(piece)
            disk.append(packed, frame)
            table.append(_ENTRY.pack(len(frame), len(piece)))
            position += len(piece)
    foot = b"".join(table) + _FOOT.pack(len(table), 0, _SEEKABLE)
    disk.append(packed, _HEAD.pack(_SKIPPABLE, len(foot)) + foot)


def _unfinished(disk: Disk, directory: Path) -> list[Key]:
    found = (_GROWING.fullmatch(name) for name in disk.names(directory))
    return sorted((int(match[1]), int(match[2])) for match in found if match)


def _sweep(disk: Disk, directory: Path) -> None:
    make_directories(disk, directory)
    names = set(disk.names(directory))
    for name in sorted(names):
        if name.endswith(f".log.zst{_HALF}"):
            remove(disk, directory / name)
        elif name.endswith(".log") and f"{name}.zst" in names:
            _remove_plain(disk, directory / name)
