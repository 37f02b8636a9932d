"""Triggers in a simulated farm: they look at an origin whose refs move, from a metaserver that may end at any moment.

A witness knows what refs were at any time, and what was committed: what a trigger asks for was there, nothing is
asked for twice, and once nothing goes wrong any more the last of each ref is asked for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from buildtool.adapters.sql.triggers.hook_store import SqlHookStore
from buildtool.adapters.sql.triggers.store import SqlTriggerStore
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.settings import Settings
from buildtool.metaserver.requests import RequestService
from buildtool.metaserver.triggering.triggers import Triggers
from buildtool.model.principal import Principal
from buildtool.model.records import Request
from buildtool.model.triggers.trigger import TRIGGER, short_ref
from buildtool.project.triggers import every, on_push
from buildtool.protocol.messages import RequestStatuses, SubmitTogether
from tests.simulation.hooking import Forge
from tests.simulation.projects import ARCHES, COLOURS

if TYPE_CHECKING:
    from tests.simulation.database import SimulatedDatabase
    from tests.simulation.metaserver import Metaserver
    from tests.simulation.world import World

MATTERS = 0.4
"""In how many worlds the project has triggers."""

LOOKS_LAST = 150.0
"""Seconds before a Request in which its ref was looked at, listed and resolved."""

MOVES_BETWEEN = (120.0, 1_500.0)
"""Seconds between two pushes, while there are any."""


@frozen
class _AskedFor:
    """A commit that was asked for, when, and whether its ref moved while it was looked at."""

    revision: str
    at: float
    moved: bool


@define(eq=False)
class Triggering:
    """The triggers of one world, and the witness of what they ask for."""

    world: World
    matter: bool = field(init=False)
    forge: Forge = field(init=False)
    _rng: random.Random = field(init=False)
    _known: set[int] = field(factory=set, init=False)
    _last: dict[tuple[str, str, str, str], _AskedFor] = field(factory=dict, init=False)
    """What was asked for last: by whom, of which ref, what and for whom."""

    def __attrs_post_init__(self) -> None:
        self._rng = random.Random(f"{self.world.seed} triggers")
        self.matter = self._rng.random() < MATTERS
        self.forge = Forge(self.world, self.matter)

    def of(self, settings: Settings) -> Settings:
        """Return the settings of a world, whose project may build by itself."""
        if not self.matter:
            return settings
        (project,) = settings.projects
        colours = self._rng.sample(COLOURS, 2)
        sets, places = [{"colour": one} for one in colours], [{"arch": arch} for arch in ARCHES]
        poll = None if self.forge.alone else "5m"
        pushes = on_push(["main", "topic"], poll=poll, options=sets, platforms=places, to="ann@example.org")
        both = ["ann@example.org", "bob@example.org"]
        hourly = every("20m", "release", options=sets[0], platforms=places[0], to=both)
        return self.forge.of(evolve(settings, projects=(evolve(project, triggers=(pushes, hourly)),)))

    def plan(self) -> None:
        """Let refs move now and then."""
        if self.matter:
            self._push_later()
            self.forge.goes_on()

    def _push_later(self) -> None:
        self.world.time.call(self._rng.uniform(*MOVES_BETWEEN), self._push)

    def _push(self) -> None:
        if self.world.faults.on:
            self.world.move_ref()
            self.forge.pushed()
            self._push_later()

    async def start(self, metaserver: Metaserver, requests: RequestService, database: SimulatedDatabase) -> None:
        """Let triggers look in one life of the metaserver. Raises StorageUnavailable."""
        if not self.matter:
            return
        world, life = self.world, metaserver.life

        async def ask(by: Principal, message: SubmitTogether) -> RequestStatuses:
            world.refs.asks(message.items)
            return await requests.submit_together(by, message)

        found = Triggers(
            ask, requests.permissions, requests.admittance, world.resolver(life), SqlTriggerStore(database), world.wall,
            world.key, hooks := SqlHookStore(database),
        )  # fmt: skip
        await found.start()
        await self.forge.start(metaserver, hooks, found)
        task = PeriodicTask("the looks of triggers", life, found.round_)
        found.hasten = task.hasten
        metaserver.parts += [found, task]
        task.start(0.0)

    # --- the witness ----------------------------------------------------------------------------------------

    def committed(self, rows: Sequence[Any]) -> None:
        """These rows are committed."""
        for row in rows:
            if type(row) is Request and row.share.startswith(TRIGGER) and row.id not in self._known:
                self._known.add(row.id)
                self._asked(row)

    def _asked(self, row: Request) -> None:
        """Check a Request that a trigger made: what its ref meant lately, and not the same as the one before it."""
        world, spec = self.world, row.demand.spec
        key = (row.share, row.demand.ref, str((spec.options, spec.platform)), row.email)
        now, lately = world.time.now, self._lately()
        if spec.revision not in world.origin.meant(row.demand.ref, lately):
            world.watch.wrong(f"{row.share} asks for {spec.revision[:4]}, which {row.demand.ref} was not lately")
        # Where it moved between listing and resolving, and the metaserver ended then, the same commit is listed next.
        # One that went, or was something else meanwhile, is asked for anew.
        moved = len(world.origin.meant(row.demand.ref, lately)) > 1
        before = self._last.get(key)
        same = before is not None and before.revision == spec.revision and not before.moved
        if before is not None and same and len(world.origin.meant(row.demand.ref, before.at)) == 1:
            world.watch.wrong(f"{row.share} asks {row.email} for {spec.revision[:4]} of {row.demand.ref} twice")
        self._last[key] = _AskedFor(spec.revision, now, moved)

    def _lately(self) -> float:
        """Return since when a ref was looked at for what is asked for now: time in which nothing runs is none of it."""
        lately = self.world.time.now - LOOKS_LAST
        since, until = self.world.watch.stood_still
        return lately - (until - since) if until > lately else lately

    @property
    def current(self) -> bool:
        """Whether all triggers know what the origin has now."""
        return not self.matter or not (self.behind() or self.forge.opened())

    def behind(self) -> list[str]:
        """Return which refs triggers have not asked for as they are."""
        found = []
        rows = self.world.rows.ask("SELECT name, ref, revision FROM trigger_refs")
        kept = {(name, ref): revision for name, ref, revision in rows}
        for trigger in self.world.settings.projects[0].triggers:
            for name, revision in self.world.origin.refs.items():
                ref = f"refs/heads/{name}"
                if trigger.is_of(ref) and kept.get((trigger.name, ref)) != revision:
                    found.append(f"{trigger.name} does not know that {name} is {revision[:4]}")
        return found

    def check_rest(self) -> None:
        """Check that of each ref the last that was asked for is what it is, unless nobody ever pushed there."""
        if not self.matter:
            return
        for what in self.behind():
            self.world.watch.wrong(f"at rest {what}")
        for (share, ref, _, _), last in self._last.items():
            if self.world.origin.refs.get(short_ref(ref), last.revision) != last.revision:
                self.world.watch.wrong(f"at rest {share} asked for {last.revision[:4]} of {ref} last, which it is not")
