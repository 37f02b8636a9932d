"""Second machines under the names of others: refused as long as the first is there, whatever happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from buildtool.adapters.control.client import greet
from buildtool.errors import BuildToolError
from tests.simulation.clock import Life
from tests.simulation.outsiders import Outsider

if TYPE_CHECKING:
    from tests.simulation.builders import Builder
    from tests.simulation.world import World

KEPT = 0.25
"""For what part of a lease at least a name is kept for a machine that is not heard of any more."""


@define(eq=False)
class Twin(Outsider):
    """Now and then it wants the name of a machine that is there; it never gets it, so there is nothing else to do."""

    builder: Builder

    @classmethod
    def of(cls, world: World, builder: Builder) -> Twin:
        """Return a twin of a machine."""
        return cls(world, Life(world.time, f"{builder.name}-twin"), builder)

    async def _live(self) -> None:
        while True:
            await self.life.pause(self.world.rng.uniform(30.0, 900.0))
            if self._there():
                await self._knock()

    async def _knock(self) -> None:
        """Log in under the name of a machine that is there."""
        world, first = self.world, self.builder.life
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
        was_there, asked = self._there(), world.time.now
        try:
            welcome = await self._register(session, self.builder.name, instance, self.builder.arches)
        except BuildToolError as error:
            world.trace.say(self.life.name, f"is turned away: {error.code}")
        else:
            # Whatever happened to it meanwhile but an end of its own will, its name is kept for it, for a while.
            kept = world.time.now - asked < world.lease * KEPT and not self._parted()
            if was_there and kept and self.builder.life is first and not (first.ended or self.builder.leaving):
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
            and not self._parted()
            and row.session == builder.session
            and any(wire.near.open and wire.far.open and not wire.silent for wire in wires)
        )

    def _parted(self) -> bool:
        """Say whether nothing passes between the machine and the metaserver, which asks it, and waits for an answer."""
        return self.world.network.parted_until(self.builder.name, "meta") > self.world.time.now
