"""The log of each Attempt: appended by offset, followed while it grows, compressed at the end, read by range.

``logs/<build>-<epoch>.log`` grows; ``finish`` turns it into ``<build>-<epoch>.log.zst``: Zstandard frames of FRAME
bytes each with a seek table behind them (the "seekable format" of the Zstandard project, which ``zstd -d`` reads like
any other file), so that any range is read without decompressing what lies before it. A log may hold any bytes.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import zstandard
from attrs import frozen
from twisted.internet.defer import Deferred

from buildtool.adapters.files import Key, storage_unavailable, sync_directory, write_all
from buildtool.adapters.flow import PIECE
from buildtool.adapters.keyed import KeyedLocks
from buildtool.errors import BadOffset, BadUpload, Damaged, NotFound, TooLong
from buildtool.ports import Executor

T = TypeVar("T")

FRAME = PIECE
"""Bytes of log in one compressed frame; what is read at once costs one frame."""

READ_LIMIT = 4 * 1024 * 1024
"""Most bytes that one ``read`` returns."""

LEVEL = 3

_GROWING = re.compile(r"([1-9][0-9]{0,17})-([0-9]{1,9})\.log")
_ENTRY = struct.Struct("<II")
_HEAD = struct.Struct("<II")
_FOOT = struct.Struct("<IBI")
_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1


@frozen
class LogState:
    """How many bytes a log has, and whether more can come."""

    length: int
    finished: bool


class LogStore:
    """Implements ``ports.LogFiles`` and what the transfer service and the pages need."""

    def __init__(self, directory: Path, executor: Executor) -> None:
        self._directory = directory / "logs"
        self._executor = executor
        self._locks = KeyedLocks()
        self._watchers: dict[Key, list[Deferred[None]]] = {}

    async def start(self) -> None:
        """Make the directory and clear away what a crash left half done."""
        await self._disk("prepare the log store", partial(_sweep, self._directory))

    async def unfinished(self) -> list[Key]:
        """Return whose logs are not finished: at the start also those that a crash kept from being so."""
        return await self._disk("look at the logs", partial(_unfinished, self._directory))

    async def append(self, build_id: int, epoch: int, offset: int, data: bytes, limit: int) -> int:
        """Write ``data`` at ``offset`` of a log and return its length; what is already there is skipped.

        Sending the same bytes again changes nothing. Survives a crash of this process at once, one of the machine
        from ``finish`` on. Raises BadOffset (a gap; tells the length), TooLong (``limit`` bytes at most), BadUpload
        (finished already) and StorageUnavailable; then nothing of ``data`` is kept.
        """
        key = (build_id, epoch)
        async with self._locks.held(key):
            before, after = await self._disk("keep the log", partial(_append, *self._paths(key), offset, data, limit))
        if before != after:
            self._changed(key)
        return after

    async def finish(self, build_id: int, epoch: int) -> None:
        key = (build_id, epoch)
        async with self._locks.held(key):
            await self._disk("compress a log", partial(_compress, *self._paths(key)))
        self._changed(key)

    async def state(self, build_id: int, epoch: int) -> LogState:
        """Return length and whether the log is finished. Raises NotFound."""
        return await self._disk("read a log", partial(_read, *self._paths((build_id, epoch)), _state_of))

    async def read(self, build_id: int, epoch: int, start: int, size: int) -> bytes:
        """Return at most ``size`` bytes (never over READ_LIMIT) from ``start`` on; b"" at the end.

        Raises NotFound, Damaged.
        """

        def take(log: _Plain | _Compressed) -> bytes:
            return log.read(start, min(size, READ_LIMIT))

        return await self._disk("read a log", partial(_read, *self._paths((build_id, epoch)), take))

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

    async def _disk(self, purpose: str, function: Callable[[], T]) -> T:
        try:
            return await self._executor.run(function)
        except OSError as error:
            raise storage_unavailable(purpose, error) from error


# --- below: run in threads ------------------------------------------------------------------------------


class _Plain:
    """A log that still grows."""

    finished = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.length = os.fstat(descriptor).st_size

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, start)


class _Compressed:
    """A finished log; raises Damaged for what no ``_compress`` has written."""

    finished = True

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        end = os.fstat(descriptor).st_size
        try:
            count, _flags, magic = _FOOT.unpack(os.pread(descriptor, _FOOT.size, max(end - _FOOT.size, 0)))
        except struct.error as error:
            raise _damaged() from error
        start = end - _FOOT.size - count * _ENTRY.size
        if magic != _SEEKABLE or start < 0:
            raise _damaged()
        self._frames = list(_ENTRY.iter_unpack(os.pread(descriptor, count * _ENTRY.size, start)))
        self.length = sum(size for _, size in self._frames)

    def read(self, start: int, size: int) -> bytes:
        stop, position, place = start + size, 0, 0
        found = []
        for packed, length in self._frames:
            if position + length > start and position < stop:
                piece = self._frame(place, packed, length)
                found.append(piece[max(start - position, 0) : stop - position])
            position += length
            place += packed
        return b"".join(found)

    def _frame(self, place: int, packed: int, length: int) -> bytes:
        if max(packed, length) > 2 * FRAME:
            raise _damaged()
        frame = os.pread(self._descriptor, packed, place)
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


def _read(plain: Path, packed: Path, use: Callable[[_Plain | _Compressed], T]) -> T:
    """Open a log in whichever form it has. The plain one is looked for again last: ``finish`` may come between."""
    kinds: tuple[tuple[Path, type[_Plain | _Compressed]], ...]
    kinds = ((packed, _Compressed), (plain, _Plain), (packed, _Compressed))
    for path, kind in kinds:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            return use(kind(descriptor))
        finally:
            os.close(descriptor)
    raise NotFound("there is no such log: the build may not have started")


def _append(plain: Path, packed: Path, offset: int, data: bytes, limit: int) -> tuple[int, int]:
    """Return the length before and after."""
    if packed.exists():
        length = _read(plain, packed, _state_of).length
        if offset + len(data) > length:
            raise BadUpload("the log is finished: nothing can be appended to it")
        return length, length
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(plain, flags | (0 if offset else os.O_CREAT), 0o600)
    except FileNotFoundError:
        raise _gap(offset, 0) from None
    try:
        length = os.fstat(descriptor).st_size
        if offset > length:
            raise _gap(offset, length)
        fresh = data[length - offset :]
        if fresh and length + len(fresh) > limit:
            raise TooLong(f"the log would have {length + len(fresh)} bytes, but {limit} are allowed")
        try:
            write_all(descriptor, fresh)
        except OSError:
            os.ftruncate(descriptor, length)
            raise
        return length, length + len(fresh)
    finally:
        os.close(descriptor)


def _gap(offset: int, length: int) -> BadOffset:
    return BadOffset(f"the log has {length} bytes, so nothing can be put at byte {offset}: go on from there", length)


def _compress(plain: Path, packed: Path) -> None:
    """Compress durably, then remove the plain file. Does nothing when that has been done."""
    if not packed.exists():
        fresh = packed.with_name(f"{packed.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write_frames(plain, descriptor)
            os.fsync(descriptor)
        except BaseException:
            fresh.unlink()
            raise
        finally:
            os.close(descriptor)
        fresh.rename(packed)
        sync_directory(packed.parent)
    plain.unlink(missing_ok=True)


def _write_frames(plain: Path, descriptor: int) -> None:
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    table = []
    try:
        with plain.open("rb") as log:
            while piece := log.read(FRAME):
                frame = compressor.compress(piece)
                write_all(descriptor, frame)
                table.append(_ENTRY.pack(len(frame), len(piece)))
    except FileNotFoundError:
        pass  # an Attempt that never said anything: its log is empty, and finished
    foot = b"".join(table) + _FOOT.pack(len(table), 0, _SEEKABLE)
    write_all(descriptor, _HEAD.pack(_SKIPPABLE, len(foot)) + foot)


def _unfinished(directory: Path) -> list[Key]:
    found = (_GROWING.fullmatch(name) for name in os.listdir(directory))
    return sorted((int(match[1]), int(match[2])) for match in found if match)


def _sweep(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in list(directory.iterdir()):
        half_done = path.name.endswith(".log.zst.new")
        done_twice = path.name.endswith(".log") and path.with_name(f"{path.name}.zst").exists()
        if half_done or done_twice:
            path.unlink()
