"""What several pages show: moments, and texts from outside that are cut."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from buildtool.model.records import Build, BuildState

from . import words
from .views import Moment

ITEMS_SHOWN = 20
"""Of what a build server announces, so many platforms, projects and properties are shown; the others are counted."""

TEXT_SHOWN = 500
"""Most characters of a text of somebody else's that is one of many on a page."""


def moment(when: float, now: float) -> Moment:
    """Return a point in time for people and machines; both are wall time in seconds."""
    return Moment(*dated(when), words.age(when, now))


def dated(when: float) -> tuple[str, str]:
    """Return a point in time for machines, and in UTC to the second."""
    day, second = divmod(words.whole_second(when), 86_400)
    minute, second = divmod(second, 60)
    date, clock = _date(day), f"{_MINUTES[minute]}{_TWO_DIGITS[second]}"
    return f"{date}T{clock}Z", f"{date} {clock} UTC"


_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))
_MINUTES = tuple(f"{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60))


@lru_cache(4_000)
def _date(day: int) -> str:
    """Return a day as a date; it is numbered since 1970."""
    return words.instant(day * 86_400.0).strftime("%Y-%m-%d")


def took(build: Build, now: float) -> str:
    """Return how long it built, or builds already; nothing for what never began or waits again.

    ``now`` is wall time in seconds.
    """
    if build.started_at is None or build.state is BuildState.QUEUED:
        return ""
    return words.duration((now if build.ended_at is None else build.ended_at) - build.started_at)


def sentence(text: str) -> str:
    """Return a text with a full stop, if nothing else ends it."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def cut(text: str) -> str:
    """Return a text from outside, cut to be one of many on a page."""
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"


def more(count: int) -> str:
    """Return how many of a list are not shown; nothing when all are."""
    return f"and {count - ITEMS_SHOWN:,} more" if count > ITEMS_SHOWN else ""


def listed(names: Sequence[str]) -> str:
    """Return names from outside in one line."""
    others = [more(len(names))] if len(names) > ITEMS_SHOWN else []
    return ", ".join([*map(cut, names[:ITEMS_SHOWN]), *others])
