"""Owners of machines in the simulation: they come, and their builds must stand still; they leave, and these go on.

They have a share of chance of their own, so that worlds without them are what they were. One witness holds what a build
server says a build took against how long its owner was there meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from attrs import define, field

from buildtool.model.guest.stance import Observed, OwnerWishes
from buildtool.model.servers import Held
from tests.simulation.clock import Life

if TYPE_CHECKING:
    from buildtool.buildserver.guest import Guest
    from tests.simulation.world import World

MATTERS = 0.4
"""In how many worlds there are owners."""

PATIENCE = (30.0, 600.0, 3_600.0)
"""Seconds for which an owner lets a build stand still, one of these each."""

STAYS = (20.0, 200.0, 1_500.0)
"""Seconds for which they are there."""

LAG = 2.0
"""Seconds that a build server may take to notice that its owner came or went."""

SLACK = 30.0
"""Seconds by which something that is handed back may be there longer: its processes have to end."""

LONG_AGO = 10_000.0


@define(eq=False)
class Owner:
    """One machine's owner; implements ``ports.OwnerProbe``. ``visits`` are when they came and left."""

    name: str
    wishes: OwnerWishes
    there: bool = False
    visits: list[list[float]] = field(factory=list)
    guest: Guest | None = None
    """What looks after its machine in ``life``."""
    life: Life | None = None

    async def look(self, _wishes: OwnerWishes) -> Observed:
        return Observed(input_age=0.0 if self.there else LONG_AGO)

    async def bound(self, _memory: int | None) -> None:
        """Hold nothing back: builds have no memory here."""

    def wish(self, wishes: OwnerWishes) -> None:
        """Wish something else from now on; a build server that has ended is not told."""
        self.wishes = wishes
        if self.guest is not None and self.life is not None and not self.life.ended:
            self.guest.wishes = wishes
            self.guest.judge_again()

    def presence(self, begins: float, ends: float) -> float:
        """Return for how many seconds of that time they were there, less what a build server may take to notice."""
        spans = [(max(begins, came), min(ends, left)) for came, left in self.visits]
        return sum(max(0.0, left - came - LAG) for came, left in spans)


@define(eq=False)
class Owners:
    """All of them, by their machine's name; there is none in most worlds."""

    world: World
    seed: int
    of: dict[str, Owner] = field(factory=dict, init=False)
    _took: dict[str, float] = field(factory=dict, init=False)
    _frozen: dict[str, dict[tuple[int, tuple[int, int]], float]] = field(factory=dict, init=False)

    def plan(self) -> None:
        """Decide who has an owner, and when they come and go."""
        rng = random.Random(f"owners {self.seed}")
        if rng.random() >= MATTERS:
            return
        for builder in self.world.builders:
            if rng.random() < 0.3:
                continue
            patience = rng.choice(PATIENCE)
            owner = self.owner(builder.name)
            owner.wishes = OwnerWishes(UTC, idle_only=True, patience=patience)
            for _ in range(rng.randrange(12)):
                comes, stays = rng.uniform(1.0, self.world.active_until), rng.choice(STAYS)
                self.world.time.call(comes, lambda owner=owner: self._comes(owner))  # type: ignore[misc]
                self.world.time.call(comes + stays, lambda owner=owner: self._leaves(owner))  # type: ignore[misc]

    def owner(self, name: str) -> Owner:
        """Return the owner of a machine; one that had none gets one who wishes for nothing."""
        return self.of.setdefault(name, Owner(name, OwnerWishes(UTC)))

    def calm(self) -> None:
        """Let all of them leave."""
        for owner in self.of.values():
            self._leaves(owner)

    def packed(self, name: str, digest: str, began: float, life: Life) -> None:
        """A machine packed what it began to build then: it cannot have built while its owner was there.

        A build server that stood still itself has seen nobody.
        """
        owner, now = self.of.get(name), self.world.time.now
        if owner is not None and life.frozen_until < began:
            self._took[digest] = now - began - owner.presence(began, now)

    def holds(self, name: str, life: object, held: Sequence[Held]) -> None:
        """A machine says what it has: it keeps nothing frozen for longer than its owner is patient."""
        now, owner = self.world.time.now, self.of.get(name)
        frozen = {(id(life), one.key) for one in held if one.frozen}
        since = self._frozen[name] = {key: self._frozen.get(name, {}).get(key, now) for key in frozen}
        longest = max((now - when for when in since.values()), default=0.0)
        most = owner.wishes.patience if owner is not None else 0.0
        if longest > most + SLACK:
            self.world.watch.wrong(
                f"{name} keeps a build frozen for {longest:.0f} s, its owner has {most:.0f} s for that"
            )

    def told(self, name: str, digest: str, seconds: float) -> None:
        """A machine says how long that took."""
        most = self._took.get(digest, seconds)
        if seconds > most + LAG:
            self.world.watch.wrong(f"{name} says that it built for {seconds:.0f} s, {most:.0f} without its owner there")

    def _comes(self, owner: Owner) -> None:
        if self.world.faults.on and not owner.there:
            owner.there = True
            owner.visits.append([self.world.time.now, float("inf")])
            self.world.faults.count("owner")
            self.world.trace.say(owner.name, "its owner comes")

    def _leaves(self, owner: Owner) -> None:
        if owner.there:
            owner.there = False
            owner.visits[-1][1] = self.world.time.now
            self.world.trace.say(owner.name, "its owner leaves")
