"""When a trigger looks: every so often, or at a time of day in a time zone, such as ``Mon-Fri 03:00 Europe/Berlin``.

A time of day means what it means for ``guest.hours``: one that is skipped in spring is the instant of the change, and
of one that comes twice in autumn the first counts, so that each day has it once. All instants are wall time, in
seconds since 1970.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.guest.hours import Zones, days_of, first_instant, minutes_of
from buildtool.model.text import duration_of, duration_text, quoted

__all__ = ["Daily", "Every", "Schedule", "Unscheduled", "read_daily", "read_every"]

LEAST, MOST = 10.0, 366 * 86_400.0
"""The shortest and the longest time between two looks, in seconds."""

_DAILY_WORDS = "say 03:00 Europe/Berlin, or with days, such as Mon-Fri 03:00 Europe/Berlin"
_DAILY = re.compile(r"(?:([A-Za-z]{3}[A-Za-z,-]{0,60}) )?([0-9]{1,2}):([0-9]{2}) ([A-Za-z][\w+/-]{0,60})")
_TEXT_LIMIT = 200
_MIDNIGHT = 24 * 60
_WEEK = 8
"""Days in which each day of the week comes, whatever time it is."""


@frozen
class Every:
    """All multiples of so many seconds since 1970."""

    seconds: float

    def latest(self, now: float) -> float:
        """Return the last instant up to ``now``."""
        return math.floor(now / self.seconds) * self.seconds

    def following(self, now: float) -> float:
        """Return the first instant after ``now``."""
        return self.latest(now) + self.seconds

    def __str__(self) -> str:
        return f"every {duration_text(self.seconds)}"


@frozen
class Daily:
    """A time of day, in minutes since midnight, on some days of the week (0 is Monday), once on each."""

    minutes: int
    days: frozenset[int]
    zone: tzinfo
    text: str

    def latest(self, now: float) -> float:
        """Return the last instant up to ``now``."""
        return next(one for one in self._near(now, -1) if one <= now)

    def following(self, now: float) -> float:
        """Return the first instant after ``now``."""
        return next(one for one in self._near(now, 1) if one > now)

    def _near(self, now: float, step: int) -> Iterator[float]:
        """Yield the instants of more than a week from ``now`` on, and of the day on its other side; back for -1."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for offset in range(-1, _WEEK + 1):
            day = today + timedelta(offset * step)
            if day.weekday() in self.days:
                yield first_instant(day, self.minutes, self.zone)

    def __str__(self) -> str:
        return f"at {self.text}"


@frozen
class Unscheduled:
    """The schedule of what looks when it is told to, and never by itself."""

    def latest(self, now: float) -> float:
        """Return ``now``."""
        return now

    def following(self, _now: float) -> float:
        """Return that no instant follows."""
        return math.inf

    def __str__(self) -> str:
        return "when a hook is delivered, and when the metaserver starts"


Schedule = Every | Daily | Unscheduled


def read_every(text: str) -> Every:
    """Return what a text such as ``6h`` says. Raises UsageError."""
    if not isinstance(text, str):
        raise UsageError(f"{quoted(text)} is no time: say 30m, 24h or 7d")
    seconds = duration_of(text)
    if not LEAST <= seconds <= MOST:
        raise UsageError(f"{quoted(text)} is not usable: say from {duration_text(LEAST)} to {duration_text(MOST)}")
    return Every(seconds)


def read_daily(text: str, zones: Zones) -> Daily:
    """Return what a text such as ``Mon-Fri 03:00 Europe/Berlin`` says. Raises UsageError."""
    said = " ".join(text.split()) if isinstance(text, str) and len(text) <= _TEXT_LIMIT else ""
    found = _DAILY.fullmatch(said)
    if found is None:
        raise UsageError(f"{quoted(text)} is no time of day with a time zone: {_DAILY_WORDS}")
    minutes = minutes_of(found[2], found[3], text)
    if minutes == _MIDNIGHT:
        raise UsageError(f"{quoted(text)} is not usable: a day begins at 00:00")
    return Daily(minutes, days_of(found[1] or "Mon-Sun", text), zones(found[4]), said)
