"""Hours of the week in a time zone, such as ``Mon-Fri 20:00-07:00 Europe/Berlin``, and days such as holidays.

Hours belong to the day on which they begin, and may end on the next. A time of day means the first instant at which the
clock there shows it or later: one that is skipped in spring is the instant of the change, and of one that comes twice
in autumn the first counts. All instants are wall time, in seconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.text import quoted

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

HOURS_WORDS = "say 20:00-07:00, or with days and a time zone, such as Mon-Fri 20:00-07:00 Europe/Berlin"
AWAY_WORDS = "say two days, such as 2026-12-24..2027-01-02, or one"

TEXT_LIMIT = 200
"""Most characters of what says hours."""

_DAY = 24 * 60
_BEHIND, _AHEAD = 2, 9
"""Days that are looked at before and after a moment: hours of one week, and those that began on the day before."""

_HOURS = re.compile(
    r"(?:([A-Za-z]{3}[A-Za-z,-]{0,60}) )?([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})(?: ([A-Za-z][\w+/-]{0,60}))?"
)
_FIRST, _LAST = date(1971, 1, 1), date(9990, 12, 31)

Zones = Callable[[str], tzinfo]
"""Returns the time zone of a name, of the machine for an empty one. Raises UsageError."""


@frozen
class WeekHours:
    """The hours between two times of day, in minutes since midnight, on some days of the week (0 is Monday)."""

    days: frozenset[int]
    begin: int
    end: int
    zone: tzinfo
    text: str

    def on(self, day: date) -> tuple[float, float]:
        """Return when the hours begin and end that belong to ``day``, in seconds of wall time."""
        last = self.end if self.end > self.begin else self.end + _DAY
        return first_instant(day, self.begin, self.zone), first_instant(day, last, self.zone)

    def around(self, now: float) -> Iterator[tuple[float, float]]:
        """Yield the spans from some days before ``now`` to a week after, in seconds of wall time."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for offset in range(-_BEHIND, _AHEAD):
            day = today + timedelta(offset)
            if day.weekday() in self.days:
                begins, ends = self.on(day)
                if begins < ends:  # else the day has no such hours: a date that was skipped
                    yield begins, ends


@frozen
class DaySpan:
    """A span of whole days, from the beginning of the first to the end of the last, in seconds of wall time."""

    begins: float
    ends: float
    text: str


# --- reading what was said ------------------------------------------------------------------------------


def read_hours(text: str, zones: Zones) -> WeekHours:
    """Return what a text says, such as ``Mon-Fri 20:00-07:00 Europe/Berlin``. Raises UsageError."""
    said = " ".join(text.split()).replace(" - ", "-") if len(text) <= TEXT_LIMIT else ""
    found = _HOURS.fullmatch(said)
    if found is None:
        raise UsageError(f"{quoted(text)} are no hours: {HOURS_WORDS}")
    days, zone = found[1], found[6]
    begin, end = minutes_of(found[2], found[3], text), minutes_of(found[4], found[5], text)
    if begin == _DAY:
        raise UsageError(f"{quoted(text)} are no hours: a day begins at 00:00, and ends at 24:00")
    if begin == end:
        raise UsageError(f"{quoted(text)} are no hours, since they end when they begin: a whole day is 00:00-24:00")
    return WeekHours(days_of(days or "Mon-Sun", text), begin, end, zones(zone or ""), said)


def read_away(text: str, zones: Zones) -> DaySpan:
    """Return the days that a text says, such as ``2026-12-24..2027-01-02``, both included. Raises UsageError."""
    first, dots, last = text.strip().partition("..")
    begins, ends = _date(first, text), _date(last if dots else first, text)
    if ends < begins:
        raise UsageError(f"{quoted(text)} ends before it begins: {AWAY_WORDS}")
    zone = zones("")
    return DaySpan(
        first_instant(begins, 0, zone),
        first_instant(ends, _DAY, zone),
        begins.isoformat() if begins == ends else f"{begins.isoformat()}..{ends.isoformat()}",
    )


def minutes_of(hours: str, minutes: str, text: str) -> int:
    """Return a time of day in minutes since midnight, up to 24:00. Raises UsageError, quoting ``text``."""
    found = int(hours) * 60 + int(minutes)
    if int(minutes) >= 60 or found > _DAY:  # noqa: PLR2004 - an hour has so many minutes
        raise UsageError(f"{quoted(text)}: {hours}:{minutes} is no time of day, which goes from 00:00 to 24:00")
    return found


def days_of(words: str, text: str) -> frozenset[int]:
    """Return the days (0 is Monday) that words such as ``Mon-Fri,Sun`` name. Raises UsageError, quoting ``text``."""
    chosen: set[int] = set()
    for part in words.split(","):
        first, dash, last = part.partition("-")
        begin, end = _day(first, text), _day(last if dash else first, text)
        chosen |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(chosen)


def _day(word: str, text: str) -> int:
    if word.capitalize() not in DAYS:
        raise UsageError(f"{quoted(text)}: {quoted(word)} is no day: they are {', '.join(DAYS)}")
    return DAYS.index(word.capitalize())


def _date(word: str, text: str) -> date:
    try:
        found = date.fromisoformat(word.strip())
    except ValueError as error:
        raise UsageError(f"{quoted(text)} is not usable: {quoted(word)} is no day: {AWAY_WORDS}") from error
    if not _FIRST <= found <= _LAST:
        raise UsageError(f"{quoted(text)} is not usable: {found.year} is too far away")
    return found


# --- what holds at a moment -----------------------------------------------------------------------------


def first_instant(day: date, minutes: int, zone: tzinfo) -> float:
    """Return the first instant at which a clock in ``zone`` shows so many minutes of ``day``, or later.

    In seconds of wall time; ``minutes`` may go beyond the day.
    """
    shown = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001 - as the clock shows it
    early, late = (shown.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    if late >= early:
        return early  # as nearly always they are the same; of a time that comes twice the first counts
    # The clock skips this time: the change lies between the two.
    before, after = late, early
    while after - before > 1:
        middle = float((before + after) // 2)
        if _shown(middle, zone) >= shown:
            after = middle
        else:
            before = middle
    return after


def _shown(instant: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant, zone).replace(tzinfo=None)


def spans(hours: Iterable[WeekHours], now: float) -> list[tuple[float, float]]:
    """Return the spans around ``now`` in which any of the hours hold, in order, those that touch as one."""
    joined: list[tuple[float, float]] = []
    for begins, ends in sorted(span for one in hours for span in one.around(now)):
        if joined and begins <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], ends))
        else:
            joined.append((begins, ends))
    return joined


def holds(hours: Sequence[WeekHours], now: float) -> bool:
    """Return whether it is within any of the hours; where none are said, always."""
    return not hours or any(begins <= now < ends for begins, ends in spans(hours, now))


def next_change(hours: Sequence[WeekHours], now: float) -> float | None:
    """Return when ``holds`` becomes something else, in seconds of wall time; None for not within a week."""
    for begins, ends in spans(hours, now):
        if now < begins:
            return begins
        if now < ends:
            return ends if ends - now <= (_AHEAD - _BEHIND) * _DAY * 60 else None
    return None


def away_at(away: Iterable[DaySpan], now: float) -> DaySpan | None:
    """Return the days of those announced in which ``now`` is; of several those that end last."""
    return max((one for one in away if one.begins <= now < one.ends), key=lambda one: one.ends, default=None)


def clock_words(when: float, now: float, zone: tzinfo) -> str:
    """Return a moment of wall time for people, as a clock in ``zone`` shows it: with its day where it is not near."""
    moment, today = datetime.fromtimestamp(when, zone), datetime.fromtimestamp(now, zone)
    name = str(getattr(zone, "key", None) or moment.tzname() or "")
    time = f"{moment:%H:%M} {name}".strip()
    days = (moment.date() - today.date()).days
    if days == 0:
        return time
    return f"{DAYS[moment.weekday()]} {time}" if 0 < days < 7 else f"{moment:%Y-%m-%d} {time}"  # noqa: PLR2004 - a week
