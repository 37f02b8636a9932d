"""What ended and what was open along the time, as bars and a line: pure, from counts by the hour.

``now`` is wall time in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import frozen

from buildtool.ports.pages import HourCount

from . import words

HOUR = 3_600.0

WIDTH, HEIGHT = 720.0, 96.0
"""The size of a chart in its own units, which a browser stretches."""


@frozen
class ChartSpan:
    """A time that a chart shows up to now: so many bars of so many hours each; ``name`` is in its URL."""

    name: str
    text: str
    bars: int
    hours: int

    def first(self, now: float) -> int:
        """Return the number of its first hour; ``now`` is wall time in seconds."""
        return int(now // HOUR) // self.hours * self.hours - (self.bars - 1) * self.hours


SPANS = {
    one.name: one
    for one in (
        ChartSpan("day", "24 hours", 24, 1),
        ChartSpan("week", "7 days", 28, 6),
        ChartSpan("quarter", "90 days", 90, 24),
    )
}
"""The times that can be chosen."""


@frozen
class ChartBar:
    """A bar of what ended in one stretch of time: heights and places of its two parts, and in words what it shows."""

    x: float
    width: float
    good_y: float
    good: float
    bad_y: float
    bad: float
    title: str


@frozen
class Chart:
    """A chart of bars and a line; ``label`` says in words what they show. ``hits`` and ``saved`` are told beside it."""

    span: ChartSpan
    bars: tuple[ChartBar, ...]
    line: str
    label: str
    most: str
    hits: str
    saved: str


@frozen
class _Stretch:
    good: int
    bad: int
    asked: int
    gone: int


def chart(counts: Iterable[HourCount], span: ChartSpan, open_now: int, now: float) -> Chart:
    """Return the chart of a time up to ``now``, in seconds; ``open_now`` builds run or wait.

    A build is open from when it was queued to its end: how many were is found backwards from how many are.
    """
    first = span.first(now)
    kinds: list[Counter[str]] = [Counter() for _ in range(span.bars)]
    saved = 0.0
    for one in counts:
        at = (one.hour - first) // span.hours
        if 0 <= at < span.bars:
            kinds[at][one.kind] += one.times
            saved += one.seconds if one.kind == "request-hit" else 0.0
    stretches = [_stretch(one) for one in kinds]
    opened = [open_now]
    for stretch in reversed(stretches):
        opened.append(max(0, opened[-1] + stretch.gone - stretch.asked))
    opened.reverse()  # at the beginning of each stretch, and now
    ended = [one.good + one.bad for one in stretches]
    most = max(1, *ended, *opened)
    wide = WIDTH / span.bars
    scale = HEIGHT / most
    bars = tuple(
        ChartBar(
            round(at * wide, 1), round(wide * 0.8, 1),
            round(HEIGHT - one.good * scale, 1), round(one.good * scale, 1),
            round(HEIGHT - (one.good + one.bad) * scale, 1), round(one.bad * scale, 1),
            f"{_when(first + at * span.hours, now)}: {one.good:,} succeeded, {one.bad:,} did not, "
            f"{opened[at + 1]:,} open at the end",
        )
        for at, one in enumerate(stretches)
    )  # fmt: skip
    line = " ".join(f"{at * wide:.1f},{HEIGHT - count * scale:.1f}" for at, count in enumerate(opened))
    good, bad = sum(one.good for one in stretches), sum(one.bad for one in stretches)
    label = (
        f"Builds that ended in the last {span.text}: {good:,} succeeded, {bad:,} did not; "
        f"at most {max(opened):,} were open at once."
    )
    asked = sum((one for one in kinds), Counter())
    return Chart(span, bars, line, label, f"{most:,}", _hits(asked), words.duration(saved) if saved else "")


def _stretch(kinds: Counter[str]) -> _Stretch:
    good = kinds["build-succeeded"]
    bad = kinds["build-failed"] + kinds["build-unbuildable"]
    gone = good + bad + kinds["build-cancelled"] + kinds["build-expired"]
    return _Stretch(good, bad, kinds["build-queued"], gone)


def _hits(kinds: Counter[str]) -> str:
    """Return which part of the requests was answered at once; nothing where there was none."""
    asked = sum(kinds[f"request-{answer}"] for answer in _ANSWERS)
    return f"{100 * kinds['request-hit'] / asked:.0f} %" if asked else ""


_ANSWERS = ("hit", "dispatched", "joined", "queued", "known-failure")


def _when(hour: int, now: float) -> str:
    return words.age(hour * HOUR, now)
