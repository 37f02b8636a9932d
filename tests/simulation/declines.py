"""A witness of what machines give up: each time that one hands a build back or meets its limit, it is asked later.

And who gave builds up of late is given none that somebody else could take who never did.

It counts from the commits by itself; the rules are taken from docs/integrator.rst and not from the program's table.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from buildtool.model.policy import Policy
from buildtool.model.records import AttemptEnd

Pair = tuple[int, str]
"""A build and a build server."""

SLACK = 1.0
"""Seconds that may pass between a decision and its commit."""

OF_LATE = 600.0
"""Seconds for which it is not doubted that a machine is one that gives builds up: a part of what the manual says."""


@define(eq=False)
class Declines:
    """Who gave which build up, how often and when, in seconds of a clock that goes on."""

    policy: Policy
    _of: dict[Pair, tuple[int, float, float]] = field(factory=dict)
    """How often, when the last time, and how many seconds it is not to be asked since then."""

    reluctant: dict[str, float] = field(factory=dict)
    """Which machines gave something up and built nothing since, and when, by the metaserver's clock."""

    _ever: set[str] = field(factory=set)
    _built_at: dict[str, float] = field(factory=dict)

    def gave_up(self, server: str, how: AttemptEnd, when: float) -> None:
        """Take in what a machine did that was committed."""
        if how in (AttemptEnd.RETURNED, AttemptEnd.LIMITED, AttemptEnd.REFUSED):
            self._ever.add(server)
            if when > self._built_at.get(server, float("-inf")):
                self.reluctant[server] = when

    def built(self, server: str, now: float) -> None:
        """Take in that a machine is said to have built something, whether that is committed or not."""
        self._built_at[server] = now
        self.reluctant.pop(server, None)

    def forget(self) -> None:
        """Know nothing of who is reluctant: the metaserver began anew, and does not know it either."""
        self.reluctant.clear()
        self._ever.clear()

    def preferred(self, server: str, others: Iterable[str], now: float) -> list[str]:
        """Return which of others that could take a build should have it rather than this one."""
        when = self.reluctant.get(server)
        if when is None or now - when > OF_LATE:
            return []
        return [other for other in others if other not in self._ever]

    def ended(self, pair: Pair, how: AttemptEnd, now: float) -> None:
        """Take in how an attempt of a build ended on a build server."""
        times = self._of[pair][0] if pair in self._of else 0
        if how is AttemptEnd.RETURNED:
            first, most = self.policy.lost_ttl, self.policy.quarantine_most
        elif how is AttemptEnd.LIMITED:
            first, most = self.policy.refusal_ttl, self.policy.limited_most
        else:
            return
        self._of[pair] = times + 1, now, min(most, first * 2.0**times)

    def changed(self, pair: Pair) -> None:
        """A machine has changed and may be asked at once; how often it gave the build up stays counted."""
        if pair in self._of:
            times, when, _ = self._of[pair]
            self._of[pair] = times, when, 0.0

    def clock_set(self) -> None:
        """The metaserver's clock was set: what waits may wait shorter for that, where nobody was there to notice."""
        for pair in self._of:
            self.changed(pair)
        self.reluctant.clear()  # who ever gave something up stays known: the program has that in mind, too

    def too_early(self, pair: Pair, now: float) -> str:
        """Return in words why a build may not be given to this build server now, "" if it may."""
        if pair not in self._of:
            return ""
        times, when, due = self._of[pair]
        if now - when >= due - SLACK:
            return ""
        return f"it gave that up {times} times, the last {now - when:.0f} s ago, and is not to be asked for {due:.0f} s"
