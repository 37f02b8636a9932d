"""How many changes a metaserver may have shown: one that says a new one without end does not fill the screen."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from buildtool.concurrency.rates import RateBudget, Rates
from buildtool.ports.requester import Console

SHOWN = RateBudget(100, 2)
"""Lines about changes that are shown at once, and each second after that: 64 builds at once have about that many."""

SUMMED_UP_AFTER = 5.0
"""Seconds after the first line that was left out, it is said how many there were."""


@define(eq=False)
class Changes:
    """A limit on the lines about changes that ``console`` shows."""

    console: Console
    timers: IReactorTime
    _rates: Rates = field(factory=lambda: Rates(SHOWN, SHOWN), init=False)

    def say(self, line: str) -> None:
        """Show a line, if there is room for one more."""
        now = self.timers.seconds()
        shown = self._rates.allows("", "", 1, now)
        self.sum_up(now - SUMMED_UP_AFTER)
        if shown:
            self.console.say(line)

    def sum_up(self, before: float | None = None) -> None:
        """Return how many lines were left out since a time no later than ``before``, or at all."""
        for left in self._rates.left_out(self.timers.seconds() if before is None else before):
            self.console.say(f"{left.count:,} more changes were not shown")
