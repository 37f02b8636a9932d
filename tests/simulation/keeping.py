"""A simulated farm that forgets: logs and artifacts go after a while, or when they are too many, from any life.

A witness knows what was given out when: what goes was not given out within the grace, was not promised since it was
chosen, and no request is satisfied with it afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from buildtool.adapters.sql.keeping.store import SqlKeptRows
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.keeping.log_files import KeptLogFiles
from buildtool.adapters.storage.logs import LogStore
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.metaserver.keeping.forgetting import Forgetting, Surveys
from buildtool.metaserver.operating.removing import ArtifactExpiry
from buildtool.model.keeping.choosing import Turn
from buildtool.model.keeping.gone import EXPIRED
from buildtool.model.keeping.limits import Keeping, KeptKind, Limit
from buildtool.model.records import Artifact, Request, RequestState
from buildtool.ports.keeping import KeptArtifact
from buildtool.ports.metaserver import BrokerStore
from tests.simulation.ledger import Spoilt

if TYPE_CHECKING:
    from tests.simulation.database import SimulatedDatabase
    from tests.simulation.metaserver import Metaserver
    from tests.simulation.world import World

MATTERS = 0.3
"""In how many worlds anything is forgotten."""

GRACES = (0.0, 300.0, 3_600.0)
"""Seconds for which an artifact stays once it was given out."""

DWELLS = (0.0, 20.0)
"""Seconds, at most, between the last look at what goes and the decision: in that time requests come."""


class SlowRows(SqlKeptRows):
    """What forgets, as the database has it, with time between a look and what is made of it."""

    def __init__(self, database: SimulatedDatabase, dwell: Callable[[], Awaitable[None]]) -> None:
        super().__init__(database)
        self._dwell = dwell

    async def artifacts_again(self, numbers: Collection[int]) -> Sequence[KeptArtifact]:
        found = await super().artifacts_again(numbers)
        await self._dwell()
        return found


@define(eq=False)
class WatchedExpiry:
    """The end of artifacts, of which ``chosen`` is told when what goes is chosen."""

    expiry: ArtifactExpiry
    chosen: Callable[[], None]

    async def begin(self) -> None:
        await self.expiry.begin()
        self.chosen()

    async def expire(self, artifacts: Mapping[Artifact, str]) -> Sequence[Artifact]:
        return await self.expiry.expire(artifacts)

    async def remove(self, digest: str) -> bool:
        return await self.expiry.remove(digest)


@define(eq=False)
class Retention:
    """What one world forgets, and the witness of that."""

    world: World
    matter: bool = field(init=False)
    keeping: Keeping = field(init=False)
    gone: dict[int, float] = field(factory=dict, init=False)
    """When each artifact expired, in seconds of the world."""

    _rng: random.Random = field(init=False)
    _every: float = field(init=False)
    _given_out: dict[int, float] = field(factory=dict, init=False)
    _promised: set[int] = field(factory=set, init=False)
    _answered: set[int] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        rng = self._rng = random.Random(f"{self.world.seed} keeping")
        self.matter = rng.random() < MATTERS
        sizes = Limit(age=rng.choice((None, 600.0, 7_200.0)), most=rng.choice((None, 0, 500)))
        logs = Limit(age=rng.choice((None, 60.0, 3_600.0)), most=rng.choice((None, 0, 2_000)))
        self.keeping = Keeping({KeptKind.ARTIFACTS: sizes, KeptKind.LOGS: logs}, rng.choice(GRACES))
        self._every = rng.uniform(30.0, 600.0)

    def started(
        self,
        metaserver: Metaserver,
        database: SimulatedDatabase,
        store: BrokerStore,
        removal: ArtifactRemoval,
        logs: LogStore,
    ) -> list[object]:
        """Let one life of the metaserver forget; return its parts."""
        if not self.matter:
            return []
        world, life, disk = self.world, metaserver.life, metaserver.machine.executor(metaserver.life)

        async def dwell() -> None:
            if seconds := self._rng.uniform(*DWELLS):
                await life.pause(seconds)

        rows = SlowRows(database, dwell)
        files = KeptLogFiles(metaserver.machine.directory, disk, logs, metaserver.machine.disk)
        expiry = WatchedExpiry(ArtifactExpiry(metaserver.broker, store, removal), self._promised.clear)

        async def round_(task: PeriodicTask) -> float:
            surveys = Surveys(rows, files, lambda: self.keeping, world.wall.wall, task.rest, at_once=3)
            found = await Forgetting(surveys, expiry, Turn(3, 10_000)).round_()
            return self._every if found else 3_600.0

        task = PeriodicTask("the end of what is not kept", life, round_)
        task.start(self._every)
        return [rows, files, expiry, task]

    # --- the witness ----------------------------------------------------------------------------------------

    def committed(self, rows: Sequence[Any], now: float) -> None:
        """These rows are committed at wall time ``now``."""
        if not self.matter:
            return
        for row in rows:
            if type(row) is Artifact:
                self._put(row, now)
        for row in rows:
            if type(row) is Request and row.state is RequestState.SATISFIED and row.id not in self._answered:
                self._answered.add(row.id)
                self._promise(row)

    def _put(self, row: Artifact, now: float) -> None:
        watch, what = self.world.watch, f"artifact {row.id}"
        if not row.withdrawn:
            self._given_out.setdefault(row.id, row.built_at)
        elif row.withdrawn.startswith(EXPIRED) and row.id not in self.gone:
            self.gone[row.id] = self.world.time.now
            self.world.faults.count("expired")
            watch.spoilt.setdefault(row.digest, (Spoilt.DELETED, self.world.time.now))
            ago = now - self._given_out.get(row.id, row.built_at)
            if 0.0 <= ago < self.keeping.grace:
                watch.wrong(
                    f"{what} expired {ago:.0f} s after it was given out, and stays for {self.keeping.grace:.0f}"
                )
            if row.id in self._promised:
                watch.wrong(f"{what} expired though it was promised since it was chosen")

    def _promise(self, row: Request) -> None:
        artifact = row.artifact_id or 0
        if artifact in self.gone:
            self.world.watch.wrong(f"request {row.id} is satisfied by artifact {artifact}, which has expired")
        self._promised.add(artifact)
        self._given_out[artifact] = max(self._given_out.get(artifact, 0.0), row.ended_at or 0.0)
