"""Back-pressure between the reactor's producers and coroutines, and a watch that notices when nothing flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from buildtool.concurrency.signal import Signal

PIECE = 256 * 1024
"""Bytes read from a file, or from a connection, at once."""

HIGH_WATER = 1024 * 1024
"""Bytes waiting for their consumer above which the source is paused."""


class Source(Protocol):
    """The source of a BodyReader: usually a connection's transport."""

    def pauseProducing(self) -> object:
        """Pause the source."""

    def resumeProducing(self) -> object:
        """Resume the source."""


class Connection(Source, Protocol):
    """The used part of a TCP or TLS transport. ``bufferSize`` is how many bytes it reads at once at most."""

    bufferSize: int

    def write(self, data: bytes, /) -> object:
        """Send ``data``."""

    def abortConnection(self) -> object:
        """Close the connection at once."""


class BodyReader:
    """An asynchronous iterator over bytes that the reactor feeds; each step gives all that waited, as a list.

    While one batch is worked on (in a thread, say) the next one gathers; above as many bytes as ``high`` says then the
    source is paused, if there still is one. One consumer only.
    """

    def __init__(self, source: Callable[[], Source | None], high: Callable[[], int] = lambda: HIGH_WATER) -> None:
        self._source = source
        self._high = high
        self._waiting: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._failure: Exception | None = None
        self._wanted = Signal()

    def feed(self, data: bytes) -> None:
        """Take bytes from the source; ignored after ``end`` or ``fail``."""
        if self._ended:
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= self._high():
            # Said every time: somebody else (HTTP's own flow control) may have resumed the source meanwhile.
            self._paused = True
            if (source := self._source()) is not None:
                source.pauseProducing()
        self._wanted.notify()

    def end(self) -> None:
        """End the iteration after what waits: nothing more comes."""
        self._ended = True
        self._wanted.notify()

    def fail(self, reason: Exception) -> None:
        """Raise ``reason`` from the iteration after what waits: nothing more comes. Ignored after ``end``."""
        if not self._ended:
            self._failure = reason
            self.end()

    def __aiter__(self) -> BodyReader:
        return self

    async def __anext__(self) -> list[bytes]:
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            await self._wanted.wait()
        batch, self._waiting, self._size = self._waiting, [], 0
        if self._paused:
            self._paused = False
            if not self._ended and (source := self._source()) is not None:
                source.resumeProducing()
        return batch


@implementer(IPushProducer)
class BodyWriter:
    """The producer that a coroutine registers with a consumer, in order to wait until it may write again."""

    def __init__(self) -> None:
        self._resumed = Signal()
        self._paused = False
        self.stopped = False

    def pauseProducing(self) -> None:
        self._paused = not self.stopped

    def resumeProducing(self) -> None:
        self._paused = False
        self._resumed.notify()

    def stopProducing(self) -> None:
        self.stopped = True
        self.resumeProducing()

    async def ready(self) -> bool:
        """Wait until the consumer takes more; return False when it never will."""
        while self._paused:
            await self._resumed.wait()
        return not self.stopped


class StallWatch:
    """A watch that calls ``stalled`` once, after ``seconds`` without progress; ``stop`` ends it."""

    def __init__(self, reactor: IReactorTime, seconds: float, stalled: Callable[[], object]) -> None:
        self._seconds = seconds
        self._stalled = stalled
        self.expired = False
        self.in_all = False
        self._call: IDelayedCall | None = reactor.callLater(seconds, self._expire)

    def progress(self) -> None:
        """Record that something flowed."""
        if self._call is not None and not self.in_all:
            self._call.reset(self._seconds)

    def again(self, seconds: float) -> None:
        """Record that something flowed; from here on ``seconds`` are allowed."""
        self._seconds = seconds
        self.progress()

    def allow_in_all(self, seconds: float) -> None:
        """Set a limit of so many seconds from here on, whatever flows: what comes byte by byte could go on for ever."""
        self.again(seconds)
        self.in_all = True

    def stop(self) -> None:
        """End the watch."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _expire(self) -> None:
        self._call = None
        self.expired = True
        self._stalled()
