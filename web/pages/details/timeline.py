"""The Attempts of a Build along the time since it was asked for.

Pure: times are wall time in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buildtool.model.records import Attempt, Build

from .. import badges, words

_ROW = 38
_TEXT = 13
_BAR = 20
_AXIS = 18
_THIN = 0.4


@frozen
class Stretch:
    """A part of a bar, in per cent of the whole width."""

    x: float
    width: float


@frozen
class Bar:
    """One Attempt on the timeline: heights in pixels; ``waiting`` is the time between the offer and its acceptance."""

    text: str
    tone: str
    text_y: int
    y: int
    waiting: Stretch | None
    building: Stretch


@frozen
class Timeline:
    """The Attempts of a Build along the time since it was asked for. ``label`` says in words what it shows."""

    height: int
    axis_y: int
    label: str
    end: str
    bars: tuple[Bar, ...]


def timeline(build: Build, attempts: Sequence[Attempt], now: float) -> Timeline:
    """Return the bars of ``attempts`` on a scale from the Build's creation to its end, or to now while it is open."""
    start = min([build.created_at, *(it.offered_at for it in attempts)])
    ends = [build.ended_at if build.ended_at is not None else now]
    ends.extend(it.ended_at for it in attempts if it.ended_at is not None)
    whole = max(max(ends) - start, 1e-3)
    bars = tuple(_bar(index, it, start, whole, now) for index, it in enumerate(attempts))
    bottom = len(bars) * _ROW
    said = "; ".join(f"attempt {it.epoch} on {it.server} {badges.attempt(it).text}" for it in attempts)
    end = f"{'ended' if build.ended_at is not None else 'now'} after {words.duration(whole)}"
    return Timeline(bottom + _AXIS, bottom + _TEXT, f"Timeline of the attempts: {said}", end, bars)


def _bar(index: int, attempt: Attempt, start: float, whole: float, now: float) -> Bar:
    top = index * _ROW
    badge = badges.attempt(attempt)
    end = attempt.ended_at if attempt.ended_at is not None else max(now, attempt.offered_at)
    accepted = attempt.accepted_at
    begun = attempt.offered_at if accepted is None else accepted
    waiting = stretch(attempt.offered_at, begun, start, whole, 0.0) if begun > attempt.offered_at else None
    text = f"{attempt.epoch} · {attempt.server} · {badge.text}"
    return Bar(text, badge.tone, top + _TEXT, top + _BAR, waiting, stretch(begun, end, start, whole, _THIN))


def stretch(left: float, right: float, start: float, whole: float, least: float) -> Stretch:
    """Return a stretch inside the bar and at least ``least`` per cent wide, whatever the clocks said."""
    x = min(max((left - start) / whole * 100, 0.0), 100.0 - least)
    width = min(max((right - left) / whole * 100, least), 100.0 - x)
    return Stretch(round(x, 2), round(width, 2))
