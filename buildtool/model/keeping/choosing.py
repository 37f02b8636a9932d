"""What goes next of what is kept, by age and by size: never what is spared, and never much at once.

What was used longest ago goes first. Pure: time is an argument, and nothing is deleted here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from buildtool.model.keeping.limits import KeptKind, Limit, age_rule, size_rule


@frozen(order=True)
class KeptThing:
    """One thing that is kept: a log, by its build, or an artifact. ``at`` is when it was last of use (wall time).

    ``size`` is in bytes; ``spared`` says why it must not go now, whatever the limits are, or is empty.
    """

    at: float
    number: int
    size: int = 0
    spared: str = ""


@frozen
class Going:
    """A thing that goes, and in words the rule by which it does."""

    thing: KeptThing
    rule: str


@frozen
class Turn:
    """The most that goes at once: so many things, and so many bytes; one thing always may."""

    things: int = 50
    size: int = 4 * 1024**3


USUAL_TURN = Turn()


def goes(
    kind: KeptKind, kept: Iterable[KeptThing], limit: Limit, total: int, now: float, turn: Turn = USUAL_TURN
) -> tuple[Going, ...]:
    """Return what goes at wall time ``now`` of ``kept``: all that there is, or what of it was used longest ago.

    ``total`` are the bytes of all that there is.
    """
    going: list[Going] = []
    size = 0
    for thing in sorted(kept):
        rule = _rule(kind, thing, limit, total - size, now)
        if not rule:
            continue
        if going and (len(going) >= turn.things or size + thing.size > turn.size):
            break
        going.append(Going(thing, rule))
        size += thing.size
    return tuple(going)


def _rule(kind: KeptKind, thing: KeptThing, limit: Limit, left: int, now: float) -> str:
    """Return the rule by which a thing goes while so many bytes are ``left``, empty if it stays."""
    if thing.spared:
        return ""
    if limit.age is not None and now - thing.at > limit.age:
        return age_rule(kind, limit.age)
    if limit.most is not None and left > limit.most:
        return size_rule(kind, limit.most)
    return ""


@define
class Survey:
    """A look through everything of a kind, some at a time, of which only the longest unused are held in memory.

    ``count``, ``total`` (bytes) and ``spared`` are of all that was looked at.
    """

    most: int = 2_000
    count: int = 0
    total: int = 0
    spared: int = 0
    _oldest: list[tuple[float, int, KeptThing]] = field(factory=list)

    def add(self, things: Iterable[KeptThing]) -> None:
        """Take some more in."""
        for thing in things:
            self.count += 1
            self.total += thing.size
            if thing.spared:
                self.spared += 1
                continue
            # A heap has its least on top: here that is the one that was used last of those that are held.
            entry = (-thing.at, -thing.number, thing)
            if len(self._oldest) < self.most:
                heapq.heappush(self._oldest, entry)
            else:
                heapq.heappushpop(self._oldest, entry)

    def oldest(self) -> Sequence[KeptThing]:
        """Return those that may go and were used longest ago, the longest unused first."""
        return sorted(thing for _, _, thing in self._oldest)
