"""Lines and words in a log of any length, in bounded memory and time. Everything here runs in threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from attrs import define, field

from buildtool.adapters.storage.log_index.keeping import StoredLog
from buildtool.concurrency.backpressure import PIECE
from buildtool.model.logs.error_lines import CONTROLS
from buildtool.model.logs.index import CHUNK, FOUND_LIMIT, FoundInLog, LogIndex, line_start
from buildtool.ports.pages import LINE_LIMIT

LINES_BYTES = 4 * 1024 * 1024
"""Bytes of a log that are read for some of its lines."""

SECONDS = 2.0
"""Seconds that one search may take."""

CARRIED = 64 * 1024
"""Bytes of a line that goes on in the next piece; of a longer one its end alone is looked at with what follows."""


def line_offset(log: StoredLog, index: LogIndex, line: int) -> int:
    """Return the byte at which a line (from 1 on) begins; the end of what is indexed where there is no such line."""
    if line > index.lines:
        return index.length
    chunk = index.chunk_of(line)
    data = log.read(chunk * CHUNK, min(CHUNK, index.length - chunk * CHUNK))
    return chunk * CHUNK + line_start(data, line - 1 - index.before[chunk])


def read_lines(log: StoredLog, index: LogIndex, first: int, count: int) -> tuple[bytes, ...]:
    """Return lines from ``first`` (from 1 on) on, without their ends, each of at most LINE_LIMIT bytes."""
    found: list[bytes] = []
    at, left = line_offset(log, index, first), LINES_BYTES
    data = b""
    while len(found) < min(count, index.lines + 1 - first) and left > 0:
        end = data.find(b"\n")
        if end < 0 and at + len(data) < index.length and len(data) < CHUNK:
            size = min(CHUNK, index.length - at - len(data))
            data += log.read(at + len(data), size)
            left -= size
            continue
        found.append(data[:LINE_LIMIT] if end < 0 else data[: min(end, LINE_LIMIT)])
        if end >= 0:
            at, data = at + end + 1, data[end + 1 :]
        else:  # so long a line is not read, but skipped
            at, data = line_offset(log, index, first + len(found)), b""
            left -= CHUNK
    return tuple(found)


@define
class LogSearch:
    """A search for a text in a log; ``stop`` says whether its answer is not wanted any more.

    Control sequences that colour a terminal are no part of lines here. With ``fold``, ASCII letters in capitals and
    small ones are the same.
    """

    text: bytes
    fold: bool
    stop: Callable[[], bool]
    _lines: list[int] = field(factory=list)
    _count: int = 0
    _seen: int = 0
    """Line ends before what is looked at."""
    _last: int = 0

    def run(self, log: StoredLog) -> FoundInLog:
        """Return the lines that have the text: the first FOUND_LIMIT, and the count of all."""
        wanted = self.text.lower() if self.fold else self.text
        until, at, rest, length = time.monotonic() + SECONDS, 0, b"", log.length
        while at < length and wanted:
            if self.stop() or time.monotonic() > until:
                return FoundInLog(tuple(self._lines), self._count, max(self._seen, 1), complete=False)
            data = log.read(at, PIECE)
            if not data:
                break
            at += len(data)
            rest = self._look(rest + data, wanted, last=at >= length)
        return FoundInLog(tuple(self._lines), self._count, self._seen, complete=at >= length)

    def _look(self, data: bytes, wanted: bytes, *, last: bool) -> bytes:
        """Look for a text in ``data``; return what of it is looked at again with what follows."""
        end = len(data) if last else data.rfind(b"\n") + 1
        if not last and len(data) - end > CARRIED:
            end = len(data) - len(wanted) + 1
        whole = data[:end]
        for line in self._matches(whole, wanted):
            if line != self._last:
                self._last = line
                self._count += 1
                if len(self._lines) < FOUND_LIMIT:
                    self._lines.append(line)
        self._seen += whole.count(b"\n")
        return data[end:]

    def _matches(self, data: bytes, wanted: bytes) -> Iterator[int]:
        text = CONTROLS.sub(b"", data) if b"\x1b" in data else data
        if self.fold:
            text = text.lower()
        line, counted, found = self._seen + 1, 0, text.find(wanted)
        while found >= 0:
            line += text.count(b"\n", counted, found)
            counted = found
            yield line
            end = text.find(b"\n", found + len(wanted))
            if end < 0:
                return
            found = text.find(wanted, end + 1)
