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

from buildtool.asker import NOBODY, Asker, asker, hung_up, working_for
from buildtool.domain.admission import find_hit
from buildtool.domain.messages import (
    Answer,
    ArtifactGone,
    AskedWhy,
    ClockStepped,
    Effect,
    Event,
    Explain,
    Happened,
    Reconfigured,
    RequestMoved,
    Restarted,
    Tick,
    hits_wanted,
    submissions,
)
from buildtool.domain.model import Attempt, AttemptEnd, AttemptState, Beat, BuildState, Policy, RequestState, ShelfKey
from buildtool.domain.scheduler import Decision, decide, next_wake, shelves_needed
from buildtool.domain.state import Row, Seen, State
from buildtool.errors import NOTHING_ACCEPTED, BuildToolError, ConflictingRow, InternalError, StorageUnavailable
from buildtool.inbox import Inbox
from buildtool.ports import ArtifactFiles, BrokerStore, Clock

BATCH_MOST = 500
"""At most so many events share one transaction."""

BATCH_FIRST = 64
"""So many are taken for a batch at first; how many were decided in time says how many are taken for the next."""

SLICE = 0.010
"""Seconds after which a batch takes no more events, and what is told waits for the reactor's next turn."""

LOADED_AT_ONCE = 4_000
"""For how many shelves at once the database is asked: one event alone may need two thousand."""

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
    """Does what decisions ask for."""

    def perform(self, effect: Effect) -> None:
        """Do one act. It must not raise for anything that a peer can cause."""

    def attempt_ended(self, attempt: Attempt) -> None:
        """Tidy up after an Attempt: its log is complete, what it uploaded in vain can go."""


@define(eq=False)
class _Entry:
    event: Event
    answered: Deferred[Answer] | None
    asker: Asker = NOBODY
    decision: Decision | None = None

    def answer(self) -> None:
        if self.answered is not None and self.decision is not None:
            self.answered.callback(self.decision.answer)

    def refuse(self, problem: Exception) -> None:
        if self.answered is not None:
            self.answered.errback(problem)


@define
class Broker:
    """Owns the State; everybody else sends it events and reads what is committed.

    ``stopwatch`` reads in seconds how time passes while something is done; the timers' by default.
    """

    state: State
    store: BrokerStore
    clock: Clock
    timers: IReactorTime
    artifacts: ArtifactFiles
    performer: Performer
    stopwatch: Callable[[], float] = field()
    _inbox: Inbox[_Entry] = field(init=False)
    _room: int = field(default=BATCH_FIRST, init=False)
    _turned: float = field(default=0.0, init=False)
    _busy: bool = field(default=False, init=False)
    _resting: list[Deferred[None]] = field(factory=list, init=False)
    _wake: IDelayedCall | None = field(default=None, init=False)
    _trouble: str = field(default="", init=False)
    _in_doubt: bool = field(default=False, init=False)
    _doubtful: tuple[float, float] | None = field(default=None, init=False)
    _untold: list[RequestMoved] = field(factory=list, init=False)
    _apart: float = field(default=0.0, init=False)
    _stopped: bool = field(default=False, init=False)
    _policies: dict[str, Policy] | None = field(default=None, init=False)
    _unsettled: bool = field(default=False, init=False)

    @stopwatch.default
    def _timers(self) -> Callable[[], float]:
        return self.timers.seconds

    @_inbox.default
    def _empty(self) -> Inbox[_Entry]:
        return Inbox(self.timers.seconds)

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
        self.state.numbers_from(snapshot.next_request, snapshot.next_build, snapshot.next_artifact)
        self.state.beat = snapshot.beat
        doubtful, self._doubtful = self._doubtful, None
        stepped = doubtful is not None and doubtful[0] == snapshot.beat
        if doubtful is not None and stepped:
            self._apart += doubtful[1]
        # By the clock as it was believed so far: a step that was not taken in yet shifts them afterwards.
        self.state.fresh_leases(self._believed())
        return stepped

    def _believed(self) -> float:
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
            waiting: Deferred[None] = Deferred()
            self._resting.append(waiting)
            await waiting

    async def reconfigure(self, policies: Mapping[str, Policy]) -> None:
        """Take other policies between two batches, and give out what can be built with them.

        Raises StorageUnavailable where that cannot be committed yet: it is as soon as anything can be.
        """
        self._policies = dict(policies)
        await self.send(Tick())

    async def send(self, event: Event) -> Answer:
        """Return the answer to ``event`` once it is committed. Raises StorageUnavailable, InternalError."""
        if self._stopped:
            raise StorageUnavailable(STOPPING)
        answered: Deferred[Answer] = Deferred()
        entry = _Entry(event, answered, asker())
        self._inbox.put(entry, entry.asker)
        if not self._busy:
            self._busy = True
            with working_for(NOBODY):
                Deferred.fromCoroutine(self._pump())
        return await answered

    async def _pump(self) -> None:
        self._turned = self.stopwatch()
        try:
            while self._inbox and not self._stopped:
                self._notice_step()
                self._take_policies()
                await self._take([self._inbox.take() for _ in range(min(self._room, len(self._inbox)))])
                await self._breathe()
            while self._inbox:  # it stops
                self._inbox.take().refuse(StorageUnavailable(STOPPING))
            self._set_alarm()
        finally:
            self._busy = False
        resting, self._resting = self._resting, []
        for waiting in resting:
            waiting.callback(None)

    async def breathe(self, since: float) -> float:
        """Let the reactor turn if it has not ``since`` for a while, by the stopwatch; return since when it has not."""
        if self.stopwatch() - since < SLICE:
            return since
        turned: Deferred[None] = Deferred()
        self.timers.callLater(0, turned.callback, None)
        await turned
        return self.stopwatch()

    def charge(self, by: Asker, seconds: float) -> None:
        """Note what was done for a peer besides deciding what it sent: its next event waits the longer for that."""
        self._inbox.charge(by, seconds)

    async def _breathe(self) -> None:
        self._turned = await self.breathe(self._turned)

    def _put_back(self, entries: Sequence[_Entry]) -> None:
        """Let events wait on that were taken for a batch for which they are too many."""
        for entry in reversed(entries):
            self._inbox.put(entry, entry.asker, first=True)

    def _notice_step(self) -> None:
        """Put first that the clock was set, if it was: whatever waits for a time is not to wait longer or shorter."""
        apart = self.clock.wall() - self.timers.seconds()
        stepped = apart - self._apart
        if abs(stepped) >= STEP:
            log.warn("the clock of this machine was set by {by:+.0f} s", by=stepped)
            self._inbox.put(_Entry(ClockStepped(stepped), None), NOBODY, first=True)

    def _take_policies(self) -> None:
        """Take other policies if there are any, and put first what follows from them until that is committed."""
        if self._policies is not None:
            self.state.reconfigure(self._policies)
            self._policies, self._unsettled = None, True
        if self._unsettled:
            self._inbox.put(_Entry(Reconfigured(), None), NOBODY, first=True)

    async def _take(self, batch: list[_Entry]) -> None:
        now = self.clock.wall()
        try:
            if self._in_doubt:
                if await self._rebuild():
                    batch = [entry for entry in batch if not isinstance(entry.event, ClockStepped)]
                self._in_doubt = False
                self._tell_late()
            batch = await self._prepare(batch, now)
            entries, count = self._decide(batch, now)
            batch = batch[:count]
            happened = _happened(entries)
            rows = self.state.changes()
            if self._trouble:  # so that whatever comes next, a sweep too, finds out whether it is over
                happened.append(Happened("storage-back", "metaserver", self._trouble))
            if rows or happened:
                await self._commit(entries, rows, happened, now)
                self._is_troubled("")
        except ConflictingRow as error:
            self.state.rollback()
            log.warn("a batch of {count} events was refused: {error}", count=len(batch), error=error)
            await self._take_alone(batch)
        except BuildToolError as error:
            self.state.rollback()
            self._is_troubled(f"nothing can be committed: {error}")
            for entry in batch:
                entry.refuse(StorageUnavailable(f"{NOTHING_ACCEPTED}: {error}"))
        except Exception:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            log.failure("a batch of {count} events failed", count=len(batch))
            await self._start_over(batch)
        else:
            self.state.committed()
            await self._tell(entries, rows)

    def _is_troubled(self, trouble: str) -> None:
        """Note what keeps the broker from its work, or "", and log it once however many events meet it."""
        if trouble != self._trouble:
            if trouble:
                log.error("{trouble}", trouble=trouble)
            else:
                log.info("what is decided can be committed again")
        self._trouble = trouble

    async def _commit(
        self, entries: list[_Entry], rows: Sequence[Row], happened: Sequence[Happened], now: float
    ) -> None:
        """Commit, or raise and have the database read anew before anything else is decided.

        What fails may have taken effect all the same (the disk said no after it had written), and then memory is not
        what the database says.
        """
        try:
            await self.store.commit(rows, happened, now)
            self._turned = self.stopwatch()
        except StorageUnavailable:
            self._in_doubt = True
            beats = [row.at for row in rows if isinstance(row, Beat)]
            steps = [entry.event.seconds for entry in entries if isinstance(entry.event, ClockStepped)]
            self._doubtful = (beats[0], sum(steps)) if beats and steps else None
            self._untold = [
                effect
                for entry in entries
                for effect in (entry.decision.effects if entry.decision is not None else ())
                if isinstance(effect, RequestMoved) and effect.request.state is not RequestState.WAITING
            ]
            raise

    def _tell_late(self) -> None:
        """Tell those who follow a Request that it has ended, if the commit of which nobody knew took effect.

        Whatever else it asked for is repeated: an abort by the answer to a heartbeat, an order after its Lease.
        """
        untold, self._untold = self._untold, []
        for effect in untold:
            if effect.request.id not in self.state.requests:
                self._guarded(self.performer.perform, effect)

    async def _take_alone(self, batch: list[_Entry]) -> None:
        """Retry the events of a failed batch one by one; one that fails alone is answered."""
        if len(batch) == 1:
            batch[0].refuse(InternalError("the metaserver could not take this in; its log has the details"))
            return
        for entry in batch:
            await self._take([_Entry(entry.event, entry.answered)])

    async def _start_over(self, batch: list[_Entry]) -> None:
        """A decision failed half-way: believe the database and not the memory, then retry what was in the batch."""
        try:
            await self._rebuild()
        except BuildToolError as error:
            self._is_troubled(f"nothing can be read: {error}")
            for entry in batch:
                entry.refuse(StorageUnavailable(f"{NOTHING_ACCEPTED}: {error}"))
            return
        await self._take_alone(batch)

    async def _prepare(self, batch: Sequence[_Entry], now: float) -> list[_Entry]:
        """Load what the decisions on the first events of a batch will look at; return those, the others wait on.

        A question is dropped if whoever asked has hung up.
        """
        missing: dict[ShelfKey, None] = {}
        clients: list[str] = []
        taken: list[_Entry] = []
        began = self.stopwatch()
        for count, entry in enumerate(batch):
            if taken and (self.stopwatch() - began >= SLICE or len(missing) >= LOADED_AT_ONCE):
                self._put_back(batch[count:])
                break
            if entry.asker.gone and isinstance(entry.event, Explain | AskedWhy):
                entry.refuse(hung_up())
                continue
            taken.append(entry)
            missing |= dict.fromkeys(self._unloaded(entry.event))
            clients += [one.client_id for one in submissions(entry.event) if one.client_id not in self.state.seen]
        if missing or clients:
            # Failures that a step of the clock is about to shift are remembered still.
            shelves, known = await self.store.known(missing, clients, min(now, self._believed()))
            self._turned = self.stopwatch()
            for key, shelf in shelves.items():
                self.state.stock(key, shelf)
            for client_id, answered in known.items():
                self.state.seen[client_id] = Seen(answered.request_id, answered.body_digest, answered.answer)
        return taken

    def _unloaded(self, event: Event) -> list[ShelfKey]:
        return [key for key in shelves_needed(self.state, event) if key not in self.state.shelves]

    def _decide(self, batch: Sequence[_Entry], now: float) -> tuple[list[_Entry], int]:
        """Decide events until that has taken long enough; return what was decided, and how many of the batch.

        The others wait on. Before an event that may be answered with an artifact it is told which files are gone.
        """
        decided: list[_Entry] = []
        began = before = self.stopwatch()
        for count, entry in enumerate(batch):
            decided += self._without_files(entry.event, now)
            if hits_wanted(entry.event) and self._unloaded(entry.event):
                # Of what was withdrawn in this batch there are older ones, which have to be read first.
                self._put_back(batch[count:])
                return decided, count
            entry.decision = decide(self.state, entry.event, now)
            decided.append(entry)
            after = self.stopwatch()
            self._inbox.charge(entry.asker, after - before)
            before = after
            if after - began >= SLICE:
                self._room = max(1, 2 * count)
                self._put_back(batch[count + 1 :])
                return decided, count + 1
        if len(batch) == self._room:
            self._room = min(BATCH_MOST, 2 * self._room)
        return decided, len(batch)

    def _without_files(self, event: Event, now: float) -> list[_Entry]:
        """Give up the artifacts that an event would be answered with although their files are absent.

        The disk is asked about no others: for each demand one, as a rule.
        """
        gone: list[_Entry] = []
        for demand in hits_wanted(event):
            while (found := find_hit(self.state, demand)) is not None:
                if self.artifacts.present(found.digest, found.size):
                    break
                entry = _Entry(ArtifactGone(found, "its file is absent or has another size"), None)
                entry.decision = decide(self.state, entry.event, now)
                gone.append(entry)
        return gone

    async def _tell(self, entries: list[_Entry], rows: Sequence[Row]) -> None:
        """Answer first: a login has to know its Session before the first order for it arrives."""
        for entry in entries:
            if isinstance(entry.event, ClockStepped):
                self._apart += entry.event.seconds
            elif isinstance(entry.event, Reconfigured):
                self._unsettled = False
            before = self.stopwatch()
            entry.answer()
            after = self.stopwatch()
            self._inbox.charge(entry.asker, after - before)
            if after - self._turned >= SLICE:
                await self._breathe()
        for entry in entries:
            acts = [one for one in entry.decision.effects if not isinstance(one, Happened)] if entry.decision else ()
            for effect in acts:
                self._guarded(self.performer.perform, effect)
            if acts and self.stopwatch() - self._turned >= SLICE:
                await self._breathe()
        for row in rows:
            if isinstance(row, Attempt) and row.state is AttemptState.ENDED:
                self._guarded(self.performer.attempt_ended, row)
                await self._breathe()

    @staticmethod
    def _guarded(act: Callable[..., None], argument: object) -> None:
        try:
            act(argument)
        except Exception:  # noqa: BLE001 - one act that fails must not keep the others from being done
            log.failure("an act failed: {what}", what=type(argument).__name__)

    def _set_alarm(self) -> None:
        """Wake at the next timer, or after ``SWEEP`` at the latest."""
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        if self._stopped:
            return
        now = self.clock.wall()
        when = next_wake(self.state, now)
        delay = SWEEP if when is None else min(SWEEP, max(0.0, when - now))
        if self._trouble:
            delay = RETRY
        self._wake = self.timers.callLater(delay, self._sweep)

    def _sweep(self) -> None:
        def failed(failure: object) -> None:
            log.warn("the sweep is put off: {failure}", failure=failure)

        Deferred.fromCoroutine(self.send(Tick())).addErrback(failed)


def _happened(entries: Sequence[_Entry]) -> list[Happened]:
    return [
        effect
        for entry in entries
        for effect in (entry.decision.effects if entry.decision is not None else ())
        if isinstance(effect, Happened)
    ]


def wasted(attempt: Attempt) -> bool:
    """Say whether what an ended Attempt uploaded, if anything, is of no use."""
    return attempt.end is not AttemptEnd.SUCCEEDED
