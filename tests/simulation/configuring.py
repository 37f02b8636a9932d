"""The operator of a simulated farm changes which build servers may build the project, while they are connected.

The witness knows which may for certain (``Ledger.allowed``) and which perhaps, while a change is under way.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.model.access.audience import EVERYBODY, Audience
from buildtool.model.policy import Policy

if TYPE_CHECKING:
    from tests.simulation.world import World

AGAIN = 60.0
"""Seconds after which a change is tried again that the metaserver has not taken."""


@define(eq=False)
class Configuring:
    """Whoever edits the configuration and has it read again."""

    world: World
    may_build: Audience = EVERYBODY
    _rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rng = random.Random(f"{self.world.seed} configuring")

    def policies(self) -> Mapping[str, Policy]:
        """Return what a metaserver that starts now, or reads its configuration again, goes by."""
        projects = self.world.settings.projects
        return {project.name: evolve(project.scheduling(), may_build=self.may_build) for project in projects}

    def plan(self) -> None:
        """Let some build servers only build for a while, now and then."""
        rate = self._rng.choice((0.0, 0.5, 1.5))
        for _ in range(int(rate * self.world.active_until / 3_600.0 + self._rng.random())):
            self.world.time.call(self._rng.uniform(1.0, self.world.active_until), self._narrow)

    def _narrow(self) -> None:
        world, known = self.world, sorted(self.world.watch.servers)
        if not (world.faults.on and known) or self.may_build is not EVERYBODY:
            return
        names = frozenset(self._rng.sample(known, self._rng.randint(0, len(known) - 1)))
        world.trace.say("operator", f"lets only {', '.join(sorted(names)) or 'nobody'} build")
        world.faults.count("barring")
        self.may_build = Audience(names=names)
        world.watch.perhaps_allowed = names
        self._take(self.may_build)
        world.time.call(self._rng.uniform(60.0, 1_500.0), self.widen)

    def widen(self) -> None:
        """Let everybody build again."""
        if self.may_build is not EVERYBODY:
            self.world.trace.say("operator", "lets everybody build")
            self.may_build = EVERYBODY
            self.world.watch.allowed = None
            self._take(EVERYBODY)

    def _take(self, wanted: Audience) -> None:
        """Have the metaserver take it, again until it has; another wish is another one's business."""
        world, metaserver = self.world, self.world.metaserver
        if self.may_build is not wanted:
            return
        if metaserver is None or not metaserver.serving or metaserver.life.ended:
            world.time.call(AGAIN, lambda: self._take(wanted))
            return
        done: list[object] = []

        def taken(result: object) -> None:
            done.append(result)
            if isinstance(result, Failure) or self.may_build is not wanted:
                return
            if wanted is EVERYBODY:
                world.watch.perhaps_allowed = None
            else:
                world.watch.allowed = wanted.names

        def look() -> None:
            if not done or isinstance(done[0], Failure):
                self._take(wanted)

        world.time.call(AGAIN, look)
        world.keep(
            Deferred.fromCoroutine(metaserver.broker.reconfigure(self.policies(), world.fairness.weights)).addBoth(
                taken
            )
        )
