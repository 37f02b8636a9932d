"""A state directory that is looked after: on a virtual clock, without threads, with a broker that only withdraws."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.model.records import Artifact
from tests.adapters.maintenance import states
from tests.support.inline import run

Round = Callable[[PeriodicTask], Awaitable[float]]


class KeepingCase(SynchronousTestCase):
    """``self.state`` is a sound state directory; ``self.withdrawn`` says which artifacts were withdrawn, and why."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.state = Path(self.mktemp())
        self.state.mkdir()
        states.make(self.state)
        self.database = run(SqliteDatabase.open(self.state / "buildtool.sqlite", Inline(), patience=0.0))
        self.addCleanup(lambda: run(self.database.close()))
        self.store = SqlBrokerStore(self.database)
        self.artifacts = ArtifactStore(self.state, Inline())
        self.removal = ArtifactRemoval(self.state, self.artifacts, Inline())
        self.withdrawn: list[tuple[int, str]] = []

    async def gone(self, artifact: Artifact, why: str) -> None:
        """What the broker does with ArtifactGone."""
        self.withdrawn.append((artifact.id, why))
        await self.store.commit([evolve(artifact, withdrawn=why)], (), states.NOW)

    def task(self, round_: Round) -> PeriodicTask:
        """Begin at once, and end with the test."""
        task = PeriodicTask("a test", self.clock, round_)
        task.start(0.0)
        self.addCleanup(lambda: run(task.stop()))
        return task

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, a step at a time."""
        self.clock.pump([step] * int(seconds / step))

    def commit(self, *rows: Any) -> None:
        run(self.store.commit(rows, (), states.NOW))

    def orphan(self, data: bytes = b"published right before a crash") -> str:
        """A file that no row names."""
        return states.put(self.artifacts, 9, data)

    def upload(self, data: bytes, build_id: int = 9) -> None:
        """Send bytes for an attempt, without publishing them."""
        upload = run(self.artifacts.uploads.begin(build_id, 1, 0, len(data), lambda: None))
        run(upload.write([data]))
        run(upload.close())
