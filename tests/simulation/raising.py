"""An operator who moves what waits in the order, forward and back, as often as somebody is in a hurry."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.errors import Conflict, NotFound, StorageUnavailable
from buildtool.model.farm.weights import NICE_MOST
from buildtool.model.records import RequestState
from buildtool.protocol.operator import LowerRequest, RaiseRequest

if TYPE_CHECKING:
    from tests.simulation.world import World

HURRIES = (0.0, 6.0, 20.0)
"""How often an hour somebody is in a hurry, one of these in a world."""


@define(eq=False)
class Raising:
    """Whoever moves requests in a world. ``plan`` decides when."""

    world: World
    rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rng = random.Random(f"{self.world.seed} raising")

    def plan(self) -> None:
        """Decide when somebody is in a hurry."""
        until = self.world.active_until
        for _ in range(int(self.rng.choice(HURRIES) * until / 3_600.0 + self.rng.random())):
            self.world.time.call(self.rng.uniform(1.0, until), self._move)

    def _move(self) -> None:
        world, rng = self.world, self.rng
        waiting = [row.id for row in world.watch.requests.values() if row.state is RequestState.WAITING]
        metaserver = world.metaserver
        if not waiting or metaserver is None or not metaserver.serving or metaserver.life.ended or not world.faults.on:
            return
        kind = rng.choice((RaiseRequest, RaiseRequest, LowerRequest))
        message = kind(rng.choice(waiting), rng.choice((0, 1, 4, NICE_MOST)))
        world.faults.count("raise")
        world.trace.say("operator", f"does {kind.__name__} {message.request_id} by {message.rounds}")
        world.keep(Deferred.fromCoroutine(metaserver.operate(message)).addErrback(self._refused))

    def _refused(self, failure: Failure) -> None:
        if not failure.check(Conflict, NotFound, StorageUnavailable):
            self.world.watch.wrong(f"the operator could move no request: {failure}")
