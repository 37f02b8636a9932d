"""What is live in a process of the pages: since when the metaserver answers or does not, what changed, who listens.

There is one subscription to the metaserver however many browsers look. What it tells becomes changes by topics, of
which the last are kept, so that a browser whose connection was cut catches up. Whatever is kept or told is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildtool.errors import BuildToolError
from buildtool.ports.common import Clock
from buildtool.ports.pages import EventFeed, EventLine, News
from buildtool.protocol.news import EventNote, EventNotes

from .places import StreamPlaces
from .topics import PageChange, Subjects, change_of, merged, subjects_of

KEPT = 256
"""How many changes are kept for whoever catches up."""

BEHIND_MOST = 1_000
"""Most events that are read when some were missed; where it is more, everything may have changed."""

GRACE = 4.0
"""Seconds after the start for which it is not told that the metaserver does not answer."""

BEAT = 4.0
"""Seconds between two signs of life to browsers, and two looks into the database while the metaserver is silent."""

STREAMS = 100
"""How many browsers may listen at once, unless a program says otherwise."""

log = Logger()


class Listener(Protocol):
    """A browser, as the hub tells it. It may be called at any time, and does not fail."""

    def changed(self, change: PageChange) -> None:
        """Take that something changed."""

    def beat(self) -> None:
        """Take a sign of life: how the metaserver stands may have changed."""

    def doubted(self, names: Collection[str] | None) -> None:
        """Take that something happened to what has these names, people among them; to anything where it is None."""


class Silence(Protocol):
    """The knowledge since when the metaserver does not answer, as pages say it."""

    @property
    def away_since(self) -> float | None:
        """The last moment of which anything is known, in wall time, or None while the metaserver answers."""

    @property
    def follows(self) -> bool:
        """Whether what happens is followed, so that pages can be live."""

    @property
    def last(self) -> int:
        """The number of the newest event that is known, 0 for none."""


class Answering:
    """The ``Silence`` of pages that have no metaserver to ask: ``away_since`` is no time."""

    away_since: float | None = None
    follows: bool = False
    last: int = 0


@define
class LastMoment:
    """The ``Clock`` of pages: it stands still at the last moment of which anything is known."""

    clock: Clock
    silence: Silence

    def wall(self) -> float:
        """Return the moment that a page tells of, in wall time."""
        since = self.silence.away_since
        return self.clock.wall() if since is None else since


@define(eq=False)
class LiveHub:
    """All that is live in one process; it implements ``ports.EventListener`` and ``Silence``.

    ``last`` is the number of the newest event that was told, ``away_since`` is wall time in seconds.
    """

    news: News
    clock: Clock
    timers: IReactorTime
    places: StreamPlaces = field(factory=lambda: StreamPlaces(STREAMS))
    follows: bool = field(default=True, init=False)
    last: int = field(default=0, init=False)
    away_since: float | None = field(default=None, init=False)
    listeners: dict[Listener, None] = field(factory=dict, init=False)
    _kept: deque[PageChange] = field(factory=deque, init=False)
    _from: int = field(default=0, init=False)
    _heard_at: float = field(default=0.0, init=False)
    _begun_at: float = field(default=0.0, init=False)
    _there: bool = field(default=False, init=False)
    _waiting: list[EventNote] = field(factory=list, init=False)
    _upto: int = field(default=0, init=False)
    _everything: bool = field(default=False, init=False)
    _busy: bool = field(default=False, init=False)
    _feed: EventFeed | None = field(default=None, init=False)
    _beats: LoopingCall | None = field(default=None, init=False)

    def start(self, feed: EventFeed) -> None:
        """Start to follow what happens."""
        self._feed, self._begun_at = feed, self.timers.seconds()
        self._beats = LoopingCall(self._beat)
        self._beats.clock = self.timers
        self._beats.start(BEAT, now=False)
        feed.start(self)

    async def stop(self) -> None:
        """Stop following."""
        if self._beats is not None and self._beats.running:
            self._beats.stop()
        if self._feed is not None:
            await self._feed.stop()

    # --- what the metaserver tells ------------------------------------------------------------------------

    def began(self, last: int) -> None:
        """Take that the metaserver answers, and its newest event (0 where it does not say): what was missed is read."""
        self._hear()
        if last and not self._upto:
            self.last = self._upto = self._from = last
        elif last != self._upto or not last:
            Deferred.fromCoroutine(self._catch_up(last)).addErrback(_defect)

    def told(self, batch: EventNotes) -> None:
        """Take what happened."""
        self._hear()
        if batch.last == self._upto:
            return
        if batch.after != self._upto or not batch.whole:
            self._everything = True
        self._take(batch.notes, batch.last)

    def lost(self) -> None:
        """Take that the metaserver does not answer: what is known is from when it last did."""
        self._there = False
        if self.away_since is None and self._heard_at:
            self.away_since = self._heard_at
            self._tell_beat()

    def _hear(self) -> None:
        self._there, self._heard_at = True, self.clock.wall()
        if self.away_since is not None:
            self.away_since = None
            self._tell_beat()

    def _take(self, notes: Sequence[EventNote], last: int) -> None:
        """Keep what events are about until it was found out what that is; what comes meanwhile goes with it."""
        self._waiting += notes
        self._upto = last
        if len(self._waiting) > 2 * BEHIND_MOST:
            self._everything = True
        if self._everything:
            self._waiting.clear()
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._work()).addErrback(_defect)

    async def _work(self) -> None:
        try:
            while self._upto != self.last:
                notes, self._waiting = self._waiting, []
                everything, self._everything = self._everything, False
                upto = self._upto
                change = PageChange(upto, reset=True) if everything else await self._change(upto, subjects_of(notes))
                self.last = upto
                self._keep(change)
                names = None if change.reset else frozenset(note.subject for note in notes)
                for listener in tuple(self.listeners):
                    listener.changed(change)
                    listener.doubted(names)
        finally:
            self._busy = False

    def _keep(self, change: PageChange) -> None:
        if change.reset:
            self._kept.clear()
            self._from = change.seq
            return
        if len(self._kept) == KEPT:
            self._from = self._kept.popleft().seq
        self._kept.append(change)

    async def _change(self, seq: int, subjects: Subjects) -> PageChange:
        """Return what a batch changes; everything where that cannot be found out."""
        if subjects.many or not (subjects.builds or subjects.requests or subjects.artifacts):
            return change_of(seq, subjects, ())
        try:
            found = await self.news.concerned(subjects.builds, subjects.requests, subjects.artifacts)
        except BuildToolError as error:
            log.warn("it is not known what changed: {error}", error=error)
            return PageChange(seq, reset=True)
        return change_of(seq, subjects, found)

    async def _catch_up(self, last: int) -> None:
        """Read the events that were missed, up to ``last`` or the newest."""
        after, lines = self._upto, list[EventLine]()
        try:
            newest = last or (await self.news.newest())[0]
            if after and newest > after:
                lines = [one for one in await self.news.since(after, BEHIND_MOST) if one.seq <= newest]
        except BuildToolError as error:
            log.warn("it is not known what was missed: {error}", error=error)
            newest = last
        if self._upto != after or newest == after:
            return  # it was told meanwhile, or there is nothing
        if not after:
            self.last = self._upto = self._from = newest
            return
        whole = bool(lines) and lines[0].seq == after + 1 and lines[-1].seq == newest
        self._everything = self._everything or not whole
        self._take([EventNote(one.seq, one.kind, one.subject) for one in lines], newest)

    # --- browsers -------------------------------------------------------------------------------------------

    def after(self, seq: int) -> PageChange | None:
        """Return what changed after an event, as one change; None where nothing did."""
        if seq == self.last:
            return None
        if self._from <= seq < self.last:
            return merged([one for one in self._kept if one.seq > seq])
        return PageChange(self.last, reset=True)

    def _beat(self) -> None:
        if not self._there:
            Deferred.fromCoroutine(self._look()).addErrback(_defect)
        self._tell_beat()

    async def _look(self) -> None:
        """Read in the database when the metaserver was last there: it may be, and only not answer here."""
        try:
            _, beat = await self.news.newest()
        except BuildToolError:
            beat = 0.0
        if self._there:
            return
        if self.away_since is not None:
            self.away_since = max(self.away_since, beat)
        elif self.timers.seconds() - self._begun_at >= GRACE:
            self.away_since = beat or self.clock.wall()
            self._tell_beat()

    def _tell_beat(self) -> None:
        for listener in tuple(self.listeners):
            listener.beat()


def _defect(failure: object) -> None:
    log.failure("what is live in the pages failed", failure)  # type: ignore[arg-type] # an errback's
