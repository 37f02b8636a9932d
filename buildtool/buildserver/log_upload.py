"""A build's output on its way to the metaserver: in order, by offset, in bounded memory whatever the output's size.

The first part of a long log (the head) is sent as it comes. What comes after it is kept in a ring and sent at the end,
below a line that says how much is missing. Beside the bytes go marks: where phases begin and end. While the metaserver
is slow the command waits; while it is away the command goes on, and what does not fit is left out of the middle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.buildserver.masking import Masker
from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.signal import Signal
from buildtool.errors import BadOffset, BadTicket, BuildToolError, StorageUnavailable, Unavailable
from buildtool.model.logs.error_lines import end_of
from buildtool.model.logs.marks import MARKS_LIMIT, LogMark, MarkKind
from buildtool.model.text import block
from buildtool.protocol.logs.marks import AT_ONCE
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

Send = Callable[[int, bytes, Sequence[LogMark]], Awaitable[int]]
"""Appends bytes at an offset, with marks, and returns the log's length there. Raises BuildToolError."""


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

    @property
    def added(self) -> int:
        """How many bytes were added."""
        return self.dropped + len(self._kept)

    def kept(self) -> bytes:
        self._trim()
        return bytes(self._kept)

    def _trim(self) -> None:
        excess = len(self._kept) - self._size
        if excess > 0:
            self.dropped += excess
            del self._kept[:excess]


class LogPipe:
    """One Attempt's log. ``limit`` bounds all that is sent, in bytes; what ``masker`` knows stands nowhere in it.

    ``sent`` is how many bytes the metaserver has taken.
    """

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
        self._began = clock.seconds()
        self._marks: list[LogMark] = []
        self._ring_marks: list[LogMark] = []
        self._marked = 0
        self._sent_marks = 0
        self.sent = 0
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

    def begin(self, phase: str, line: str | None = None) -> None:
        """Mark that a phase begins, which ends the one before it, at a line of the build server's own if there is one.

        What a command writes can be no such mark.
        """
        self._take(self._masker.end())
        self._mark(MarkKind.BEGIN, phase)
        if line is not None:
            self.note(line)

    def end(self, line: str, how: str, *, failed: bool = False) -> None:
        """Write a line of the build server's own and mark that a phase ended there, and how."""
        self.note(line)
        self._mark(MarkKind.FAILED if failed else MarkKind.END, how)

    def _mark(self, kind: MarkKind, words: str) -> None:
        if self._marked >= MARKS_LIMIT - 1 or self._over:  # one more says what is missing
            return
        self._marked += 1
        head = self._head_left > 0 or not self._ring.added
        place = self.sent + len(self._pending) if head else self._ring.added
        mark = LogMark(0, place, kind, self._clock.seconds() - self._began, self._masker.whole(words))
        (self._marks if head else self._ring_marks).append(mark)

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
        kept = self._last.kept()
        if self._last.dropped:  # with half a line
            kept = kept[kept.find(b"\n") + 1 :] or kept
        return end_of(clean(kept), limit)

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
            self._end()
        self._away = False
        self._moved_on()
        if self._pending:
            self._watch()
        self._pump()
        self._nap.notify()
        while self._pending and not (self._away or self._over):
            await self._progressed.wait()
        return not self._pending and not self._over

    def _end(self) -> None:
        """Put what was kept of the end behind what waits, and a line that says how much is missing between them."""
        tail, dropped = self._ring.kept(), self._ring.dropped
        if dropped:
            place, seconds = self.sent + len(self._pending), self._clock.seconds() - self._began
            self._marks.append(LogMark(0, place, MarkKind.CUT, seconds, str(dropped)))
            self._pending += f"\n[... {dropped} bytes omitted ...]\n".encode()
        start = self.sent + len(self._pending) - dropped
        self._marks += (evolve(mark, offset=start + max(mark.offset, dropped)) for mark in self._ring_marks)
        self._pending += tail
        self._ring, self._ring_marks = Ring(0), []

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
            piece, marks = self._next()
            try:
                length = await self._send(self.sent, piece, marks)
            except (Unavailable, BadTicket, StorageUnavailable):
                # Unless somebody waits for it.
                await self._nap.wait_at_most(tries.next_delay(), self._clock)
                continue
            tries.reset()
            taken = length - self.sent
            if not 0 < taken <= len(self._pending):
                raise BadOffset(f"the log is {length} bytes long there, {self.sent} were sent", length)
            del self._pending[:taken]
            sent = sum(mark.offset <= length for mark in marks)
            del self._marks[:sent]
            self._sent_marks += sent
            self.sent = length
            self._away = False
            self._moved_on()
        self._sending = False

    def _next(self) -> tuple[bytes, tuple[LogMark, ...]]:
        """Return what is sent next, with all marks that stand in it."""
        size = min(len(self._pending), WINDOW)
        if len(self._marks) > AT_ONCE:  # what follows the last of these goes with the next ones
            size = max(1, min(size, self._marks[AT_ONCE].offset - self.sent - 1))
        marks = [mark for mark in self._marks[:AT_ONCE] if mark.offset <= self.sent + size]
        numbered = (evolve(mark, number=self._sent_marks + number) for number, mark in enumerate(marks))
        return bytes(self._pending[:size]), tuple(numbered)

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
