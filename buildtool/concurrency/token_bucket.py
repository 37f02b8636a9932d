"""A bound on how much goes through something each second, shared by all who go through it."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

BURST = 1.0
"""Seconds whose share may go through at once after a rest."""


@define(eq=False)
class TokenBucket:
    """A bucket that fills by ``rate`` units each second, None for no bound. The rate may be changed at any time."""

    clock: IReactorTime
    rate: float | None = None
    _paid_until: float = field(default=0.0, init=False)

    async def take(self, amount: float) -> None:
        """Take units from the bucket; return when so many may go through."""
        if amount > 0 and (owed := self.owe(amount)) > 0:
            await deferLater(self.clock, owed)

    def owe(self, amount: float) -> float:
        """Take units that went through already; return for how many seconds nothing more should.

        Several threads may call it: of two that do at the very same moment one may go without being counted.
        """
        if self.rate is None:
            return 0.0
        now = self.clock.seconds()
        self._paid_until = max(self._paid_until, now - BURST) + amount / self.rate
        return self._paid_until - now

    def piece(self, most: int) -> int:
        """Return how much to take at once, so that something moves a few times a second."""
        return most if self.rate is None else max(1, min(most, int(self.rate / 4)))
