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
        if self.rate is None or amount <= 0:
            return
        now = self.clock.seconds()
        self._paid_until = max(self._paid_until, now - BURST) + amount / self.rate
        if self._paid_until > now:
            await deferLater(self.clock, self._paid_until - now)

    def piece(self, most: int) -> int:
        """Return how much to take at once, so that something moves a few times a second."""
        return most if self.rate is None else max(1, min(most, int(self.rate / 4)))
