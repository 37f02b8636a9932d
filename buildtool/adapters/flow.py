"""Back-pressure between the reactor's producers and coroutines, and a watch that notices when nothing flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

PIECE = 256 * 1024
"""Bytes read from a file, or from a connection, at once."""

HIGH_WATER = 1024 * 1024
"""Bytes waiting for their consumer above which the source is paused."""


class Source(Protocol):
    """What an Inlet is fed from: usually a connection's transport."""

    def pauseProducing(self) -> object:
        """Send nothing for now."""

    def resumeProducing(self) -> object:
        """Go on."""


class Connection(Source, Protocol):
    """What is used of a TCP or TLS transport. ``bufferSize`` is how many bytes it reads at once at most."""

    bufferSize: int

    def write(self, data: bytes, /) -> object:
        """Send."""

    def abortConnection(self) -> object:
        """Cut it at once."""


class Inlet:
    """An asynchronous iterator over bytes that the reactor feeds; each step gives all that waited, as a list.

    While one batch is worked on (in a thread, say) the next one gathers; above as many bytes as ``high`` says then the
    source is paused. One consumer only.
    """

    def __init__(self, source: Source, high: Callable[[], int] = lambda: HIGH_WATER) -> None:
        self._source = source
        self._high = high
        self._waiting: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._failure: Exception | None = None
        self._wanted: Deferred[None] | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the source; ignored after ``end`` or ``fail``."""
        if self._ended:
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= self._high():
            # Said every time: somebody else (HTTP's own flow control) may have resumed the source meanwhile.
            self._paused = True
            self._source.pauseProducing()
        self._wake()

    def end(self) -> None:
        """Nothing more comes; the iteration ends after what waits."""
        self._ended = True
        self._wake()

    def fail(self, reason: Exception) -> None:
        """Nothing more comes; the iteration raises ``reason`` after what waits. Ignored after ``end``."""
        if not self._ended:
            self._failure = reason
            self.end()

    def __aiter__(self) -> Inlet:
        return self

    async def __anext__(self) -> list[bytes]:
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            self._wanted = Deferred()
            await self._wanted
        batch, self._waiting, self._size = self._waiting, [], 0
        if self._paused:
            self._paused = False
            if not self._ended:
                self._source.resumeProducing()
        return batch

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.callback(None)


@implementer(IPushProducer)
class Outlet:
    """The producer that a coroutine registers with a consumer, in order to wait until it may write again."""

    def __init__(self) -> None:
        self._resumed: Deferred[None] | None = None
        self.stopped = False

    def pauseProducing(self) -> None:
        if self._resumed is None and not self.stopped:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        self.stopped = True
        self.resumeProducing()

    async def ready(self) -> bool:
        """Wait until the consumer takes more; False when it never will."""
        while self._resumed is not None:
            await self._resumed
        return not self.stopped


class StallWatch:
    """Calls ``stalled`` once when nothing was heard for ``seconds``; ``stop`` ends the watch."""

    def __init__(self, reactor: IReactorTime, seconds: float, stalled: Callable[[], object]) -> None:
        self._seconds = seconds
        self._stalled = stalled
        self.expired = False
        self._call: IDelayedCall | None = reactor.callLater(seconds, self._expire)

    def progress(self) -> None:
        """Something flowed."""
        if self._call is not None:
            self._call.reset(self._seconds)

    def again(self, seconds: float) -> None:
        """Something flowed, and from here on ``seconds`` are allowed."""
        self._seconds = seconds
        self.progress()

    def stop(self) -> None:
        """End the watch."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _expire(self) -> None:
        self._call = None
        self.expired = True
        self._stalled()
