"""The time in which a build stands still, since the owner of its machine is in the way.

Covered by tests/buildserver/test_guest.py.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from buildtool.concurrency.signal import Signal


@define(eq=False)
class Standstill:
    """A stopwatch of a build's rests: how long all of them took that are over, ``rested``, in seconds."""

    clock: IReactorTime
    rested: float = field(default=0.0, init=False)
    _since: float | None = field(default=None, init=False)
    _released: bool = field(default=False, init=False)
    _over: Signal = field(factory=Signal, init=False)

    @property
    def lasts(self) -> bool:
        """Whether the build stands still now."""
        return self._since is not None

    @property
    def all(self) -> float:
        """How many seconds all rests took by now, with the one that lasts."""
        return self.rested + (0.0 if self._since is None else self.clock.seconds() - self._since)

    def begin(self) -> None:
        """Start a rest."""
        self._since = self.clock.seconds()

    def end(self) -> float:
        """End the rest; return how many seconds it took."""
        took = 0.0 if self._since is None else self.clock.seconds() - self._since
        self.rested, self._since = self.rested + took, None
        self._over.notify()
        return took

    def release(self) -> None:
        """Wake those who wait, now and for ever: the build is to end."""
        self._released = True
        self._over.notify()

    async def over(self) -> None:
        """Wait until the build goes on, or is to end."""
        while self._since is not None and not self._released:
            await self._over.wait()
