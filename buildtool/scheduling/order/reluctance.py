"""Which machines give Builds up more than they make: whatever others could take now is not given to those.

A weight for each machine, which grows by one with each Build that it declines, hands back or has no room for, fades by
half every ``HALVES`` seconds, and is gone once it made one. It says who is asked first, never who may be asked: the
only machine that is free is given what waits. It is in memory only, since it is but a guess: after a restart everybody
is as good as anybody.

The test is tests/scheduling/order/test_reluctance.py.
"""

from __future__ import annotations

import math
from functools import partial

from buildtool.scheduling.state.journal import Journal

HALVES = 1_800.0
"""Seconds in which a weight fades to half of it."""

MOST = 8.0
"""The greatest weight, so that whatever a machine did is forgotten after ``HALVES`` times five."""

Weighed = tuple[float, float]
"""A weight, and when it was that."""


def faded(weighed: Weighed, now: float) -> float:
    """Return what a weight is now. A clock that was set back makes it no greater."""
    weight, since = weighed
    return weight * math.exp2(-max(0.0, now - since) / HALVES)


class Reluctance:
    """The weights of machines by name; each change can be taken back with the decision that it belongs to."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._of: dict[str, Weighed] = {}

    def of(self, name: str, now: float) -> int:
        """Return how reluctant a machine is: 0 for one to be asked first, then the more the later."""
        weighed = self._of.get(name)
        return round(faded(weighed, now)) if weighed is not None else 0

    def gave_up(self, name: str, now: float) -> None:
        """Count that a machine gave a Build up."""
        for other in [other for other in self._of if other != name and not self.of(other, now)]:
            self._set(other, None)
        weighed = self._of.get(name)
        self._set(name, (min(MOST, 1.0 + (faded(weighed, now) if weighed is not None else 0.0)), now))

    def made(self, name: str) -> None:
        """Forget what a machine gave up: it has built something to its end."""
        if name in self._of:
            self._set(name, None)

    def shift(self, seconds: float) -> None:
        """Move all times by the seconds that the clock was set, so that nothing fades for that."""
        for name, (weight, since) in list(self._of.items()):
            self._set(name, (weight, since + seconds))

    def _set(self, name: str, weighed: Weighed | None) -> None:
        self._journal.add(partial(self._put, name, self._of.get(name)))
        self._put(name, weighed)

    def _put(self, name: str, weighed: Weighed | None) -> None:
        if weighed is None:
            self._of.pop(name, None)
        else:
            self._of[name] = weighed
