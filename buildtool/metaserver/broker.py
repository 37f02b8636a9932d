"""One event after the other: decide, commit, answer, act.

One transaction is in flight; events that arrive meanwhile form the next batch, taken fairly by who sent them. A batch
is over when deciding has taken long enough, and whatever else there is to do is done in slices, so that the reactor
turns often. When a commit fails the state is as it was before the batch and nothing was told. An event that fails
inside a batch is retried alone, so that it spoils no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from buildtool.concurrency.asker import INTERNAL, Asker, asker, working_for
from buildtool.concurrency.inbox import Inbox
from buildtool.concurrency.signal import Signal
from buildtool.errors import NOTHING_ACCEPTED, BuildToolError, ConflictingRow, InternalError, StorageUnavailable
from buildtool.metaserver.batches import SLICE, BatchDecider, QueuedEvent, ReactorTurn
from buildtool.metaserver.showing.farm_counts import FarmCounts
from buildtool.model.farm.weights import EVEN, Weights
from buildtool.model.notices.notice import Notice
from buildtool.model.policy import Policy
from buildtool.model.records import Attempt, AttemptState, AuditEvent, Beat, BuildState, RequestState, Row
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import ArtifactFiles, BrokerStore
from buildtool.scheduling.answers import Answer
from buildtool.scheduling.effects import Effect, NoticesWritten, RequestMoved
from buildtool.scheduling.events import ClockStepped, Event, Reconfigured, Restarted, Tick
from buildtool.scheduling.state.state import State
from buildtool.scheduling.telling.notices import with_notices

SWEEP = 30.0
"""Seconds after which the broker looks at everything that waits for a time, even if no timer woke it: timers follow
the monotonic clock, and wall time may step."""

RETRY = 5.0
"""Seconds before the next sweep while the database cannot be written."""

STEP = 10.0
"""Seconds by which wall time may run away from the monotonic clock, as it does while a clock is trimmed, before the
broker believes that it was set."""

STOPPING = "the metaserver is stopping: try again in a moment"

log = Logger()


class Performer(Protocol):
    """The part that performs the effects of decisions."""

    def perform(self, effect: Effect) -> None:
        """Perform one effect. It must not raise for anything that a peer can cause."""

    def attempt_ended(self, attempt: Attempt) -> None:
        """Finish the log of an Attempt that has ended, and delete what it uploaded in vain."""


@define
class Broker:
    """The owner of the State; all others send it events and read what is committed.

    ``stopwatch`` reads in seconds how time passes while something is done; the timers' by default. ``counts`` counts
    what was committed.
    """

    state: State
    store: BrokerStore
    clock: Clock
    timers: IReactorTime
    artifacts: ArtifactFiles
    performer: Performer
    stopwatch: Callable[[], float] = field()
    counts: FarmCounts = field(factory=FarmCounts)
    _inbox: Inbox[QueuedEvent] = field(init=False)
    turn: ReactorTurn = field(init=False)
    _batches: BatchDecider = field(init=False)
    _busy: bool = field(default=False, init=False)
    _resting: Signal = field(factory=Signal, init=False)
    _wake: IDelayedCall | None = field(default=None, init=False)
    _trouble: str = field(default="", init=False)
    _in_doubt: bool = field(default=False, init=False)
    _doubtful: tuple[float, float] | None = field(default=None, init=False)
    _untold: list[RequestMoved] = field(factory=list, init=False)
    _apart: float = field(default=0.0, init=False)
    _stopped: bool = field(default=False, init=False)
    _policies: tuple[dict[str, Policy], Weights] | None = field(default=None, init=False)
    _unsettled: bool = field(default=False, init=False)

    @stopwatch.default
    def _timers(self) -> Callable[[], float]:
        return self.timers.seconds

    def __attrs_post_init__(self) -> None:
        self._inbox, self.turn = Inbox(self.timers.seconds), ReactorTurn(self.stopwatch, self.timers)
        self._batches = BatchDecider(self.state, self.store, self.artifacts, self._inbox, self.turn, self.believed)

    async def start(self) -> None:
        """Load what is open, and let every Lease begin anew. Raises StorageUnavailable."""
        self._apart = self.clock.wall() - self.timers.seconds()
        await self._rebuild()
        if self.state.builds:
            running = sum(build.state is BuildState.RUNNING for build in self.state.builds.values())
            queued = len(self.state.builds) - running
            log.info("taken over: builds that run: {running}, that wait: {queued}", running=running, queued=queued)
        await self.send(Restarted())

    async def _rebuild(self) -> bool:
        """Believe the database. Say whether it has a step of the clock whose commit was in doubt."""
        snapshot = await self.store.load()
        self.state.clear()
        open_builds = {build.id for build in snapshot.builds}
        self.state.load(snapshot.servers)
        self.state.load(snapshot.builds)
        self.state.load(snapshot.requests)
        self.state.load(snapshot.attempts)
        self.state.load(refusal for refusal in snapshot.refusals if refusal.build_id in open_builds)
        for artifact in snapshot.recent:
            self.state.durations.learn(artifact)
        self.state.next_numbers = {
            "request": snapshot.next_request,
            "build": snapshot.next_build,
            "artifact": snapshot.next_artifact,
        }
        self.state.beat = snapshot.beat
        doubtful, self._doubtful = self._doubtful, None
        stepped = doubtful is not None and doubtful[0] == snapshot.beat
        if doubtful is not None and stepped:
            self._apart += doubtful[1]
        # By the clock as it was believed so far: a step that was not taken in yet shifts them afterwards.
        self.state.leases.start(self.believed())
        return stepped

    def believed(self) -> float:
        """Return the wall time as it would be without a step that was not taken in yet."""
        return self._apart + self.timers.seconds()

    def problems(self) -> tuple[str, ...]:
        """Return what keeps the broker from taking anything in; it implements ``ports.Conditions``."""
        return (self._trouble,) if self._trouble else ()

    async def stop(self) -> None:
        """Take no more events, refuse those that wait, and wait for the batch in flight."""
        self._stopped = True
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        while self._busy:
            await self._resting.wait()

    async def reconfigure(self, policies: Mapping[str, Policy], weights: Weights = EVEN) -> None:
        """Take other policies between two batches, and give out what can be built with them.

        Raises StorageUnavailable where that cannot be committed yet: it is as soon as anything can be.
        """
        self._policies = dict(policies), weights
        await self.send(Tick())

    async def send(self, event: Event) -> Answer:
        """Return the answer to ``event`` once it is committed. Raises StorageUnavailable, InternalError."""
        if self._stopped:
            raise StorageUnavailable(STOPPING)
        answered: Deferred[Answer] = Deferred()
        entry = QueuedEvent(event, answered, asker())
        self._inbox.put(entry, entry.asker)
        if not self._busy:
            self._busy = True
            with working_for(INTERNAL):
                Deferred.fromCoroutine(self._pump())
        return await answered

    async def _pump(self) -> None:
        self.turn.turned()
        try:
            while self._inbox and not self._stopped:
                self._put_own_first()
                await self._take(self._batches.take())
                await self.turn.breathe()
            while self._inbox:  # it stops
                self._inbox.take().refuse(StorageUnavailable(STOPPING))
            self._set_alarm()
        finally:
            self._busy = False
        self._resting.notify()

    def charge(self, by: Asker, seconds: float) -> None:
        """Record what was done for a peer besides deciding what it sent: its next event waits the longer for that."""
        self._inbox.charge(by, seconds)

    def _put_own_first(self) -> None:
        """Put first that the clock was set, or other policies taken, until what follows from that is committed.

        Whatever waits for a time is not to wait longer or shorter.
        """
        apart = self.clock.wall() - self.timers.seconds()
        stepped = apart - self._apart
        if abs(stepped) >= STEP:
            log.warn("the clock of this machine was set by {by:+.0f} s", by=stepped)
            self._inbox.put(QueuedEvent(ClockStepped(stepped), None), INTERNAL, first=True)
        if self._policies is not None:
            self.state.reconfigure(*self._policies)
            self._policies, self._unsettled = None, True
        if self._unsettled:
            self._inbox.put(QueuedEvent(Reconfigured(), None), INTERNAL, first=True)

    async def _take(self, batch: list[QueuedEvent]) -> None:
        now = self.clock.wall()
        try:
            if self._in_doubt:
                if await self._rebuild():
                    batch = [entry for entry in batch if not isinstance(entry.event, ClockStepped)]
                self._in_doubt = False
                self._tell_late()
            batch = await self._batches.prepare(batch, now)
            entries, count = self._batches.decide(batch, now)
            batch = batch[:count]
            happened = [one for entry in entries for one in entry.effects if isinstance(one, AuditEvent)]
            rows = with_notices(self.state, self.state.journal.rows(), now)
            if self._trouble:  # so that whatever comes next, a sweep too, finds out whether it is over
                happened.append(AuditEvent("storage-back", "metaserver", self._trouble))
            took: float | None = None
            if rows or happened:
                began = self.turn.stopwatch()
                await self._commit(entries, rows, happened, now)
                took = self.turn.stopwatch() - began
                self._is_troubled("")
        except ConflictingRow as error:
            self.state.journal.rollback()
            log.warn("a batch of {count} events was refused: {error}", count=len(batch), error=error)
            await self._take_alone(batch)
        except StorageUnavailable as error:
            self.state.journal.rollback()
            self._is_troubled(f"nothing can be committed: {error}")
            for entry in batch:
                entry.refuse(StorageUnavailable(f"{NOTHING_ACCEPTED}: {error}"))
        except Exception:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            log.failure("a batch of {count} events failed", count=len(batch))
            await self._start_over(batch)
        else:
            self.state.committed()
            await self._tell(entries, rows)
            self.counts.committed(entries, rows, took)  # last: nobody waits for it

    def _is_troubled(self, trouble: str) -> None:
        """Note what keeps the broker from its work, or "", and log it once however many events meet it."""
        if trouble != self._trouble:
            if trouble:
                log.error("{trouble}", trouble=trouble)
            else:
                log.info("what is decided can be committed again")
        self._trouble = trouble

    async def _commit(
        self, entries: list[QueuedEvent], rows: Sequence[Row | Notice], happened: Sequence[AuditEvent], now: float
    ) -> None:
        """Commit, or raise and have the database read anew before anything else is decided.

        What fails may have taken effect all the same (the disk said no after it had written), and then memory is not
        what the database says.
        """
        try:
            await self.store.commit(rows, happened, now)
            self.turn.turned()
        except StorageUnavailable:
            self._in_doubt = True
            self.counts.failed()
            beats = [row.at for row in rows if isinstance(row, Beat)]
            steps = [entry.event.seconds for entry in entries if isinstance(entry.event, ClockStepped)]
            self._doubtful = (beats[0], sum(steps)) if beats and steps else None
            self._untold = [
                effect
                for entry in entries
                for effect in entry.effects
                if isinstance(effect, RequestMoved) and effect.request.state is not RequestState.WAITING
            ]
            raise

    def _tell_late(self) -> None:
        """Notify followers of an ended Request after a commit whose outcome was unknown turns out to have succeeded.

        Whatever else it asked for is repeated: an abort by the answer to a heartbeat, an order after its Lease.
        """
        untold, self._untold = self._untold, []
        for effect in untold:
            if effect.request.id not in self.state.requests:
                _guarded(self.performer.perform, effect)

    async def _take_alone(self, batch: list[QueuedEvent]) -> None:
        """Retry the events of a failed batch one by one; one that fails alone is answered."""
        if len(batch) == 1:
            batch[0].refuse(InternalError("the metaserver could not take this in; its log has the details"))
            return
        for entry in batch:
            await self._take([QueuedEvent(entry.event, entry.answered)])

    async def _start_over(self, batch: list[QueuedEvent]) -> None:
        """A decision failed half-way: believe the database and not the memory, then retry what was in the batch."""
        try:
            await self._rebuild()
        except BuildToolError as error:
            self._in_doubt = True
            self.state.journal.clear()  # what is half done is never committed; it goes when the database can be read
            self._is_troubled(f"nothing can be read: {error}")
            for entry in batch:
                entry.refuse(StorageUnavailable(f"{NOTHING_ACCEPTED}: {error}"))
            return
        await self._take_alone(batch)

    async def _tell(self, entries: list[QueuedEvent], rows: Sequence[Row | Notice]) -> None:
        """Answer first: a login has to know its Session before the first order for it arrives."""
        for entry in entries:
            if isinstance(entry.event, ClockStepped):
                self._apart += entry.event.seconds
            elif isinstance(entry.event, Reconfigured):
                self._unsettled = False
            before = self.turn.stopwatch()
            entry.answer()
            after = self.turn.stopwatch()
            self._inbox.charge(entry.asker, after - before)
            if after - self.turn.since >= SLICE:
                await self.turn.breathe()
        for entry in entries:
            effects = [one for one in entry.effects if not isinstance(one, AuditEvent)]
            for effect in effects:
                _guarded(self.performer.perform, effect)
            if effects:
                await self.turn.breathe()
        _wake_tellers(self.performer, rows)
        for row in rows:
            if isinstance(row, Attempt) and row.state is AttemptState.ENDED:
                _guarded(self.performer.attempt_ended, row)
                await self.turn.breathe()

    def _set_alarm(self) -> None:
        """Wake at the next timer, or after ``SWEEP`` at the latest."""
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        if self._stopped:
            return
        now = self.clock.wall()
        when = self.state.timers.next_due(now)
        delay = SWEEP if when is None else min(SWEEP, max(0.0, when - now))
        if self._trouble:
            delay = RETRY

        def sweep() -> None:
            sweeping = Deferred.fromCoroutine(self.send(Tick()))
            sweeping.addErrback(lambda failure: log.warn("the sweep is put off: {failure}", failure=failure))

        self._wake = self.timers.callLater(delay, sweep)


def _wake_tellers(performer: Performer, rows: Sequence[Row | Notice]) -> None:
    targets = frozenset(row.target for row in rows if isinstance(row, Notice))
    if targets:
        _guarded(performer.perform, NoticesWritten(targets))


def _guarded(act: Callable[..., None], argument: object) -> None:
    try:
        act(argument)
    except Exception:  # noqa: BLE001 - one act that fails must not keep the others from being done
        log.failure("an effect failed: {what}", what=type(argument).__name__)
