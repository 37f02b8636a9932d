"""Which backups of a series are kept, and which go: decided by nothing but the times at which they were made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.text import duration_of, duration_text, moment_words, printable

DAY = 86_400.0

_TO_MONDAY = 3
"""Days from the Monday before the epoch to the epoch, a Thursday."""

_NAME = re.compile(r"backup-\d{8}T\d{6}Z(-\d{1,3})?", re.ASCII)

_RIGHT = 'say up to three times that grow, such as "24h 30d 90d": for how long all, one a day and one a week are kept'


@frozen
class Kept:
    """The seconds for which backups are kept: ``each`` of them, the newest of each day, and the newest of each week."""

    each: float
    daily: float = 0.0
    weekly: float = 0.0

    def __str__(self) -> str:
        said = (duration_text(one) for one in (self.each, self.daily, self.weekly) if one)
        return " ".join(said)


@frozen
class MadeBackup:
    """A backup of a series: its directory's ``name``, when it was ``made`` (seconds), and whether it is ``good``.

    One that a test found damaged is not.
    """

    name: str
    made: float
    good: bool = True


@frozen
class LastBackup:
    """The last good backup of a state directory: when it was ``made``, None if never or if that is not known.

    ``within`` is how old it may be, 0 for any age; both are seconds. ``problem`` is what is wrong, "" if nothing.
    """

    made: float | None = None
    within: float = 0.0
    problem: str = ""


def kept_of(text: str) -> Kept:
    """Return what a text such as ``24h 30d 90d`` says. Raises UsageError."""
    words = text.split()
    if not 1 <= len(words) <= 3:  # noqa: PLR2004 - all, days, weeks
        raise UsageError(f"{printable(text, 40)!r}: {_RIGHT}")
    times = [duration_of(word) for word in words]
    if times[0] <= 0 or any(later <= earlier for earlier, later in pairwise(times)):
        raise UsageError(f"{printable(text, 40)!r} does not grow: {_RIGHT}")
    return Kept(*times)


def going(kept: Kept, backups: Iterable[MadeBackup], now: float) -> tuple[MadeBackup, ...]:
    """Return those backups that go, the oldest first; never the newest good one, nor one made later than ``now``.

    One that is not good stands for no day and no week, and goes once all of its age do.
    """
    there = sorted(backups, key=lambda one: (one.made, one.name))
    past = [one for one in there if one.good and one.made <= now]
    stay = {one.name for one in there if now - one.made <= kept.each}
    stay |= {one.name for one in past[-1:]}
    for within, of in ((kept.daily, _day), (kept.weekly, _week)):
        newest = {of(one.made): one for one in past}  # the last of each is the newest
        stay |= {one.name for one in newest.values() if now - one.made <= within}
    return tuple(one for one in there if one.name not in stay)


def name_of(when: float) -> str:
    """Return the name of the directory of a backup that is made at a moment (seconds)."""
    return f"backup-{datetime.fromtimestamp(when, UTC):%Y%m%dT%H%M%SZ}"


def is_name(name: str) -> bool:
    """Return whether a directory has a name as those of backups of a series have."""
    return _NAME.fullmatch(name) is not None


def overdue(made: float | None, limit: float, now: float) -> str:
    """Return what is wrong with the age of the last good backup, "" if nothing.

    The line stays the same while nothing else is made, so that it is logged once. ``made``, ``limit``
    and ``now`` are seconds. With a ``limit`` of 0 nothing ever is.
    """
    if limit <= 0:
        return ""
    if made is None:
        return "no good backup was ever made of the state directory: bin/metaserver backup makes one"
    if made - now > limit:  # its age would be right for as long
        return (
            f"the last good backup is of {moment_words(made)}, which is still to come: set the clock, and make another"
        )
    if now - made <= limit:
        return ""
    return f"the last good backup is of {moment_words(made)}, longer ago than backup_within = {duration_text(limit)}"


def _day(made: float) -> int:
    return int(made // DAY)


def _week(made: float) -> int:
    return (_day(made) + _TO_MONDAY) // 7
