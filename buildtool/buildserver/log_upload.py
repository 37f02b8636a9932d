"""A build's output on its way to the metaserver: in order, by offset, in bounded memory whatever the output's size.

The first part of a long log (the head) is sent as it comes. What comes after it is kept in a ring and sent at the end,
below a line that says how much is missing. While the metaserver is slow the command waits; while it is away the command
goes on, and what does not fit is left out of the middle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.buildserver.masking import Masker
from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.signal import Signal
from buildtool.errors import BadOffset, BadTicket, BuildToolError, StorageUnavailable, Unavailable
from buildtool.model.text import block
from buildtool.protocol.messages import LOG_TAIL_LIMIT

BATCH = 64 * 1024
"""Bytes at which a piece is sent at once."""

BATCH_SECONDS = 0.25
"""Seconds after which a smaller piece is sent."""

WINDOW = 256 * 1024
"""Bytes that may wait to be sent before the command has to."""

TAIL = 1024 * 1024
"""The most bytes of the end that are kept when the head is full."""

PATIENCE = 30.0
"""Seconds without progress after which a metaserver counts as away."""

_RETRY = Backoff(0.25, 5.0)

Send = Callable[[int, bytes], Awaitable[int]]
"""Appends bytes at an offset and returns the log's length there. Raises BuildToolError."""


class Ring:
    """The last ``size`` bytes of what was added, and how many came before them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = bytearray()
        self.dropped = 0

    def add(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > 2 * self._size:
            self._trim()

    def kept(self) -> bytes:
        self._trim()
        return bytes(self._kept)

    def _trim(self) -> None:
        excess = len(self._kept) - self._size
        if excess > 0:
            self.dropped += excess
            del self._kept[:excess]


class LogPipe:
    """One Attempt's log. ``limit`` bounds all that is sent, in bytes; what ``masker`` knows stands nowhere in it."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, send: Send, limit: int, masker: Masker | None = None) -> None:
        self._clock = clock
        self._masker = masker or Masker()
        self._send = send
        tail = min(TAIL, limit // 4)
        # The line that says how much is missing takes its room from the head.
        self._head_left = max(0, limit - tail - 100)
        self._ring = Ring(tail)
        self._last = Ring(LOG_TAIL_LIMIT)
        self._pending = bytearray()
        self._offset = 0
        self._patience = PATIENCE
        self._away = False
        self._over = False
        self._flushing = False
        self._sending = False
        self._sender: Deferred[None] | None = None
        self._full = Signal()
        self._progressed = Signal()
        self._stall: IDelayedCall | None = None
        self._nap = Signal()

    @property
    def over(self) -> bool:
        """Whether nothing is sent any more: it was abandoned, or the metaserver does not want it."""
        return self._over

    async def write(self, data: bytes) -> None:
        """Take output. Returns when there is room for more, at the latest when the metaserver counts as away."""
        self._take(self._masker.feed(data))
        while len(self._pending) > WINDOW and not (self._away or self._over):
            await self._progressed.wait()

    def _take(self, data: bytes) -> None:
        self._last.add(data)
        if self._over:
            return
        if self._away and len(self._pending) > WINDOW:
            self._head_left = 0
        head, rest = data[: self._head_left], data[self._head_left :]
        self._head_left -= len(head)
        self._pending += head
        if rest:
            self._ring.add(rest)
        self._pump()

    def note(self, line: str) -> None:
        """Write a line of the build server's own; it waits for nothing."""
        self._take(self._masker.end())
        data = f"{self._masker.whole(line)}\n".encode(errors="replace")
        self._last.add(data)
        if self._over:
            return
        if len(data) <= self._head_left:
            self._head_left -= len(data)
            self._pending += data
            self._pump()
        else:
            self._head_left = 0
            self._ring.add(data)

    def last(self, limit: int = LOG_TAIL_LIMIT) -> str:
        """Return the end of the log as clean text of at most ``limit`` bytes of UTF-8."""
        return clean(self._last.kept())[-limit:].encode()[-limit:].decode(errors="ignore")

    async def flush(self, patience: float = PATIENCE) -> bool:
        """Send what is left of a log that is complete; return whether all of it arrived.

        Gives up after ``patience`` seconds of no progress. What did not arrive is still tried, and waited for when this
        is called again, until the log is abandoned.
        """
        self._patience = patience
        if self._over:
            return False
        if not self._flushing:
            self._take(self._masker.end())
            self._flushing = True
            tail = self._ring.kept()
            if self._ring.dropped:
                self._pending += f"\n[... {self._ring.dropped} bytes omitted ...]\n".encode()
            self._pending += tail
            self._ring = Ring(0)
        self._away = False
        self._moved_on()
        if self._pending:
            self._watch()
        self._pump()
        self._nap.notify()
        while self._pending and not (self._away or self._over):
            await self._progressed.wait()
        return not self._pending and not self._over

    def abandon(self) -> None:
        """Stop sending; those that wait go on."""
        self._over = True
        self._pending.clear()
        self._moved_on()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()

    # --- sending ----------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if not self._sending and self._pending and not self._over:
            self._sending = True
            self._sender = Deferred.fromCoroutine(self._send_all()).addErrback(self._broke)
        if len(self._pending) >= BATCH or self._flushing:
            self._full.notify()

    async def _send_all(self) -> None:
        tries = _RETRY.begin()
        while self._pending and not self._over:
            await self._batch()
            self._watch()
            piece = bytes(self._pending[:WINDOW])
            try:
                length = await self._send(self._offset, piece)
            except (Unavailable, BadTicket, StorageUnavailable):
                # Unless somebody waits for it.
                await self._nap.wait_at_most(tries.next_delay(), self._clock)
                continue
            tries.reset()
            taken = length - self._offset
            if not 0 < taken <= len(self._pending):
                raise BadOffset(f"the log is {length} bytes long there, {self._offset} were sent", length)
            del self._pending[:taken]
            self._offset = length
            self._away = False
            self._moved_on()
        self._sending = False

    async def _batch(self) -> None:
        """Wait until a piece is worth sending."""
        if len(self._pending) >= BATCH or self._flushing:
            return
        await self._full.wait_at_most(BATCH_SECONDS, self._clock)

    def _broke(self, failure: Failure) -> None:
        """The metaserver does not want this log: the build goes on without it."""
        if failure.check(BuildToolError):
            self._log.warn("a log cannot be sent: {why}", why=failure.getErrorMessage())
        elif not failure.check(CancelledError):
            self._log.failure("a log cannot be sent", failure)
        self._sending = False
        self._over = True
        self._pending.clear()
        self._moved_on()

    # --- waiting ----------------------------------------------------------------------------------------

    def _moved_on(self) -> None:
        if self._stall is not None:
            if self._stall.active():
                self._stall.cancel()
            self._stall = None
        self._progressed.notify()

    def _watch(self) -> None:
        if self._stall is None:
            self._stall = self._clock.callLater(self._patience, self._gone_away)

    def _gone_away(self) -> None:
        self._away = True
        self._moved_on()


def clean(data: bytes) -> str:
    """Return output as harmless lines for people; undecodable bytes and control characters are replaced."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return block(text, len(text))
