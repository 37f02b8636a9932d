"""The file ``<build>-<epoch>.log.idx`` beside a log: records that are only ever added, each with a checksum.

A record is one line: the CRC-32 of what follows, in eight hexadecimal digits, a space, and a JSON list whose first item
says what it is:

- "v": the version of the format;
- "c": the bytes up to the end of a chunk: their number, their line ends, where the open line begins, errors and
  warnings since the record before as lines and offsets, and how many there are in all;
- "f": the same of a log that is complete;
- "t": a byte and the wall time when it had come;
- "m": a mark of the build server.

A log is indexed again from the last record that is whole: all but times and marks can be had from its bytes.

Tested by tests/adapters/storage/log_index/test_keeping.py.
"""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from buildtool.adapters.storage.filesystem import Disk, OpenMode, opened
from buildtool.model.logs.error_lines import JUDGED
from buildtool.model.logs.index import CHUNK, KEPT, ArrivalTime, FoundLine, LogIndex
from buildtool.model.logs.marks import LogMark, MarkKind
from buildtool.protocol.json_text import written

INDEX_SUFFIX = ".idx"
"""What the name of an index has behind that of its log."""

VERSION = 1

_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes of an index that are read: one of a log of 8 GiB has less."""

_CRC = 9

ReadLog = Callable[[int, int], bytes]
"""Reads at most so many bytes of a log from a byte on."""


@define
class KeptIndex:
    """An index and its file, of which ``kept`` bytes hold. ``closed`` when the log is complete."""

    index: LogIndex = field(factory=LogIndex)
    kept: int = 0
    closed: bool = False
    _errors: int = 0
    _warnings: int = 0
    _fresh: list[bytes] = field(factory=list)

    def grow(self, data: bytes) -> None:
        """Add the bytes that follow, with a record for each chunk that they complete."""
        at = 0
        while at < len(data):
            size = min(CHUNK - self.index.length % CHUNK, len(data) - at)
            self.index.grow(data[at : at + size])
            at += size
            if self.index.length % CHUNK == 0:
                self._record_bytes("c")

    def arrived(self, at: float) -> None:
        """Record when the bytes so far had come (wall time, in seconds)."""
        time = self.index.arrived(at)
        if time is not None:
            self._add(["t", time.offset, round(time.at, 3)])

    def mark(self, marks: Sequence[LogMark], read: ReadLog) -> None:
        """Record marks that are new, whose lines are counted in what is there."""
        for mark in marks:
            if mark.offset <= self.index.length and self.index.mark(mark, line := self._line_at(mark.offset, read)):
                self._add(["m", mark.number, mark.offset, mark.kind.value, round(mark.seconds, 3), mark.words, line])

    def close(self) -> None:
        """Record the rest of a log that is complete."""
        if not self.closed:
            self.closed = True
            self.index.close()
            self._record_bytes("f")

    def write(self, disk: Disk, path: Path) -> None:
        """Write what is new to the file, which is not synced: what a loss of power tears off is indexed again.

        Raises OSError; then the file has to be loaded before it is written again.
        """
        if not self._fresh:
            return
        fresh = b"".join(self._fresh)
        with opened(disk, path, OpenMode.CONTINUE) as file:
            size = disk.status(file).size
            if size < self.kept:
                raise OSError(errno.ESTALE, "it was cut off meanwhile", str(path))
            if size > self.kept:
                disk.truncate(file, self.kept)
            if not self.kept:
                fresh = _record(["v", VERSION]) + fresh
            disk.append(file, fresh)
        self.kept += len(fresh)
        self._fresh.clear()

    def resume(self, read: ReadLog) -> None:
        """Resume after what was loaded."""
        index = self.index
        self._errors, self._warnings = len(index.errors.lines), len(index.warnings.lines)
        index.resume(read(index.start, min(JUDGED, index.length - index.start)))

    def _line_at(self, offset: int, read: ReadLog) -> int:
        chunk = offset // CHUNK
        return self.index.before[chunk] + read(chunk * CHUNK, offset % CHUNK).count(b"\n") + 1

    def _record_bytes(self, kind: str) -> None:
        index, found = self.index, []
        for lines, before in ((index.errors, self._errors), (index.warnings, self._warnings)):
            found.append([[it.line, it.offset] for it in lines.lines[before:]])
        self._errors, self._warnings = len(index.errors.lines), len(index.warnings.lines)
        counts = [index.errors.count, index.warnings.count]
        self._add([kind, index.length, index.line_ends, index.start, *found, *counts])

    def _add(self, record: list[Any]) -> None:
        self._fresh.append(_record(record))


def index_of(log: Path) -> Path:
    """Return where the index of a log is, which grows or is compressed."""
    return log.with_name(f"{log.name.removesuffix('.zst')}{INDEX_SUFFIX}")


def load(disk: Disk, path: Path, length: int, read: ReadLog, *, finished: bool) -> KeptIndex:
    """Return what the file of an index says of the first ``length`` bytes of a log; an empty index if it says nothing.

    What is torn, damaged, of another version, or about bytes that the log has not is not believed. Raises OSError.
    """
    loaded = KeptIndex()
    try:
        with opened(disk, path, OpenMode.READ) as file:
            text = disk.pread(file, min(disk.status(file).size, _SIZE_LIMIT), 0)
    except FileNotFoundError:
        return loaded
    while not loaded.closed and (end := text.find(b"\n", loaded.kept)) >= 0:
        try:
            taken = _take(loaded, _read(text[loaded.kept : end]), length, finished=finished)
        except (ValueError, TypeError):
            break
        if not taken:
            break
        loaded.kept = end + 1
    loaded.resume(read)
    return loaded


def _record(record: list[Any]) -> bytes:
    text = written(record)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(line: bytes) -> list[Any]:
    """Return the record of a line. Raises ValueError."""
    text = line[_CRC:]
    if line[:_CRC] != b"%08x " % zlib.crc32(text):
        raise ValueError("torn")
    record = json.loads(text)
    if not isinstance(record, list):
        raise TypeError("no list")
    return record


def _take(loaded: KeptIndex, record: list[Any], length: int, *, finished: bool) -> bool:
    """Add a record to an index; return whether it is one that can be believed. Raises ValueError, TypeError."""
    index = loaded.index
    kind, *values = record
    if not loaded.kept or kind == "v":
        return bool(not loaded.kept and kind == "v" and values == [VERSION])
    if kind == "f":
        loaded.closed = finished and values[:1] == [length] and _take_bytes(index, values)
        return loaded.closed
    if int(values[0 if kind != "m" else 1]) > length:
        return False
    if kind == "c":
        return values[0] == index.length + CHUNK and _take_bytes(index, values)
    if kind == "t":
        offset, at = values
        index.times.append(ArrivalTime(int(offset), float(at)))
        return True
    number, offset, which, seconds, words, line = values
    mark = LogMark(int(number), int(offset), MarkKind(which), float(seconds), str(words))
    index.mark_lines.append(int(line))
    index.marks.append(mark)
    return True


def _take_bytes(index: LogIndex, values: list[Any]) -> bool:
    upto, line_ends, start, *found, error_count, warning_count = values
    errors, warnings = ([FoundLine(line, offset) for line, offset in lines] for lines in found)
    if upto == index.length + CHUNK:
        index.before.append(line_ends)
    index.length, index.line_ends, index.start = upto, line_ends, start
    for into, lines, count in ((index.errors, errors, error_count), (index.warnings, warnings, warning_count)):
        into.lines.extend(lines[: KEPT - len(into.lines)])
        into.count = count
    return True
