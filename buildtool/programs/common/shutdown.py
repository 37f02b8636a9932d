"""Ending in time: what is open is closed one after the other, each within a bound and all within another."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.programs.common.output import complain

log = Logger()

EACH = 3.0
"""Seconds that one thing has to close."""

ALTOGETHER = 7.0
"""Seconds that all have together; once they are over, each still has ``LEAST``."""

LEAST = 0.2

LAST_RESORT = 9.5
"""Seconds after which the process ends whatever it waits for: a name server, or a disk that does not answer."""

Close = Callable[[], Awaitable[object] | object]


@define
class ShutdownList:
    """The list of what is closed at the end: what was opened last goes first, and what fails or hangs holds up nothing.

    ``each`` and ``altogether`` are in seconds.
    """

    timers: IReactorTime
    each: float = EACH
    altogether: float = ALTOGETHER
    _closers: list[tuple[str, Close]] = field(factory=list, init=False)
    _until: float = field(default=0.0, init=False)

    def add(self, name: str, close: Close) -> None:
        """Record what to ``close`` at the end; ``name`` is what the log calls it."""
        self._closers.append((name, close))

    def left(self) -> float:
        """Return how many seconds what is being closed may take."""
        return max(LEAST, min(self.each, self._until - self.timers.seconds()))

    async def close(self) -> None:
        """Close everything. What does not close in time is cut off, and the log says so."""
        self._until = self.timers.seconds() + self.altogether
        while self._closers:
            name, close = self._closers.pop()
            left = self.left()
            try:
                closing = close()
                if isinstance(closing, Awaitable):
                    await Deferred.fromCoroutine(_waited(closing)).addTimeout(left, self.timers)
            except TookTooLong:
                log.warn("cut off: {name} did not end within {left:.1f} s", name=name, left=left)
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 - one thing that cannot be closed must not keep the others open
                log.failure("{name} could not be closed", name=name)


async def _waited(closing: Awaitable[object]) -> None:
    await closing


def last_resort(program: str, seconds: float = LAST_RESORT) -> None:
    """Stop this process after ``seconds``, even if its shutdown hangs."""

    def end() -> None:
        complain(f"{program}: cut off: it did not end within {seconds:g} s")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
