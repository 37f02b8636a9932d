"""What is answered about a log: its index, and what was found in it. The same at pages, API and transfer port.

Tested by tests/web/test_logs.py and tests/adapters/http/test_transfer_site.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from buildtool.errors import DecodeError
from buildtool.model.logs.index import CHUNK, FOUND_LIMIT, KEPT, FoundInLog, FoundLine, LogIndex, Phase
from buildtool.model.logs.marks import MARKS_LIMIT
from buildtool.model.text import one_line
from buildtool.protocol.json_text import TextBounds, parsed

_BOUNDS = TextBounds(400_000, 8)

VERSION = 1
"""What ``version`` of an index is: it rises when a field changes its meaning, and not when one is added."""


MANY = 1_000_000
"""The most chunks or times that an index tells of."""


@frozen
class PhaseSummary:
    """A phase of a build in its log: its first line, from 1 on, and the bytes from ``start`` up to ``end``.

    ``began`` and ``ended`` are seconds since the attempt began; null is not yet. ``how`` says how it ended.
    """

    name: str
    line: int
    start: int
    end: int | None
    began: float
    ended: float | None
    how: str
    failed: bool


@frozen
class CutSummary:
    """A place of a log, by line and byte, where so many ``bytes`` were left out."""

    line: int
    start: int
    bytes: int


@frozen
class LogIndexSummary:
    """The index of a log of ``length`` bytes, of which ``indexed`` were looked at.

    ``before`` has the number of line ends before each ``chunk`` bytes, from the one with the number ``first`` on. Lines
    are pairs of a number, from 1 on, and the byte at which it begins; times pairs of a byte and when it had come, in
    seconds since 1970. ``next`` is the ``from`` that asks for what is new.
    """

    version: int
    length: int
    indexed: int
    finished: bool
    lines: int
    chunk: int
    first: int
    before: tuple[int, ...] = field(metadata={"members": MANY})
    next: int
    errors: tuple[tuple[int, int], ...] = field(metadata={"members": KEPT})
    error_count: int
    warnings: tuple[tuple[int, int], ...] = field(metadata={"members": KEPT})
    warning_count: int
    times: tuple[tuple[int, float], ...] = field(metadata={"members": MANY})
    phases: tuple[PhaseSummary, ...] = field(metadata={"members": MARKS_LIMIT})
    cuts: tuple[CutSummary, ...] = field(metadata={"members": MARKS_LIMIT})


@frozen
class LogSearchSummary:
    """The numbers of the first lines that have a text, and the ``count`` of all that were seen.

    ``upto`` is the last line that was looked at, ``complete`` whether that is the last one there is.
    """

    lines: tuple[int, ...] = field(metadata={"members": FOUND_LIMIT})
    count: int
    complete: bool
    upto: int


def index_answer(index: LogIndex, since: int, *, finished: bool, length: int) -> LogIndexSummary:
    """Return the index of a log of ``length`` bytes; of one that was asked for before, with what is new.

    ``since`` is ``next`` of the answer before, or 0. The list ``before`` goes on from its item ``first`` on, errors,
    warnings and times are those at or behind that byte, and all else is whole.
    """
    first = since // CHUNK
    return LogIndexSummary(
        version=VERSION,
        length=length,
        indexed=index.length,
        finished=finished,
        lines=index.lines,
        chunk=CHUNK,
        first=first,
        before=tuple(index.before[first:]),
        next=index.start,
        errors=_lines(index.errors.lines, since),
        error_count=index.errors.count,
        warnings=_lines(index.warnings.lines, since),
        warning_count=index.warnings.count,
        times=tuple((time.offset, float(time.at)) for time in index.times if time.offset >= since),
        phases=tuple(
            PhaseSummary(
                phase.name, phase.line, phase.start, phase.end, float(phase.began),
                None if phase.ended is None else float(phase.ended), phase.how, phase.failed,
            )
            for phase in index.phases()
        ),
        cuts=tuple(CutSummary(cut.line, cut.offset, cut.size) for cut in index.cuts()),
    )  # fmt: skip


def read_phases(text: bytes) -> tuple[Phase, ...]:
    """Return the phases that an index of a log tells of. Raises DecodeError, in one line, for what is no index."""
    found = parsed(text, _BOUNDS)
    phases = found.get("phases") if isinstance(found, dict) else None
    if not isinstance(phases, list) or len(phases) > MARKS_LIMIT:
        raise DecodeError("an index of a log that has no list of phases")
    return tuple(map(_read_phase, phases))


def _read_phase(plain: object) -> Phase:
    said = plain if isinstance(plain, dict) else {}
    name, start, line, end = said.get("name"), said.get("start"), said.get("line"), said.get("end")
    if not (isinstance(name, str) and isinstance(start, int) and isinstance(line, int) and start >= 0):
        raise DecodeError("a phase of a log without a name or a place")
    if end is not None and not (isinstance(end, int) and end >= start):
        raise DecodeError("a phase of a log that ends before it begins")
    how, failed = one_line(str(said.get("how") or "")), said.get("failed") is True
    return Phase(one_line(name), start, line, 0.0, end, how=how, failed=failed)


def index_tag(index: LogIndex, since: int, *, finished: bool) -> str:
    """Return what differs wherever two answers about one log do."""
    return f"{index.length}-{len(index.times)}-{len(index.marks)}-{int(finished)}-{since}"


def found_answer(found: FoundInLog) -> LogSearchSummary:
    """Return what was found in a log."""
    return LogSearchSummary(found.lines, found.count, found.complete, found.upto)


def _lines(lines: Iterable[FoundLine], since: int) -> tuple[tuple[int, int], ...]:
    return tuple((it.line, it.offset) for it in lines if it.offset >= since)
