"""What is said of what is gone: that it has expired, when, and by which rule. Numbers rise, so ranges are enough."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum

from attrs import frozen

DAY = 86_400.0

EXPIRED = "expired on "
"""With what the reason begins for which an artifact that has expired is withdrawn."""


class GoneKind(Enum):
    """A kind of what is gone, with the word for one of it."""

    LOG = "log"


@frozen
class Tombstone:
    """A record that what had the numbers from ``first`` to ``last`` is gone since ``at`` (wall time), by a rule.

    What has one of these numbers and is there all the same stayed.
    """

    kind: GoneKind
    first: int
    last: int
    at: float
    rule: str

    @property
    def words(self) -> str:
        """What is said of any of it: ``expired on 2026-11-20 (rule: logs older than 30 days)``."""
        return expired_words(self.at, self.rule)

    def continued_by(self, other: Tombstone) -> bool:
        """Return whether another one follows without a gap, of the same day and rule."""
        same = (self.kind, self.rule, self.at // DAY) == (other.kind, other.rule, other.at // DAY)
        return same and self.last + 1 == other.first


def expired_words(at: float, rule: str) -> str:
    """Return that something has expired at a wall time, and by which rule."""
    day = datetime.fromtimestamp(max(at, 0.0), UTC).strftime("%Y-%m-%d")
    return f"{EXPIRED}{day} (rule: {rule})"


def ranges(gone: Collection[int], there: Iterable[int]) -> Sequence[tuple[int, int]]:
    """Return the fewest ranges that have all numbers ``gone``, and no other of those that were ``there``."""
    found: list[tuple[int, int]] = []
    goes_on = False
    for number in sorted({*there, *gone}):
        if number not in gone:
            goes_on = False
        elif goes_on:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
            goes_on = True
    return tuple(found)
