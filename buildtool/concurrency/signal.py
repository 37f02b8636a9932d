"""Something that happens again and again, and those who wait for the next time."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Signal:
    """An event that wakes all who wait whenever ``notify`` is called. Nothing is remembered.

    So look at what you wait for first, and again once you are woken.
    """

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """Return a Deferred that fires at the next ``notify``; cancel it to stop waiting."""
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiter)
        return waiter

    async def wait_at_most(self, seconds: float, clock: IReactorTime) -> None:
        """Return at the next ``notify``, or after ``seconds``."""
        waiter = self.wait()
        timer = clock.callLater(seconds, self._wake, waiter)
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()

    def notify(self) -> None:
        """Wake all who wait now, in the order in which they came."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:  # whoever was woken before it may have cancelled it
                waiter.callback(None)

    def _wake(self, waiter: Deferred[None]) -> None:
        self._forget(waiter)
        waiter.callback(None)

    def _forget(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
