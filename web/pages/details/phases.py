"""The phases of a build, each with how long it took: from the question to the end, without a gap that goes unsaid.

Pure: times are wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve, frozen

from buildtool.model.logs.index import LogIndex
from buildtool.model.records import Attempt, AttemptEnd, Build
from buildtool.model.text import one_line

from ...urls import Urls
from .. import words
from .timeline import Stretch, stretch

SHOWN = 40
"""Phases of one log that are shown; the others are one row."""

_NAMES = {"sources": "Sources", "artifact": "Artifact packed"}
"""What the build server's own phases are called; the others are commands of the recipe."""

_NAME_LIMIT = 80
_THIN = 0.4


@frozen
class PhaseRow:
    """A phase. What goes on has ``since``, the wall time from which it counts on; ``code`` is the name of a command."""

    name: str
    took: str
    bar: Stretch
    tone: str
    since: str = ""
    note: str = ""
    url: str = ""
    code: bool = False


@frozen
class _Span:
    """A phase from a time to another, or to None while it goes on."""

    name: str
    begin: float
    end: float | None
    tone: str = "busy"
    note: str = ""
    line: int = 0
    code: bool = False


def phases(
    build: Build, attempts: Sequence[Attempt], epoch: int | None, index: LogIndex | None, urls: Urls, now: float
) -> tuple[PhaseRow, ...]:
    """Return the phases of a Build, those of the Attempt ``epoch`` by the ``index`` of its log, if that may be seen.

    What the machines' clocks and the metaserver's disagree about is cut at what the metaserver saw.
    """
    spans = list(_spans(build, attempts, epoch, index))
    end = max([now if it.end is None else it.end for it in spans], default=now)
    whole = max(end - build.created_at, 1e-3)
    return tuple(_row(it, build, epoch, whole, urls, now) for it in spans)


def _row(it: _Span, build: Build, epoch: int | None, whole: float, urls: Urls, now: float) -> PhaseRow:
    end = max(now, it.begin) if it.end is None else it.end
    return PhaseRow(
        it.name,
        words.duration(end - it.begin),
        stretch(it.begin, end, build.created_at, whole, _THIN),
        it.tone,
        f"{it.begin:.3f}" if it.end is None else "",
        it.note,
        f"{urls.log_page(build.id, epoch, it.line)}#L{it.line}" if it.line else "",
        it.code,
    )


def _spans(build: Build, attempts: Sequence[Attempt], epoch: int | None, index: LogIndex | None) -> Iterator[_Span]:
    chosen = next((it for it in attempts if it.epoch == epoch), None)
    asked, over = build.created_at, build.ended_at
    if chosen is None:
        yield _ordered(_Span("Waits" if over is None else "Waited", asked, over, "wait"))
        return
    first = min(it.offered_at for it in attempts)
    yield _ordered(_Span("Waited", asked, first, "wait"))
    if chosen.epoch > 1:
        note = words.count(chosen.epoch - 1, "attempt") + " before this one"
        yield _ordered(_Span("Earlier attempts", first, chosen.offered_at, "quiet", note))
    taken = chosen.accepted_at if chosen.accepted_at is not None else chosen.ended_at
    yield _ordered(_Span("Handed over", chosen.offered_at, taken, "wait", f"to {chosen.server}"))
    if chosen.accepted_at is not None:
        yield from _worked(chosen, chosen.accepted_at, index)
    if chosen.ended_at is not None and over is None:
        yield _Span("Waits again", chosen.ended_at, None, "wait")


def _worked(attempt: Attempt, begun: float, index: LogIndex | None) -> Iterator[_Span]:
    """Yield what a build server did, one after the other, from its acceptance to its end."""
    over = attempt.ended_at
    logged = list(_logged(index, begun)) if index is not None else []
    if not logged:
        yield _ordered(_Span("Built" if over is not None else "Builds", begun, over))
        return
    at = begun
    for it in logged[:SHOWN]:
        end = it.end if it.end is not None else over
        cut = _ordered(_clipped(evolve(it, begin=max(at, it.begin), end=end), over))
        at = cut.begin if cut.end is None else cut.end
        yield cut
    left = logged[SHOWN:]
    if left:
        end = left[-1].end if left[-1].end is not None else over
        yield _ordered(_clipped(_Span(f"{len(left):,} more commands", at, end), over))
        at = at if end is None else max(at, end)
    if logged[-1].end is None:
        return
    if over is None:
        yield _Span("Uploads", at, None)
    elif attempt.end is AttemptEnd.SUCCEEDED:
        yield _ordered(_Span("Upload", at, over, "ok"))


def _logged(index: LogIndex, begun: float) -> Iterable[_Span]:
    """Yield the phases that a log has marks of."""
    for phase in index.phases():
        own = _NAMES.get(phase.name)
        tone = "bad" if phase.failed else "busy"
        end = None if phase.ended is None else begun + phase.ended
        name = own or one_line(phase.name, _NAME_LIMIT)
        note = words.without_addresses(one_line(phase.how, _NAME_LIMIT)) if phase.failed else ""
        yield _Span(name, begun + phase.began, end, tone, note, phase.line, code=own is None)


def _clipped(it: _Span, over: float | None) -> _Span:
    """Return a phase that ends, and begins, no later than its Attempt."""
    if over is None:
        return it
    return evolve(it, begin=min(it.begin, over), end=over if it.end is None else min(it.end, over))


def _ordered(it: _Span) -> _Span:
    """Return a phase that does not end before it begins, whatever clocks said."""
    return it if it.end is None or it.end >= it.begin else evolve(it, end=it.begin)
