"""Batches of events: how many are taken, what their decisions look at, and deciding them within a slice of time.

Tested by tests/metaserver/test_broker.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from buildtool.concurrency.asker import INTERNAL, Asker, hung_up
from buildtool.concurrency.inbox import Inbox
from buildtool.model.records import AuditEvent, ShelfKey
from buildtool.ports.metaserver import ArtifactFiles, BrokerStore
from buildtool.scheduling.answers import Answer
from buildtool.scheduling.decide import Decision, decide, shelves_needed
from buildtool.scheduling.effects import Effect
from buildtool.scheduling.events import ArtifactGone, AskedWhy, Event, Explain, hits_wanted, submissions
from buildtool.scheduling.state.hits import Look
from buildtool.scheduling.state.state import State

BATCH_MOST = 500
"""At most so many events share one transaction."""

BATCH_FIRST = 64
"""So many are taken for a batch at first; how many were decided in time says how many are taken for the next."""

SLICE = 0.010
"""Seconds after which a batch takes no more events, and what is told waits for the reactor's next turn."""

LOADED_AT_ONCE = 4_000
"""For how many shelves at once the database is asked: one event alone may need two thousand."""


@define(eq=False)
class QueuedEvent:
    """An event that waits, with whom it is answered to; once decided, with its decision.

    ``looks`` is what was found of hits for each of its demands, as far as that was looked for.
    """

    event: Event
    answered: Deferred[Answer] | None
    asker: Asker = INTERNAL
    decision: Decision | None = None
    looks: list[Look | None] = field(factory=list)

    @property
    def effects(self) -> Sequence[Effect | AuditEvent]:
        """What its decision asks for; nothing before it is decided."""
        return self.decision.effects if self.decision is not None else ()

    def answer(self) -> None:
        """Send the decision's answer to the event's sender."""
        if self.answered is not None and self.decision is not None:
            self.answered.callback(self.decision.answer)

    def refuse(self, problem: Exception) -> None:
        """Fail the event with ``problem``, which its sender gets."""
        if self.answered is not None:
            self.answered.errback(problem)


@define
class ReactorTurn:
    """The time since the reactor last turned, by the stopwatch, in seconds."""

    stopwatch: Callable[[], float]
    timers: IReactorTime
    since: float = 0.0

    def anew(self) -> ReactorTurn:
        """Return another one, for work of its own that begins now."""
        return ReactorTurn(self.stopwatch, self.timers, self.stopwatch())

    def turned(self) -> None:
        """Record that the reactor has just turned."""
        self.since = self.stopwatch()

    async def breathe(self) -> None:
        """Wait for a turn of the reactor if there was none for a slice."""
        if self.stopwatch() - self.since < SLICE:
            return
        turned: Deferred[None] = Deferred()
        self.timers.callLater(0, turned.callback, None)
        await turned
        self.turned()


@define
class BatchDecider:
    """The part that takes events from the inbox, loads what their decisions look at, and decides them.

    How many are taken follows from how many were decided in time. ``believed`` returns the wall time as it would be
    without a step of the clock that was not taken in yet.
    """

    state: State
    store: BrokerStore
    artifacts: ArtifactFiles
    inbox: Inbox[QueuedEvent]
    turn: ReactorTurn
    believed: Callable[[], float]
    room: int = field(default=BATCH_FIRST, init=False)
    _looked_for: set[tuple[str, int]] = field(factory=set, init=False)
    _absent: frozenset[tuple[str, int]] = field(default=frozenset(), init=False)

    def take(self) -> list[QueuedEvent]:
        """Return the events of the next batch."""
        return [self.inbox.take() for _ in range(min(self.room, len(self.inbox)))]

    def put_back(self, entries: Sequence[QueuedEvent]) -> None:
        """Put back events that were taken for a batch for which they are too many: they are next."""
        for entry in reversed(entries):
            self.inbox.put(entry, entry.asker, first=True)

    async def prepare(self, batch: Sequence[QueuedEvent], now: float) -> list[QueuedEvent]:
        """Load what the decisions on the first events of a batch will look at; return those, the others wait on.

        A question is dropped if its asker has left.
        """
        missing: dict[ShelfKey, None] = {}
        clients: list[str] = []
        taken: list[QueuedEvent] = []
        rest: Sequence[QueuedEvent] = ()
        began = self.turn.stopwatch()
        for count, entry in enumerate(batch):
            if taken and (self.turn.stopwatch() - began >= SLICE or len(missing) >= LOADED_AT_ONCE):
                rest = batch[count:]
                break
            if entry.asker.gone and isinstance(entry.event, Explain | AskedWhy):
                entry.refuse(hung_up())
                continue
            taken.append(entry)
            missing |= dict.fromkeys(self._unloaded(entry.event))
            clients += [one.client_id for one in submissions(entry.event) if one.client_id not in self.state.seen]
        if missing or clients:
            # Failures that a step of the clock is about to shift are remembered still.
            shelves, known = await self.store.known(missing, clients, min(now, self.believed()))
            self.turn.turned()
            for key, shelf in shelves.items():
                self.state.shelves.stock(key, shelf)
            self.state.seen.update(known)
        looked = await self._look(taken)
        self.put_back([*taken[looked:], *rest])
        return taken[:looked]

    async def _look(self, batch: Sequence[QueuedEvent]) -> int:
        """Ask, in one question, which of the files are there that the first events may be answered with.

        Return for how many events it was asked.
        """
        self._looked_for = set()
        began = self.turn.stopwatch()
        looked = 0
        for entry in batch:
            looked += 1
            entry.looks = []
            for demand in hits_wanted(entry.event):
                if (found := self.state.hits.find(demand)) is not None:
                    self._looked_for.add((found.digest, found.size))
                entry.looks.append(self.state.hits.last)
            if self.turn.stopwatch() - began >= SLICE:
                break
        self._absent = frozenset()
        if self._looked_for:
            self._absent = await self.artifacts.absent(self._looked_for)
            self.turn.turned()
        return looked

    def _unloaded(self, event: Event) -> list[ShelfKey]:
        return [key for key in shelves_needed(self.state, event) if key not in self.state.shelves.kept]

    def decide(self, batch: Sequence[QueuedEvent], now: float) -> tuple[list[QueuedEvent], int]:
        """Decide events until that has taken long enough; return what was decided, and how many of the batch.

        The others wait on. Before an event that may be answered with an artifact it is told which files are gone.
        """
        decided: list[QueuedEvent] = []
        began = before = self.turn.stopwatch()
        for count, entry in enumerate(batch):
            gone, sure = self._without_files(entry, now)
            decided += gone
            if not sure or (entry.looks and self._unloaded(entry.event)):
                # Of what was withdrawn in this batch there are older ones, which have to be read or looked for first.
                self.put_back(batch[count:])
                return decided, count
            entry.decision = decide(self.state, entry.event, now)
            decided.append(entry)
            after = self.turn.stopwatch()
            self.inbox.charge(entry.asker, after - before)
            before = after
            if after - began >= SLICE:
                self.room = max(1, 2 * count)
                self.put_back(batch[count + 1 :])
                return decided, count + 1
        if len(batch) == self.room:
            self.room = min(BATCH_MOST, 2 * self.room)
        return decided, len(batch)

    def _without_files(self, entry: QueuedEvent, now: float) -> tuple[list[QueuedEvent], bool]:
        """Give up the artifacts that an event would be answered with although their files are absent.

        Return these decisions, and whether it is known of what it is answered with instead that its file is there.
        """
        gone: list[QueuedEvent] = []
        sure = True
        for demand, look in zip(hits_wanted(entry.event), entry.looks, strict=True):
            self.state.hits.last = look  # what was found when the files were looked for, if nothing has changed since
            while (found := self.state.hits.find(demand)) is not None:
                file = (found.digest, found.size)
                if file not in self._absent:
                    sure = sure and file in self._looked_for
                    break
                withdrawn = QueuedEvent(ArtifactGone(found, "its file is absent or has another size"), None)
                withdrawn.decision = decide(self.state, withdrawn.event, now)
                gone.append(withdrawn)
        return gone, sure
