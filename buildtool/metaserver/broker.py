"""One event after the other: decide, commit, answer, act.

One transaction is in flight; events that arrive meanwhile form the next batch. When a commit fails the state is as it
was before the batch and nothing was told. An event that fails inside a batch is retried alone, so that it spoils no
other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from buildtool.domain.messages import (
    Answer,
    ArtifactGone,
    ClockStepped,
    Effect,
    Event,
    Explain,
    Happened,
    Reconfigured,
    RequestMoved,
    Restarted,
    Submitted,
    SubmittedTogether,
    Tick,
    submissions,
)
from buildtool.domain.model import Attempt, AttemptEnd, AttemptState, BuildState, Policy, RequestState
from buildtool.domain.scheduler import Decision, decide, next_wake, shelves_needed
from buildtool.domain.state import Row, Seen, State
from buildtool.errors import BuildToolError, ConflictingRow, InternalError, StorageUnavailable
from buildtool.ports import ArtifactFiles, BrokerStore, Clock

BATCH_MOST = 500
"""At most so many events share one transaction."""

SWEEP = 30.0
"""Seconds after which the broker looks at everything that waits for a time, even if no timer woke it: timers follow
the monotonic clock, and wall time may step."""

RETRY = 5.0
"""Seconds before the next sweep while the database cannot be written."""

STEP = 10.0
"""Seconds by which wall time may run away from the monotonic clock, as it does while a clock is trimmed, before the
broker believes that it was set."""

log = Logger()


class Performer(Protocol):
    """Does what decisions ask for."""

    def perform(self, effect: Effect) -> None:
        """Do one act. It must not raise for anything that a peer can cause."""

    def attempt_ended(self, attempt: Attempt) -> None:
        """Tidy up after an Attempt: its log is complete, what it uploaded in vain can go."""


@define
class _Entry:
    event: Event
    answered: Deferred[Answer] | None
    decision: Decision | None = None

    def answer(self) -> None:
        if self.answered is not None and self.decision is not None:
            self.answered.callback(self.decision.answer)

    def refuse(self, problem: Exception) -> None:
        if self.answered is not None:
            self.answered.errback(problem)


@define
class Broker:
    """Owns the State; everybody else sends it events and reads what is committed."""

    state: State
    store: BrokerStore
    clock: Clock
    timers: IReactorTime
    artifacts: ArtifactFiles
    performer: Performer
    _inbox: list[_Entry] = field(factory=list, init=False)
    _busy: bool = field(default=False, init=False)
    _resting: list[Deferred[None]] = field(factory=list, init=False)
    _wake: IDelayedCall | None = field(default=None, init=False)
    _trouble: str = field(default="", init=False)
    _in_doubt: bool = field(default=False, init=False)
    _untold: list[RequestMoved] = field(factory=list, init=False)
    _apart: float = field(default=0.0, init=False)
    _stopped: bool = field(default=False, init=False)
    _policies: dict[str, Policy] | None = field(default=None, init=False)
    _unsettled: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Load what is open, and let every Lease begin anew. Raises StorageUnavailable."""
        self._apart = self.clock.wall() - self.timers.seconds()
        await self._rebuild()
        waiting = Counter(build.spec.project for build in self.state.builds.values())
        for name in sorted(waiting.keys() - self.state.policies.keys()):
            words = {"name": name, "count": waiting[name]}
            log.warn("project {name} is not configured: its open builds ({count}) wait until it is, or expire", **words)
        if self.state.builds:
            running = sum(build.state is BuildState.RUNNING for build in self.state.builds.values())
            queued = len(self.state.builds) - running
            log.info("taken over: {running} builds that run, {queued} that wait", running=running, queued=queued)
        await self.send(Restarted())

    async def _rebuild(self) -> None:
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
        # By the clock as it was believed so far: a step that was not taken in yet shifts them afterwards.
        self.state.fresh_leases(self._apart + self.timers.seconds())

    def problems(self) -> tuple[str, ...]:
        """Return what keeps the broker from taking anything in; it implements ``ports.Conditions``."""
        return (self._trouble,) if self._trouble else ()

    async def stop(self) -> None:
        """Take no more events, and wait for the batch in flight."""
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
            raise StorageUnavailable("the metaserver is stopping: try again in a moment")
        answered: Deferred[Answer] = Deferred()
        self._inbox.append(_Entry(event, answered))
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._pump())
        return await answered

    async def _pump(self) -> None:
        try:
            while self._inbox:
                self._notice_step()
                self._take_policies()
                batch, self._inbox = self._inbox[:BATCH_MOST], self._inbox[BATCH_MOST:]
                await self._take(batch)
            self._set_alarm()
        finally:
            self._busy = False
        resting, self._resting = self._resting, []
        for waiting in resting:
            waiting.callback(None)

    def _notice_step(self) -> None:
        """Put first that the clock was set, if it was: whatever waits for a time is not to wait longer or shorter."""
        apart = self.clock.wall() - self.timers.seconds()
        stepped = apart - self._apart
        if abs(stepped) >= STEP:
            log.warn("the clock of this machine was set by {by:+.0f} s", by=stepped)
            self._inbox.insert(0, _Entry(ClockStepped(stepped), None))

    def _take_policies(self) -> None:
        """Take other policies if there are any, and put first what follows from them until that is committed."""
        if self._policies is not None:
            self.state.reconfigure(self._policies)
            self._policies, self._unsettled = None, True
        if self._unsettled:
            self._inbox.insert(0, _Entry(Reconfigured(), None))

    async def _take(self, batch: list[_Entry]) -> None:
        now = self.clock.wall()
        try:
            if self._in_doubt:
                await self._rebuild()
                self._in_doubt = False
                self._tell_late()
            gone = await self._prepare(batch, now)
            entries = [*(_Entry(event, None) for event in gone), *batch]
            happened = self._decide(entries, now)
            rows = self.state.changes()
            if self._trouble:  # so that whatever comes next, a sweep too, finds out whether it is over
                happened.append(Happened("storage-back", "metaserver", self._trouble))
            if rows or happened:
                await self._commit(entries, rows, happened, now)
                self._trouble = ""
        except ConflictingRow as error:
            self.state.rollback()
            log.warn("a batch of {count} events was refused: {error}", count=len(batch), error=error)
            await self._take_alone(batch)
        except BuildToolError as error:
            self.state.rollback()
            self._trouble = f"nothing can be committed: {error}"
            log.error("nothing could be committed: {error}", error=error)
            for entry in batch:
                entry.refuse(StorageUnavailable(f"storage unavailable, nothing was accepted: {error}"))
        except Exception:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            log.failure("a batch of {count} events failed", count=len(batch))
            await self._start_over(batch)
        else:
            self.state.committed()
            self._tell(entries, rows)

    async def _commit(
        self, entries: list[_Entry], rows: Sequence[Row], happened: Sequence[Happened], now: float
    ) -> None:
        """Commit, or raise and have the database read anew before anything else is decided.

        What fails may have taken effect all the same (the disk said no after it had written), and then memory is not
        what the database says.
        """
        try:
            await self.store.commit(rows, happened, now)
        except StorageUnavailable:
            self._in_doubt = True
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
            self._trouble = f"nothing can be read: {error}"
            for entry in batch:
                entry.refuse(StorageUnavailable(f"storage unavailable, nothing was accepted: {error}"))
            return
        await self._take_alone(batch)

    async def _prepare(self, batch: Sequence[_Entry], now: float) -> list[ArtifactGone]:
        """Load what the decisions will look at; return what they must not believe in."""
        missing = {
            key: None
            for entry in batch
            for key in shelves_needed(self.state, entry.event)
            if key not in self.state.shelves
        }
        clients = [
            submitted.client_id
            for entry in batch
            for submitted in submissions(entry.event)
            if submitted.client_id not in self.state.seen
        ]
        if missing or clients:
            shelves, known = await self.store.known(missing, clients, now)
            for key, shelf in shelves.items():
                self.state.stock(key, shelf)
            for client_id, answered in known.items():
                self.state.seen[client_id] = Seen(answered.request_id, answered.body_digest, answered.answer)
        return self._gone(batch)

    def _gone(self, batch: Sequence[_Entry]) -> list[ArtifactGone]:
        found: dict[int, ArtifactGone] = {}
        for entry in batch:
            if not isinstance(entry.event, Submitted | SubmittedTogether | Explain):
                continue
            for key in shelves_needed(self.state, entry.event):
                for artifact in self.state.shelf(key).artifacts:
                    if artifact.id not in found and not self.artifacts.present(artifact.digest, artifact.size):
                        found[artifact.id] = ArtifactGone(artifact, "its file is absent or has another size")
        return list(found.values())

    def _decide(self, entries: list[_Entry], now: float) -> list[Happened]:
        happened: list[Happened] = []
        for entry in entries:
            entry.decision = decide(self.state, entry.event, now)
            happened.extend(effect for effect in entry.decision.effects if isinstance(effect, Happened))
        return happened

    def _tell(self, entries: list[_Entry], rows: Sequence[Row]) -> None:
        """Answer first: a login has to know its Session before the first order for it arrives."""
        for entry in entries:
            if isinstance(entry.event, ClockStepped):
                self._apart += entry.event.seconds
            elif isinstance(entry.event, Reconfigured):
                self._unsettled = False
            entry.answer()
        for entry in entries:
            for effect in entry.decision.effects if entry.decision is not None else ():
                if not isinstance(effect, Happened):
                    self._guarded(self.performer.perform, effect)
        for row in rows:
            if isinstance(row, Attempt) and row.state is AttemptState.ENDED:
                self._guarded(self.performer.attempt_ended, row)

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


def wasted(attempt: Attempt) -> bool:
    """Say whether what an ended Attempt uploaded, if anything, is of no use."""
    return attempt.end is not AttemptEnd.SUCCEEDED
