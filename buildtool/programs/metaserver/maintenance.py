"""What the metaserver does for its state directory while it serves: sweep, scrubber and health check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.maintenance.health import HealthCheck, Source
from buildtool.adapters.maintenance.orphan_sweep import OrphanSweep
from buildtool.adapters.maintenance.scrub_artifacts import ArtifactScrub
from buildtool.adapters.maintenance.scrub_logs import LogScrub
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.keeping.store import SqlKeptRows
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.keeping.log_files import KeptLogFiles
from buildtool.adapters.storage.logs import LogStore
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import BuildToolError, StorageUnavailable
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.keeping.forgetting import Forgetting, GivenOut, Surveys
from buildtool.metaserver.operating.removing import ArtifactExpiry
from buildtool.model.keeping.limits import Keeping
from buildtool.model.records import Artifact
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import ArtifactFiles, BrokerStore
from buildtool.ports.pages import LogReader
from buildtool.scheduling.events import ArtifactGone

log = Logger()

SWEEP_AFTER = 60.0
SCRUB_AFTER = 600.0
"""Seconds after the start at which they begin: a start has more urgent things to do."""

FORGET_AFTER = 5.0
FORGET_EVERY = 900.0
"""Seconds after the start, and between two looks, for what is not to be kept any more."""

FINISH_EVERY = 3_600.0
"""Seconds between looks for logs that should have been finished."""

Send = Callable[[ArtifactGone], Awaitable[object]]
"""Gives an event to the broker."""


@define(eq=False)
class Housekeeping:
    """The upkeep of the state directory ``directory``. ``removal`` guards the artifact files for all who publish.

    ``begin`` before anything is served, ``stop`` before the database is closed.
    """

    directory: Path
    database: Database
    artifacts: ArtifactFiles
    logs: LogReader
    executor: Executor
    timers: IReactorTime
    rows: SqlKeptRows = field(init=False)
    removal: ArtifactRemoval = field(init=False)
    conditions: HealthCheck = field(init=False)
    _store: BrokerStore | None = field(default=None, init=False)
    _send: Send | None = field(default=None, init=False)
    _look: PeriodicTask = field(init=False)
    _given_out: GivenOut = field(factory=GivenOut, init=False)
    _tasks: list[PeriodicTask] = field(factory=list, init=False)
    _withdrawing: set[Deferred[None]] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.rows = SqlKeptRows(self.database)
        self.removal = ArtifactRemoval(self.directory, self.artifacts, self.executor)
        self.conditions = HealthCheck(self.directory, self.database, self.executor)

    def begin(
        self, store: BrokerStore, send: Send, finish_logs: Callable[[], Awaitable[None]], sources: Sequence[Source]
    ) -> None:
        """Run the first health check and schedule the periodic tasks.

        ``finish_logs`` compresses what could not be when its Attempt ended: the disk was full, or the end in doubt.
        """

        async def finish(_task: PeriodicTask) -> float:
            await finish_logs()
            return FINISH_EVERY

        self._store, self._send = store, send
        sweep = OrphanSweep(self.database, self.removal, self._gone)
        scrub = ArtifactScrub(self.database, self.removal, self.damaged)
        self.conditions.sources = (*sources, sweep.problems)
        self._look = self.task("the health check", self.conditions.round_)
        for name, round_, delay in (
            ("the sweep of artifacts", sweep.round_, SWEEP_AFTER),
            ("the scrubber", scrub.round_, SCRUB_AFTER),
            ("finishing logs", finish, FINISH_EVERY),
            ("the scrubber of logs", LogScrub(self.directory, self.logs, self.executor).round_, SCRUB_AFTER),
        ):
            self.task(name, round_, delay)

    def task(self, name: str, round_: Callable[[PeriodicTask], Awaitable[float]], delay: float = 0.0) -> PeriodicTask:
        """Run ``round_`` periodically, first in ``delay`` seconds, until ``stop``; it returns the seconds to wait."""
        task = PeriodicTask(name, self.timers, round_)
        self._tasks.append(task)
        task.start(delay)
        return task

    def forget(self, keeping: Callable[[], Keeping], logs: LogStore, broker: Broker) -> None:
        """Forget, again and again, what is not to be kept by what ``keeping`` says at that moment."""
        if self._store is None:
            raise RuntimeError("nothing is forgotten before the upkeep has begun")
        expiry = ArtifactExpiry(broker, self._store, self.removal)
        files = KeptLogFiles(self.directory, self.executor, logs)

        async def round_(task: PeriodicTask) -> float:
            surveys = Surveys(self.rows, files, keeping, WallClock().wall, task.rest)
            await Forgetting(surveys, expiry, given_out=self._given_out).round_()
            return FORGET_EVERY

        self.task("the end of what is not kept any more", round_, FORGET_AFTER)

    def given_out(self, digest: str) -> None:
        """Take in that an artifact is given out."""
        self._given_out.add(digest, WallClock().wall())

    async def stop(self) -> None:
        """Stop all periodic tasks, wait for withdrawals that go on, and record what was given out."""
        while self._tasks:
            await self._tasks.pop().stop()
        try:
            await self._given_out.record(self.rows)
        except StorageUnavailable as error:
            log.warn("what was given out last is not recorded: {why}", why=error)
        for withdrawing in tuple(self._withdrawing):
            await withdrawing

    def corrupt(self, digest: str) -> None:
        """Take in, without waiting, that a file was found damaged; see ``Oversight``."""

        def failed(failure: object) -> None:
            log.error("could not withdraw {digest}: {failure}", digest=digest, failure=failure)

        withdrawing = Deferred.fromCoroutine(self.damaged(digest, "its bytes differ from their digest"))
        self._withdrawing.add(withdrawing)
        withdrawing.addErrback(failed)
        withdrawing.addBoth(lambda _: self._withdrawing.discard(withdrawing))

    async def damaged(self, digest: str, what: str) -> None:
        """Move a damaged file to quarantine, withdraw its artifacts, and check the health.

        Nothing happens to one that is sound by now.
        """
        try:
            moved = await self.removal.quarantine(digest)
        except BuildToolError as error:
            log.error("artifact {digest} is damaged and stays where it is: {error}", digest=digest, error=error)
            moved = True  # it is not given out, whether or not it can be moved
        if not moved or self._store is None:
            return
        log.error("artifact {digest} is damaged, in quarantine, and withdrawn: {what}", digest=digest, what=what)
        self._look.hasten()
        for artifact in await self._store.artifacts_of(digest):
            await self._gone(artifact, what)

    async def _gone(self, artifact: Artifact, why: str) -> None:
        if self._send is not None:
            await self._send(ArtifactGone(artifact, why))
