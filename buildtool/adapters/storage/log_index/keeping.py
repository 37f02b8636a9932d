"""The indexes of logs as they grow, in the process that writes them, and as they are read, in any."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger

from buildtool.adapters.storage.filesystem import Disk, OpenMode, opened
from buildtool.adapters.storage.log_index.file import KeptIndex, index_of, load
from buildtool.concurrency.backpressure import PIECE
from buildtool.model.logs.index import LogIndex
from buildtool.model.logs.marks import LogMark

AT_ONCE = 256 * 1024 * 1024
"""Bytes of a log without an index that are read for one question; what lies behind them is not in the answer."""

CACHED = 16
"""Finished logs whose indexes are kept in memory."""

_log = Logger()


class StoredLog(Protocol):
    """An open log."""

    @property
    def finished(self) -> bool:
        """Whether it is complete."""

    @property
    def length(self) -> int:
        """Its bytes by now."""

    def read(self, start: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``start`` on."""


@define(eq=False)
class LogIndexes:
    """All indexes of a directory of logs. Everything here runs in threads, for one log in one at a time.

    ``now`` is the wall time. An index that cannot be written costs no log: it is made anew from the log when wanted.
    """

    disk: Disk
    now: Callable[[], float]
    _growing: dict[Path, KeptIndex] = field(factory=dict)
    _finished: OrderedDict[Path, LogIndex] = field(factory=OrderedDict)

    def appended(self, plain: Path, before: int, data: bytes, marks: Sequence[LogMark]) -> None:
        """Record what was appended to a log that had ``before`` bytes, and marks of it."""
        try:
            with opened(self.disk, plain, OpenMode.READ) as file:
                self._appended(plain, before, data, marks, lambda start, size: self.disk.pread(file, size, start))
        except FileNotFoundError:
            self._growing.pop(plain, None)  # it is compressed by now, and says no more
        except OSError as error:
            self._growing.pop(plain, None)
            _log.warn("the index of {name} is not kept: {why}", name=plain.name, why=error.strerror or str(error))

    def _appended(
        self, plain: Path, before: int, data: bytes, marks: Sequence[LogMark], read: Callable[[int, int], bytes]
    ) -> None:
        kept = self._growing.get(plain)
        if kept is None or kept.index.length != before:
            kept = load(self.disk, index_of(plain), before, read, finished=False)
            _catch_up(kept, before, read)
            self._growing[plain] = kept
        kept.grow(data)
        if data:
            kept.arrived(self.now())
        kept.mark(marks, read)
        kept.write(self.disk, index_of(plain))

    def complete(self, plain: Path) -> None:
        """Record that a log grows no more, before it is compressed."""
        kept = self._growing.pop(plain, None)
        try:
            with suppress(FileNotFoundError), opened(self.disk, plain, OpenMode.READ) as file:
                length = self.disk.status(file).size

                def read(start: int, size: int) -> bytes:
                    return self.disk.pread(file, size, start)

                if kept is None or kept.index.length != length:
                    kept = load(self.disk, index_of(plain), length, read, finished=False)
                    _catch_up(kept, length, read)
                kept.close()
                kept.write(self.disk, index_of(plain))
        except OSError as error:
            _log.warn("the index of {name} is not kept: {why}", name=plain.name, why=error.strerror or str(error))

    def of(self, plain: Path, log: StoredLog) -> LogIndex:
        """Return the index of a log that is open, of its first AT_ONCE bytes if there is no file of it.

        Raises OSError, Damaged.
        """
        if (found := self._finished.get(plain)) is not None:
            self._finished.move_to_end(plain)
            return found
        kept = load(self.disk, index_of(plain), log.length, log.read, finished=log.finished)
        _catch_up(kept, min(log.length, kept.index.length + AT_ONCE), log.read)
        if log.finished:
            if kept.index.length == log.length:
                kept.close()
            self._finished[plain] = kept.index
            while len(self._finished) > CACHED:
                self._finished.popitem(last=False)
        return kept.index


def _catch_up(kept: KeptIndex, length: int, read: Callable[[int, int], bytes]) -> None:
    while kept.index.length < length:
        data = read(kept.index.length, min(PIECE, length - kept.index.length))
        if not data:
            return  # it was cut off meanwhile
        kept.grow(data)
