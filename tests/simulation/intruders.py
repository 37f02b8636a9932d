"""Somebody who means harm, with all that others threw away, left lying about or let them see: never let in with it.

Whatever they try, the witness (``trust``) sees who is let in and what is done; there is nothing to check here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred

from buildtool.adapters.control.client import Session, greet
from buildtool.errors import BuildToolError
from buildtool.model.access.join_line import read_join_line
from buildtool.model.principal import PrincipalRole
from buildtool.protocol.enrolment import Credentials, Join, Renew
from buildtool.protocol.messages import AskHealth, HealthStatus
from tests.simulation import projects
from tests.simulation.clock import Life
from tests.simulation.keys import Certificate, read_certificates
from tests.simulation.machine import Machine
from tests.simulation.network import Endpoint
from tests.simulation.outsiders import Outsider
from tests.simulation.parties import Party

if TYPE_CHECKING:
    from tests.simulation.world import World

NAME = "mallory"
RIPE = 600.0
"""Seconds after which a stolen line is made use of."""


@define(eq=False)
class Intruder(Outsider):
    """They have a key of their own too, as a requester; ``found`` are certificates whose keys others threw away."""

    party: Party
    found: list[Certificate] = field(factory=list)
    stolen: list[tuple[float, Certificate]] = field(factory=list)

    @classmethod
    def of(cls, world: World) -> Intruder:
        """Return the one of a world."""
        role = world.key_rng.choice((PrincipalRole.REQUESTER, PrincipalRole.BUILD_SERVER))
        party = Party(world, NAME, role, f"{NAME}@example.org", Machine(NAME, world.faults))
        return cls(world, Life(world.time, NAME), party)

    async def _live(self) -> None:
        rng = self.world.key_rng
        await self.party.ready(self.life)
        while True:
            await self.life.pause(rng.uniform(10.0, 400.0))
            tries = (self._without_key, self._thrown_away, self._line, self._line, self._stolen, self._own)
            self.world.faults.count("intrusion")
            try:
                await rng.choice(tries)()
            except BuildToolError as error:
                self.world.trace.say(NAME, f"is turned away: {error.code}")
            if self.party.own is None:
                await self.party.ready(self.life)

    async def _without_key(self) -> None:
        await self._act(None, self.world.key_rng.choice(("requester", "build server", "renewing", "operator")))

    async def _thrown_away(self) -> None:
        """Come with a key that was revoked, or that was somebody's before their machine was made anew."""
        if not self.found:
            return
        key = self.world.key_rng.choice(self.found)
        await self._act(key, self._role() if self.world.trust.is_revoked(key) else "renewing")

    async def _stolen(self) -> None:
        """Come with a key that was the first to be shown with somebody's line, most often after they had a new one.

        More is not done with it: as long as nobody notices, whoever has it is a build server or person like others.
        """
        old = [one for since, one in self.stolen if since < self.world.time.now - RIPE]
        if old:
            await self._act(self.world.key_rng.choice(old), "renewing")

    async def _own(self) -> None:
        """Come with the own key, whose certificate may have expired, in any role."""
        await self._act(self.party.certificate, self._role())
        if self.world.key_rng.random() < 0.3:
            await self.party.turned_away(self.life)

    async def _line(self) -> None:
        """Come with a line that was another's: used, old, void or lost."""
        world = self.world
        waiting = {party.line for party in world.parties if party.line and party.own is None}
        lines = [line for line in world.lines if line not in waiting]
        if lines:
            await self._join(world.key_rng.choice(lines))

    def steal(self, line: str) -> None:
        """Use a line before the one who is invited has it."""

        async def hurry() -> None:
            try:
                await self._join(line)
            except BuildToolError as error:
                self.world.trace.say(NAME, f"steals in vain: {error.code}")

        self.world.keep(Deferred.fromCoroutine(hurry()).addErrback(self._wrong))

    async def _join(self, line: str) -> None:
        world, token = self.world, read_join_line(line).token
        session = await greet(self._endpoint(None), "meta:1", "joining", self.life)
        key = world.keys.new()
        try:
            told = await session.ask(Join(token, key.request), Credentials)
        finally:
            session.close()
        world.trace.say(NAME, f"has joined as {told.name}")
        self.stolen.append((world.time.now, read_certificates(told.certificate.encode())[0]))

    def _role(self) -> str:
        return self.world.key_rng.choice(("requester", "build server", "build server", "renewing"))

    def _endpoint(self, certificate: Certificate | None) -> Endpoint:
        return self.world.network.endpoint(self.life, NAME, "meta", lambda: certificate)

    async def _act(self, certificate: Certificate | None, role: str) -> None:
        """Come with a certificate, and do whatever is let through."""
        world, rng = self.world, self.world.key_rng
        session = await greet(self._endpoint(certificate), "meta:1", role, self.life)
        world.trace.say(NAME, f"is let in as {role}")
        try:
            if role == "renewing" and rng.random() < 0.5:
                await session.ask(Renew(), Credentials)
            elif role == "requester" or (role == "renewing" and rng.random() < 0.5):
                await session.ask(AskHealth(), HealthStatus)
            else:
                await self._serve(session)
        finally:
            session.close()

    async def _serve(self, session: Session) -> None:
        world, rng = self.world, self.world.key_rng
        name = rng.choice((NAME, *(builder.name for builder in world.builders)))
        await self._register(session, name, "the directory of somebody else", projects.ARCHES)
