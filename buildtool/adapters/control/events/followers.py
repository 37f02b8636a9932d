"""Pages that follow events: each is told what was committed, in small batches in which a subject stands once.

What is kept for one is bounded, and nothing is sent before it has taken what was sent last: one that is slow hears of
more at once, or that everything may have changed, and costs no more than one that is quick.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.errors import BuildToolError
from buildtool.model.records import AuditEvent
from buildtool.protocol.news import NOTES_MOST, EventNote, EventNotes

GATHER = 0.2
"""Seconds for which events are gathered after something was sent; the first one after that is sent at once."""

SIGN_OF_LIFE = 3.0
"""Seconds without an event after which it is sent that there was none."""

Hear = Callable[[EventNotes], Awaitable[object]]
"""Takes a batch; what it returns fires when the next one may come, or fails where none is wanted any more."""

log = Logger()


@define(eq=False)
class EventFollower:
    """One that is told of events by ``hear``, from those after ``told`` on.

    ``left`` is called when it no longer is. ``quiet`` is after how many seconds without an event it is sent that.
    """

    clock: IReactorTime
    hear: Hear
    told: int
    left: Callable[[], None]
    quiet: float = SIGN_OF_LIFE
    last: int = field(init=False)
    _kept: dict[str, EventNote] = field(factory=dict, init=False)
    _whole: bool = field(default=True, init=False)
    _sending: bool = field(default=False, init=False)
    _sent_at: float = field(default=float("-inf"), init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _gone: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.last = self.told
        self._wake(self.quiet)

    def take(self, first: int, events: Sequence[AuditEvent]) -> None:
        """Keep what was committed: events with the numbers from ``first`` on."""
        self._whole = self._whole and first == self.last + 1
        self.last = first + len(events) - 1
        for seq, event in enumerate(events, first):
            self._kept.pop(event.subject, None)  # so that they stay in the order of their numbers
            self._kept[event.subject] = EventNote(seq, event.kind, event.subject)
        if len(self._kept) > NOTES_MOST or not self._whole:
            self._whole = False
            self._kept.clear()
        if not self._sending:
            self._wake(max(0.0, self._sent_at + GATHER - self.clock.seconds()))

    def leave(self) -> None:
        """Send nothing more; a second time does nothing."""
        if not self._gone:
            self._gone = True
            self._rest()
            self.left()

    def _wake(self, seconds: float) -> None:
        """Send in so many seconds, unless that is to happen sooner."""
        if self._gone:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self.clock.seconds() + seconds:
                return
            self._timer.cancel()
        self._timer = self.clock.callLater(seconds, self._send)

    def _rest(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _send(self) -> None:
        self._sending = True
        batch = EventNotes(self.told, self.last, tuple(self._kept.values()), self._whole)
        self.told, self._whole = self.last, True
        self._kept.clear()
        Deferred.fromCoroutine(self._hand(batch)).addErrback(self._failed)

    async def _hand(self, batch: EventNotes) -> None:
        await self.hear(batch)
        self._sending, self._sent_at = False, self.clock.seconds()
        self._wake(GATHER if self.last > self.told else self.quiet)

    def _failed(self, failure: Failure) -> None:
        if failure.check(BuildToolError):
            log.info("pages are not told of events any more: {why}", why=failure.getErrorMessage())
        else:
            log.failure("pages are not told of events any more", failure)
        self.leave()


class EventFollowers:
    """All that follow events. ``last`` is the number of the newest event that is committed, as far as it is known."""

    def __init__(self, clock: IReactorTime, quiet: float = SIGN_OF_LIFE) -> None:
        """``quiet`` is after how many seconds without an event it is sent that there was none."""
        self._clock = clock
        self._quiet = quiet
        self._followers: list[EventFollower] = []
        self.last = 0

    def __len__(self) -> int:
        return len(self._followers)

    def committed(self, newest: int, events: Sequence[AuditEvent]) -> None:
        """Send followers events that are committed, of which the last has the number ``newest``."""
        self.last = newest
        for follower in tuple(self._followers):
            follower.take(newest - len(events) + 1, events)

    def join(self, hear: Hear, left: Callable[[], None] = lambda: None) -> EventFollower:
        """Return a follower that is told of all events from now on."""

        def gone() -> None:
            self._followers.remove(follower)
            left()

        follower = EventFollower(self._clock, hear, self.last, gone, self._quiet)
        self._followers.append(follower)
        return follower
