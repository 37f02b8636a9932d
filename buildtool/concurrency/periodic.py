"""Something that is done again and again beside everything else, with pauses, until the program stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.concurrency.signal import Signal
from buildtool.errors import BuildToolError

log = Logger()

RETRY = 60.0
"""Seconds until a round that failed is tried again."""


@define(eq=False)
class PeriodicTask:
    """A task called ``name`` that repeats. ``round_`` returns after how many seconds the next round begins.

    It pauses with ``rest``, so that a stop need not wait for the end of a round. A round that fails is logged and tried
    again later.
    """

    name: str
    timers: IReactorTime
    round_: Callable[[PeriodicTask], Awaitable[float]]
    _running: Deferred[None] | None = field(default=None, init=False)
    _woken: Signal = field(factory=Signal, init=False)
    _hastened: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)

    def start(self, delay: float) -> None:
        """Start the first round after ``delay`` seconds."""
        self._running = Deferred.fromCoroutine(self._live(delay))

    async def stop(self) -> None:
        """Stop the task; return when the round that is running has ended."""
        self._stopped = True
        self._woken.notify()
        if self._running is not None:
            running, self._running = self._running, None
            await running

    def hasten(self) -> None:
        """Start the next round as soon as none is running. Not for rounds that rest: that would be cut short, too."""
        self._hastened = True
        self._woken.notify()

    async def rest(self, seconds: float) -> None:
        """Wait for ``seconds``. Raises CancelledError when the task is to stop."""
        if not self._stopped:
            await self._woken.wait_at_most(seconds, self.timers)
        if self._stopped:
            raise CancelledError

    async def _live(self, delay: float) -> None:
        while True:
            try:
                await self.rest(0.0 if self._hastened else delay)
                self._hastened = False
                delay = await self.round_(self)
            except CancelledError:
                return
            except BuildToolError as error:
                log.warn("{name} is put off: {error}", name=self.name, error=error)
                delay = RETRY
            except Exception:  # noqa: BLE001 - a defect must not end it; it is logged, and tried again later
                log.failure("{name} failed", name=self.name)
                delay = RETRY
