"""The index of a log: kept while it grows, the same whatever pieces it came in, and in memory that is bounded.

Of each CHUNK bytes it has how many line ends lie before them, so that any line is found by reading one chunk. It has
the first KEPT errors and warnings (by the rule of ``buildtool/model/logs/error_lines.py``) and the count of all, the
marks of the build server, and when which bytes came.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from attrs import define, field, frozen

from buildtool.model.logs.error_lines import JUDGED, judged_in
from buildtool.model.logs.marks import MARKS_LIMIT, LogMark, MarkKind

CHUNK = 64 * 1024
"""Bytes of a log that have one count of line ends."""

KEPT = 2_000
"""Errors whose place is kept, and as many warnings."""

STEP = 1.0
"""Seconds that lie between two recorded times, at least: twice as many after each STEPS of them."""

STEPS = 4_096

_DOUBLED_AT_MOST = 40


@frozen
class FoundLine:
    """A line, from 1 on, and the byte at which it begins."""

    line: int
    offset: int


@frozen
class ArrivalTime:
    """The wall time in seconds at which the byte at ``offset`` had come."""

    offset: int
    at: float


@frozen
class Phase:
    """A phase of a build in its log: the bytes from ``start`` on, up to ``end`` or, while that is None, to the last.

    ``began`` and ``ended`` are seconds since the Attempt began; ``line`` is where it starts, from 1 on.
    """

    name: str
    start: int
    line: int
    began: float
    end: int | None = None
    ended: float | None = None
    how: str = ""
    failed: bool = False


@frozen
class LogCut:
    """A place of a log where ``size`` bytes were left out."""

    offset: int
    line: int
    size: int


FOUND_LIMIT = 1_000
"""Most lines that a search tells."""


@frozen
class FoundInLog:
    """The lines (from 1 on) of a log that have a text: the first FOUND_LIMIT, and the ``count`` of all that were seen.

    ``upto`` is the last line that was looked at, ``complete`` whether that is the last one there is.
    """

    lines: tuple[int, ...]
    count: int
    upto: int
    complete: bool


@define
class FoundLines:
    """The first KEPT lines of one kind, and how many there are in all."""

    lines: list[FoundLine] = field(factory=list)
    count: int = 0

    def add(self, line: int, offset: int) -> None:
        """Count one more."""
        self.count += 1
        if len(self.lines) < KEPT:
            self.lines.append(FoundLine(line, offset))


@define
class LogIndex:
    """The index of the first ``length`` bytes of a log. ``before`` has the number of line ends before each chunk.

    ``line_ends`` are those in all of it, and ``start`` is where the line begins that has no end yet.
    """

    length: int = 0
    line_ends: int = 0
    start: int = 0
    before: list[int] = field(factory=lambda: [0])
    errors: FoundLines = field(factory=FoundLines)
    warnings: FoundLines = field(factory=FoundLines)
    times: list[ArrivalTime] = field(factory=list)
    marks: list[LogMark] = field(factory=list)
    mark_lines: list[int] = field(factory=list)
    _open: bytes = b""
    """The first bytes of the line that has no end yet."""

    @property
    def lines(self) -> int:
        """The number of lines; what follows the last line end is one if it is not empty."""
        return self.line_ends + (self.start < self.length)

    def grow(self, data: bytes) -> None:
        """Add the bytes that follow."""
        if data:
            self._judge(data)
            self._count(data)

    def arrived(self, at: float) -> ArrivalTime | None:
        """Record when the bytes so far had come (wall time); return what is new of it, if anything is."""
        last = self.times[-1] if self.times else None
        step = STEP * 2.0 ** min(len(self.times) // STEPS, _DOUBLED_AT_MOST)
        # A clock that was set back is recorded too, once.
        if last is not None and (last.offset >= self.length or 0 <= at - last.at < step):
            return None
        self.times.append(ArrivalTime(self.length, at))
        return self.times[-1]

    def mark(self, mark: LogMark, line: int) -> bool:
        """Add a mark at a line, unless there is one with its number or a later one; return whether it was added."""
        known = self.marks[-1].number if self.marks else -1
        lower = self.marks[-1].offset if self.marks else 0
        if mark.number <= known or len(self.marks) >= MARKS_LIMIT or not lower <= mark.offset <= self.length:
            return False
        self.marks.append(mark)
        self.mark_lines.append(line)
        return True

    def chunk_of(self, line: int) -> int:
        """Return the chunk in which a line (from 1 on) begins, or has the line end before it."""
        return max(bisect_left(self.before, line - 1) - 1, 0)

    def phases(self) -> tuple[Phase, ...]:
        """Return the phases, in order."""
        found: list[Phase] = []
        open_ = False
        for mark, line in zip(self.marks, self.mark_lines, strict=True):
            if mark.kind is MarkKind.CUT:
                continue
            if open_:
                last, failed = found[-1], mark.kind is MarkKind.FAILED
                how = "" if mark.kind is MarkKind.BEGIN else mark.words
                found[-1] = Phase(last.name, last.start, last.line, last.began, mark.offset, mark.seconds, how, failed)
            open_ = mark.kind is MarkKind.BEGIN
            if open_:
                found.append(Phase(mark.words, mark.offset, line, mark.seconds))
        return tuple(found)

    def cuts(self) -> tuple[LogCut, ...]:
        """Return what was left out."""
        return tuple(
            LogCut(mark.offset, line, int(mark.words))
            for mark, line in zip(self.marks, self.mark_lines, strict=True)
            if mark.kind is MarkKind.CUT and mark.words.isascii() and mark.words.isdigit()
        )

    def close(self) -> None:
        """Record that nothing is added any more: the last line counts even if it has no end. Once for each log."""
        if self.start < self.length:
            self._judge_line(self._open)

    def resume(self, opened: bytes) -> None:
        """Resume after what was read from a file, with the bytes from ``start`` on of the line that has no end yet."""
        self._open = opened[:JUDGED]

    def _judge(self, data: bytes) -> None:
        end = data.find(b"\n")
        if end < 0:
            self._open += data[: JUDGED - len(self._open)]
            return
        self._judge_line(self._open + data[: min(end, JUDGED)])
        first, last = end + 1, data.rfind(b"\n") + 1
        whole = data[first:last]
        line, seen = self.line_ends + 2, 0
        for it in judged_in(whole):
            line += whole.count(b"\n", seen, it.start)
            seen = it.start
            (self.errors if it.error else self.warnings).add(line, self.length + first + it.start)
        self._open = data[last : last + JUDGED]
        self.start = self.length + last

    def _judge_line(self, line: bytes) -> None:
        for it in judged_in(line[:JUDGED]):
            (self.errors if it.error else self.warnings).add(self.line_ends + 1, self.start)

    def _count(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = min(CHUNK - self.length % CHUNK, len(data) - at)
            self.line_ends += data.count(b"\n", at, at + size)
            self.length += size
            at += size
            if self.length % CHUNK == 0:
                self.before.append(self.line_ends)


def line_start(chunk: bytes, ends: int) -> int:
    """Return where the line begins that follows the ``ends``-th line end (from 1 on) of a chunk."""
    return len(chunk) - len(chunk.split(b"\n", ends)[-1]) if ends else 0


def phase_that_failed(phases: Sequence[Phase]) -> Phase | None:
    """Return the phase that failed, or None where none did."""
    return next((phase for phase in reversed(phases) if phase.failed), None)
