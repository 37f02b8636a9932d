"""The file in which a build server keeps what its machine did: one line a row, each adding to what stands before it.

What is added is one write at the end; now and then the file is replaced by one with a line for each sum. A line begins
with its CRC-32, so what a kill or a loss of power cut off is seen, left out, and said; nothing before it is lost.

Tested by tests/adapters/storage/history/test_work_book.py.
"""

from __future__ import annotations

import json
import zlib
from functools import partial
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from buildtool.adapters.storage.filesystem import (
    Disk,
    OpenMode,
    RealDisk,
    opened,
    put_whole,
    read_whole,
    remove_half_made,
)
from buildtool.errors import StorageUnavailable
from buildtool.model.guest.history import DoneWork, HistoryKey, WorkHistory, month_of, of_plain, plain
from buildtool.ports.common import Clock, Executor

FILE = "history"
"""The name in a build server's directory."""

ADDED = 500
"""Lines that are added before the file is replaced by one of sums."""

_LONGEST = 64 * 1024 * 1024
"""Bytes that are read: more than rows and additions can be."""


@frozen
class ReadHistory:
    """The rows of a file, how many lines it has, and how many of them were damaged: what was in those is lost."""

    history: WorkHistory
    lines: int = 0
    damaged: int = 0

    def words(self, path: Path) -> str:
        """Return what is said of the damage, "" where there is none."""
        if not self.damaged:
            return ""
        what = "one record was" if self.damaged == 1 else f"{self.damaged} records were"
        return f"{path}: {what} not written whole and left out"


def read_history(path: Path, disk: Disk | None = None) -> ReadHistory:
    """Return what a file says; one that is not there says nothing. Blocks. Raises StorageUnavailable."""
    try:
        data = read_whole(disk or RealDisk(), path, _LONGEST)
    except FileNotFoundError:
        return ReadHistory(WorkHistory())
    except OSError as error:
        raise StorageUnavailable(f"{path}: cannot be read: {error.strerror or error}") from error
    history, damaged = WorkHistory(), 0
    *whole, torn = data.split(b"\n")
    for line in whole:
        try:
            history.add(*_row(line))
        except (ValueError, RecursionError):
            damaged += 1
    return ReadHistory(history, len(whole), damaged + bool(torn))


def _row(line: bytes) -> tuple[HistoryKey, DoneWork]:
    check, _, text = line.partition(b" ")
    if int(check, 16) != zlib.crc32(text):
        raise ValueError("a line was damaged")
    return of_plain(json.loads(text))


def _line(key: HistoryKey, work: DoneWork) -> bytes:
    text = json.dumps(plain(key, work), separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


@define(eq=False)
class WorkBook:
    """The ``ports.WorkRecords`` of a build server for one farm, in a file of its own. Call it in the reactor's thread.

    ``history`` has what was read and all that was added since. Work is added in the order in which it is told.
    """

    path: Path
    farm: str
    clock: Clock
    pool: Executor
    disk: Disk = field(factory=RealDisk)
    history: WorkHistory = field(factory=WorkHistory, init=False)
    _unread: bool = field(default=False, init=False)
    _lines: int = field(default=0, init=False)
    _whole: bool = field(default=False, init=False)
    _waiting: list[bytes] = field(factory=list, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)

    _log = Logger()

    async def open(self) -> None:
        """Read what is there; what is damaged is logged, and gone once the next work is added."""
        try:
            found = await self.pool.run(self._opened)
        except StorageUnavailable as error:
            self._unread = True  # nor is it written: what cannot be read now may be well
            self._log.error("what this machine does is not kept: {why}", why=str(error))
            return
        self.history, self._lines, self._whole = found.history, found.lines, bool(found.damaged)
        if found.damaged:
            self._log.warn("{words}", words=found.words(self.path))

    def _opened(self) -> ReadHistory:
        found = read_history(self.path, self.disk)
        try:
            remove_half_made(self.disk, self.path.parent)
        except OSError as error:
            raise StorageUnavailable(f"{self.path.parent}: cannot be read: {error.strerror or error}") from error
        return found

    def add(self, project: str, work: DoneWork) -> None:
        """Add work that was done for a project now. What the disk refuses is logged, and tried with the next."""
        key = HistoryKey(month_of(self.clock.wall()), self.farm, project)
        self.history.add(key, work)
        if self._unread:
            return
        self._waiting.append(_line(key, work))
        kept = Deferred.fromCoroutine(self._keep())
        kept.addErrback(lambda failure: self._log.failure("a defect while what was done is kept", failure))

    async def settled(self) -> None:
        """Wait until all that was added is in the file."""
        await self._turn.run(lambda: None)

    async def _keep(self) -> None:
        await self._turn.acquire()
        try:
            waiting, self._waiting = self._waiting, []
            if self._whole or self._lines >= len(self.history.rows) + ADDED:
                rows = [_line(*row) for row in sorted(self.history.rows.items())]  # with all that waited
                await self.pool.run(partial(put_whole, self.disk, self.path, b"".join(rows)))
                self._lines, self._whole = len(rows), False
            elif waiting:
                await self.pool.run(partial(self._append, b"".join(waiting)))
                self._lines += len(waiting)
        except OSError as error:
            self._whole = True  # part of a line may be there
            self._log.warn("what this machine did is not kept yet: {why}", why=error.strerror or str(error))
        finally:
            self._turn.release()

    def _append(self, lines: bytes) -> None:
        """Add lines, which outlive the program. A loss of power may cost the last ones: they are not worth a sync."""
        with opened(self.disk, self.path, OpenMode.CONTINUE) as file:
            self.disk.append(file, lines)
