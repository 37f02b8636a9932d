"""What is answered about a log, as JSON: its index, and what was found in it. The same at pages and transfer port.

Tested by tests/web/test_logs.py and tests/adapters/http/test_transfer_site.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from buildtool.errors import DecodeError
from buildtool.model.logs.index import CHUNK, FoundInLog, FoundLine, LogIndex, Phase
from buildtool.model.logs.marks import MARKS_LIMIT
from buildtool.model.text import one_line
from buildtool.protocol.json_text import TextBounds, parsed

_BOUNDS = TextBounds(400_000, 8)

VERSION = 1
"""What ``version`` of an index is: it rises when a field changes its meaning, and not when one is added."""


def index_answer(index: LogIndex, since: int, *, finished: bool, length: int) -> dict[str, Any]:
    """Return the index of a log of ``length`` bytes; of one that was asked for before, with what is new.

    ``since`` is ``next`` of the answer before, or 0. The list ``before`` goes on from its item ``first`` on, errors,
    warnings and times are those at or behind that byte, and all else is whole.
    """
    first = since // CHUNK
    return {
        "version": VERSION,
        "length": length,
        "indexed": index.length,
        "finished": finished,
        "lines": index.lines,
        "chunk": CHUNK,
        "first": first,
        "before": index.before[first:],
        "next": index.start,
        "errors": _lines(index.errors.lines, since),
        "error_count": index.errors.count,
        "warnings": _lines(index.warnings.lines, since),
        "warning_count": index.warnings.count,
        "times": [[time.offset, time.at] for time in index.times if time.offset >= since],
        "phases": [
            {
                "name": phase.name,
                "line": phase.line,
                "start": phase.start,
                "end": phase.end,
                "began": phase.began,
                "ended": phase.ended,
                "how": phase.how,
                "failed": phase.failed,
            }
            for phase in index.phases()
        ],
        "cuts": [{"line": cut.line, "start": cut.offset, "bytes": cut.size} for cut in index.cuts()],
    }


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


def found_answer(found: FoundInLog) -> dict[str, Any]:
    """Return what was found in a log."""
    return {"lines": found.lines, "count": found.count, "complete": found.complete, "upto": found.upto}


def _lines(lines: Iterable[FoundLine], since: int) -> list[list[int]]:
    return [[it.line, it.offset] for it in lines if it.offset >= since]
