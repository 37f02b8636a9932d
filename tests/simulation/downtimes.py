"""Downtimes in a simulated farm: owners say when their machine will be away; it is, or is not, or goes unsaid.

They have a share of chance of their own. A witness holds mails about missing machines, what *why* says of these, and
what waits for them against what owners announced, and what the farm believes of that against what it was told.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from buildtool.model.guest.hours import DaySpan
from buildtool.model.matching.reasons import Cause
from buildtool.model.records import Build, BuildState, Mail
from buildtool.model.servers import Offer, OwnerNotice, ProjectSkill, Server
from buildtool.scheduling.state import timers
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import why
from tests.simulation.ledger import ROUNDED
from tests.support.matching import can_build

if TYPE_CHECKING:
    from tests.simulation.builders import Builder
    from tests.simulation.world import World

MATTERS = 0.4
"""In how many worlds owners announce that their machine is away."""

LATE = 120.0
"""Seconds by which a mail about a missing machine may be late."""

LASTING = (600.0, 1_500.0, 5_400.0)
"""Seconds for which machines are away."""

WAYS = ("goes", "goes", "crashes", "crashes", "crashes", "stays")
"""What a machine does that is away: it says good-bye, or is switched off, or is there all the same."""

AGAIN = (0.0, 0.0, 900.0, None, None, None)
"""Seconds after which a second downtime follows the first, as days do that were announced one by one; None for none."""


@define(eq=False)
class Downtimes:
    """What all owners announce, and what was made of it. ``began`` is when the wall clock of machines began."""

    world: World
    began: float
    rng: random.Random | None = field(init=False)
    _off: dict[str, float] = field(factory=dict)
    _said: dict[str, list[OwnerNotice]] = field(factory=dict)
    _believed: dict[str, OwnerNotice] = field(factory=dict)
    _gone: dict[str, tuple[float, int]] = field(factory=dict)
    _mailed: dict[str, float] = field(factory=dict)
    _waits: dict[int, float] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        rng = random.Random(f"{self.world.seed} downtimes")
        self.rng = rng if rng.random() < MATTERS else None

    # --- what happens ---------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Decide which machine is away when, and whether its owner says so beforehand."""
        rng = self.rng
        for builder in self.world.builders if rng is not None else ():
            assert rng is not None
            if rng.random() < 0.2:
                continue
            begins, lasts = rng.uniform(60.0, self.world.active_until), rng.choice(LASTING)
            spans = [(begins, begins + lasts)]
            again = rng.choice(AGAIN)
            if again is not None:
                spans.append((spans[0][1] + again, spans[0][1] + again + rng.choice(LASTING)))
            rng.shuffle(spans)
            if rng.random() < 0.75:
                ahead = rng.choice((0.0, begins - 300.0, begins - 1.0))
                self.world.time.call(max(0.0, ahead), partial(self._announces, builder, spans))
            for span in spans:
                how = rng.choice(WAYS)
                late = rng.uniform(0.0, 30.0)
                self.world.time.call(span[0] + late, partial(self._away, builder, how, span[1] - span[0] - late))

    def calm(self) -> None:
        """Bring all machines back: nobody is away any more."""
        self._off.clear()
        for owner in self.world.owners.of.values():
            owner.wish(evolve(owner.wishes, away=()))

    def off_for(self, name: str) -> float:
        """Return for how many seconds yet a machine is not switched on, 0 for one that may be."""
        return max(0.0, self._off.get(name, 0.0) - self.world.time.now)

    def _announces(self, builder: Builder, spans: Sequence[tuple[float, float]]) -> None:
        if self.world.faults.on:
            self.world.faults.count("downtime")
            self.world.trace.say(builder.name, f"its owner says that it is away: {spans}")
            owner = self.world.owners.owner(builder.name)
            away = tuple(DaySpan(self.began + begins, self.began + ends, "then") for begins, ends in spans)
            owner.wish(evolve(owner.wishes, away=away))

    def _away(self, builder: Builder, how: str, seconds: float) -> None:
        world, rng = self.world, self.rng
        if not world.faults.on or how == "stays":
            return
        assert rng is not None
        world.trace.say(builder.name, f"is away for {seconds:.0f} s")
        self._off[builder.name] = world.time.now + seconds
        world.time.call(seconds, partial(world.start_builder, builder))
        if builder.running and how == "crashes":
            world.builder_down(builder, silently=rng.random() < 0.5)
        elif builder.running and not builder.leaving:
            builder.stop(drains=rng.random() < 0.3)

    # --- what the farm hears --------------------------------------------------------------------------------

    def hears(self, name: str, notice: OwnerNotice) -> None:
        """The metaserver begins to take in what an owner wishes."""
        self._said.setdefault(name, []).append(notice)

    def heard(self, name: str, notice: OwnerNotice) -> None:
        """It has taken it in, and says so."""
        said, row = self._said[name], self.world.watch.servers[name]
        said.remove(notice)
        self._believed[name] = notice
        newest = [row.away == one.away and bool(row.closed) == bool(one.closed) for one in (notice, *said)]
        self._check(any(newest), f"the owner of {name} wishes {notice}, and its row is {row.closed!r}, {row.away}")

    # --- what is committed ----------------------------------------------------------------------------------

    def restarted(self) -> None:
        """Another life of the metaserver begins: it waits anew for who is missing."""
        starts, now = self.world.watch.starts, self.world.time.now
        self._gone = dict.fromkeys(self._gone, (now, starts))
        for said in self._said.values():  # what was taken in and not answered may be believed
            del said[:-1]

    def committed(self, rows: Sequence[Any], before: dict[str, Server], wall: float) -> None:
        """These rows are committed, and the watch has taken them in; ``before`` are the servers as they were."""
        for row in rows:
            if type(row) is Mail and row.server:
                self._told(row.server, wall)
        for row in rows:
            if type(row) is Server:
                self._server(row, before.get(row.name))

    def _server(self, row: Server, old: Server | None) -> None:
        if row.connected:
            gone = self._gone.pop(row.name, None)
            if gone is not None and old is not None and old.missing_since:
                self._back(row, old, *gone)
        elif row.missing_since:
            self._gone.setdefault(row.name, (self.world.time.now, self.world.watch.starts))

    def _told(self, name: str, wall: float) -> None:
        """The owner of a missing machine is mailed, at ``wall`` by the metaserver's clock."""
        world, away = self.world, self.world.watch.servers[name].away
        during = [span for span in away if span[0] <= wall < span[1]]
        self._check(not during, f"the owner of {name} is mailed that it is missing, and said that it is away: {during}")
        gone, _ = self._gone.get(name, (world.time.now, 0))
        missed = world.time.now - gone
        soon = f"the owner of {name} is mailed that it is missing after {missed:.0f} s"
        self._check(missed >= timers.OWNER_TOLD_AFTER - ROUNDED, soon)
        self._mailed[name] = world.time.now

    def _back(self, row: Server, old: Server, gone: float, starts: int) -> None:
        """A machine comes back that was missing since ``gone``: its owner was mailed, unless they had said that."""
        world = self.world
        missed = world.time.now - gone
        begins = world.wall.wall() - missed
        disturbed = (
            world.watch.starts != starts
            or world.trust.clock_set_at > gone
            or world.watch.stood_still[1] > gone
            or any(span[0] < world.wall.wall() and span[1] > begins for span in old.away)
        )
        if not disturbed and missed > timers.OWNER_TOLD_AFTER + LATE and row.name in world.watch.honest:
            told = self._mailed.get(row.name, 0.0) >= gone
            self._check(told, f"{row.name} was missing for {missed:.0f} s, and nobody was mailed")

    # --- what is told and waited for ------------------------------------------------------------------------

    def check(self, state: State, wall: float, *, awake: bool) -> None:
        """*Why* knows who is away, and nobody waits for them to repeat a failure."""
        if self.rng is None or not awake:
            self._waits.clear()
            return
        for build in state.builds.values():
            if build.state is BuildState.QUEUED:
                self._check_why(state, build, wall)
                self._check_confirmed(state, build, wall)

    def _check_why(self, state: State, build: Build, wall: float) -> None:
        for group in why(state, build, wall).groups:
            for reason in group.reasons:
                for name in group.servers if reason.cause is Cause.OFFLINE else ():
                    if state.servers[name].away != self.world.watch.servers[name].away:
                        continue  # it has just said so, and that is being committed
                    away = any(begins <= wall < ends for begins, ends in self.world.watch.servers[name].away)
                    knows = "its owner said so" in reason.note
                    does = "says" if knows else "does not say"
                    self._check(knows == away, f"why of build {build.id} {does} that {name} is away")

    def _check_confirmed(self, state: State, build: Build, wall: float) -> None:
        watch, now = self.world.watch, self.world.time.now
        if not build.failed_on:
            return
        policy = watch.project.scheduling()
        skill = ProjectSkill(build.spec.project, build.spec.recipe_version, policy.options_digest)
        waited_for = [
            name
            for name, server in watch.servers.items()
            if (server.connected or server.missing_since) and name not in build.failed_on
            and not any(begins <= wall < ends for begins, ends in server.away)
            and isinstance(can_build(build.spec, server.capability, skill, dict(policy.comparisons)), Offer)
        ]  # fmt: skip
        if waited_for:
            self._waits.pop(build.id, None)
            return
        since = self._waits.setdefault(build.id, now)
        waits = now - since
        self._check(
            waits < 2 * self.world.lease, f"build {build.id} waits for nobody but who is away, for {waits:.0f} s"
        )

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.world.watch.wrong(what)
