"""Second machines under the names of others: refused as long as the first is there, whatever happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.spread import pb

from buildtool.adapters.control.client import greet
from buildtool.errors import BuildToolError
from buildtool.protocol.messages import Register, Welcome
from tests.simulation import projects
from tests.simulation.clock import Life

if TYPE_CHECKING:
    from tests.simulation.builders import Builder
    from tests.simulation.world import World


@define(eq=False)
class Twin:
    """Now and then it wants the name of a machine that is there; it never gets it, so there is nothing else to do."""

    world: World
    builder: Builder
    life: Life = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.life = Life(self.world.time, f"{self.builder.name}-twin")

    def start(self) -> None:
        self.world.keep(Deferred.fromCoroutine(self._live()).addErrback(self._wrong))

    def stop(self) -> None:
        """Be gone for good."""
        self.life.ended = True
        self.world.network.machine_gone(self.life, silently=False)

    def _wrong(self, failure: Failure) -> None:
        self.world.watch.wrong(f"{self.life.name} met a defect: {failure}")

    async def _live(self) -> None:
        while True:
            await self.life.pause(self.world.rng.uniform(30.0, 900.0))
            if self._there():
                await self._knock()

    async def _knock(self) -> None:
        """Log in under the name of a machine that is there."""
        world, first = self.world, self.builder.life
        capability = projects.capability(self.builder.arches, memory=1_024, max_builds=1, of=world.settings.projects[0])
        instance = world.rng.choice(("another", ""))
        world.faults.count("twin")
        try:
            # In a world with keys its directory was copied, with the key in it.
            party = self.builder.party
            shown = party.certificate if party is not None else None
            endpoint = world.network.endpoint(self.life, self.life.name, "meta", lambda: shown)
            session = await greet(endpoint, "meta:1", "build server", self.life)
        except BuildToolError:
            return
        was_there = self._there()
        try:
            register = Register(self.builder.name, capability, (), instance)
            welcome = await session.call("register", register, Welcome, pb.Referenceable())
        except BuildToolError as error:
            world.trace.say(self.life.name, f"is turned away: {error.code}")
        else:
            # Whatever happened to it meanwhile but an end of its own will, its name is kept for it.
            if was_there and self.builder.life is first and not (first.ended or self.builder.leaving):
                world.watch.wrong(f"a twin took the name of {self.builder.name} in session {welcome.session}")
        session.close()

    def _there(self) -> bool:
        """Say whether the machine whose name it is is connected, hears and is heard, and the metaserver knows it."""
        world, builder = self.world, self.builder
        metaserver, row = world.metaserver, world.watch.servers.get(builder.name)
        if not builder.running or builder.life.frozen or metaserver is None or metaserver.life.frozen:
            return False
        wires = world.network.between(builder.name, "meta")
        return (
            row is not None
            and row.connected
            and row.session == builder.session
            and any(wire.near.open and wire.far.open and not wire.silent for wire in wires)
        )
