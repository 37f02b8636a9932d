"""People with keys who try what they may not: other people's requests and machines, and what only an operator does.

Now and then it is their own, and is done. The witnesses (``trust``, ``ownership``) see what is let through.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import attrs
from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.control.client import Session, greet
from buildtool.errors import BuildToolError, Unauthorised
from buildtool.model.principal import PrincipalRole
from buildtool.model.records import RequestState
from buildtool.protocol import enrolment, messages, operator
from tests.simulation.clock import Life
from tests.simulation.machine import Machine
from tests.simulation.parties import Party

if TYPE_CHECKING:
    from tests.simulation.world import World

OBSERVER = "eve"
OBSERVER_MAIL = "eve@example.com"
SELDOM = 1_200.0
"""Seconds between two things that one of them tries, at most."""

T = TypeVar("T")

_ANSWERS: Mapping[type[attrs.AttrsInstance], type[attrs.AttrsInstance]] = {
    messages.Submit: messages.RequestStatus,
    messages.Cancel: messages.RequestStatus,
    messages.AskStatus: messages.RequestStatus,
    messages.AskWhy: messages.Explanation,
    operator.AskFarmStatus: operator.FarmStatus,
    operator.CancelSeveral: operator.SeveralEnded,
    operator.AbortSeveral: operator.SeveralEnded,
    enrolment.InviteOne: enrolment.InvitationLine,
    enrolment.AskIdentities: enrolment.Identities,
}
"""What is answered, where that is not an ``ActionResult``."""


@define(eq=False)
class Meddler:
    """One of them: somebody who asks for builds too, or who may only look."""

    world: World
    party: Party
    life: Life
    rng: random.Random

    def start(self) -> None:
        """Try something now and then, as long as anything goes wrong at all."""
        self.world.keep(Deferred.fromCoroutine(self._live()).addErrback(self._wrong))

    def _wrong(self, failure: Failure) -> None:
        self.world.watch.wrong(f"{self.party.name} meddles, and met a defect: {failure}")

    async def _live(self) -> None:
        while True:
            await self.life.pause(self.rng.uniform(30.0, SELDOM))
            if not self.world.faults.on:
                return
            message = self._anything()
            if message is None:
                continue
            self.world.faults.count("meddling")
            try:
                await self._try(message)
            except BuildToolError as error:
                self.world.trace.say(self.party.name, f"may not do {type(message).__name__}: {error.code}")

    async def _try(self, message: attrs.AttrsInstance) -> None:
        session = await self._connected()
        try:
            await session.ask(message, _ANSWERS.get(type(message), operator.ActionResult))
            self.world.trace.say(self.party.name, f"does {type(message).__name__}")
        finally:
            session.close()
            if isinstance(message, operator.PauseServer | operator.DrainServer):
                name, again = message.server, self.rng.uniform(60.0, 1_000.0)
                self.world.time.call(again, lambda: self.world.blows.resume(name))

    async def _connected(self) -> Session:
        await self.party.ready(self.life)
        try:
            return await greet(self.party.endpoint(self.life), "meta:1", self.party.role.value, self.life)
        except Unauthorised:
            await self.party.turned_away(self.life)
            raise

    # --- what they try --------------------------------------------------------------------------------------

    def _anything(self) -> attrs.AttrsInstance | None:
        """Return something to try; None where there is nothing yet to do it to."""
        tries: tuple[Callable[[], attrs.AttrsInstance | None], ...] = (
            self._requests, self._requests, self._many, self._machines, self._machines, self._builds,
            self._in_other_names, self._keys, self._everything,
        )  # fmt: skip
        return self.rng.choice(tries)()

    def _requests(self) -> attrs.AttrsInstance | None:
        known = self.world.watch.requests.values()
        one = self._one([row.id for row in known if row.state is RequestState.WAITING] or [row.id for row in known])
        if one is None:
            return None
        if self.rng.random() < 0.4:
            moves = operator.LowerRequest, operator.LowerRequest, operator.RaiseRequest
            return self.rng.choice(moves)(one, self.rng.randint(0, 4))
        return self.rng.choice((messages.Cancel, messages.Cancel, messages.AskStatus, messages.AskWhy))(one, "")

    def _many(self) -> attrs.AttrsInstance | None:
        """End all of the project, or of somebody, that is there now."""
        known = self.world.watch.requests
        if not known:
            return None
        somebody = (self.rng.choice(self.world.requesters).email,)
        people = self.rng.choice(((), somebody, (self.party.owner or OBSERVER_MAIL,)))
        kind = self.rng.choice((operator.CancelSeveral,) * 3 + (operator.AbortSeveral,))
        return kind((self.world.settings.projects[0].name,), (), people, "by hand", until=max(known))

    def _machines(self) -> attrs.AttrsInstance | None:
        name = self.rng.choice(self.world.builders).name
        if self.world.watch.paused.get(name):
            return operator.ResumeServer(name)
        pause, drain = operator.PauseServer(name, "by hand"), operator.DrainServer(name, "by hand")
        return self.rng.choice((pause, pause, drain, operator.ForgetServer(name)))

    def _builds(self) -> attrs.AttrsInstance | None:
        watch, rng = self.world.watch, self.rng
        one = self._one(list(watch.builds))
        if one is None:
            return None
        act = rng.randrange(4)
        if act == 0:
            return operator.AbortBuild(one, "by hand")
        if act == 1:
            return operator.ForgetFailure(one)
        if self.world.shares.limited:
            return None  # what an owner has rebuilt is not counted against what they may ask for
        email = rng.choice(("", "", rng.choice(self.world.requesters).email))
        return operator.RebuildBuild(one, email, f"{rng.getrandbits(128):032x}")

    def _in_other_names(self) -> attrs.AttrsInstance:
        """Ask for a build in the name of somebody, as it may be anybody."""
        item = self.world.blows.submission(self.rng.choice(self.world.requesters), self.rng)
        return evolve(item, email=item.email if item.email != self.party.owner else f"other.{item.email}")

    def _keys(self) -> attrs.AttrsInstance:
        name = self.rng.choice(self.world.parties).name
        line = enrolment.InviteOne(name, PrincipalRole.OPERATOR.value, 3_600.0, "", replaces=True)
        return self.rng.choice((line, enrolment.RevokeOne(name, "by hand"), enrolment.AskIdentities("")))

    def _everything(self) -> attrs.AttrsInstance:
        number = str(self._one(list(self.world.watch.artifacts)) or 1)
        name = self.rng.choice(self.world.builders).name
        tries: Sequence[attrs.AttrsInstance] = (
            operator.AskFarmStatus(), operator.Drain(on=True), operator.PurgeArtifact(number, "by hand"),
            operator.PurgeBuiltBy(name, "by hand"),
        )  # fmt: skip
        return self.rng.choice(tries)

    def _one(self, of: Sequence[T]) -> T | None:
        return self.rng.choice(of) if of else None


def meddlers(world: World) -> list[Meddler]:
    """Return those of a world: everybody who asks for builds, and one who may only look."""
    rng = random.Random(f"{world.seed} meddlers")
    observer = Party(world, OBSERVER, PrincipalRole.OBSERVER, "", Machine(OBSERVER, world.faults))
    people = [(one.party, one.life) for one in world.requesters if one.party is not None]
    return [Meddler(world, party, life, rng) for party, life in (*people, (observer, Life(world.time, OBSERVER)))]
