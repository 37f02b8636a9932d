"""The operator of a simulated farm: invites whoever asks, revokes now and then, again until it is known to be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.errors import BuildToolError, NotFound, StorageUnavailable, UsageError
from buildtool.protocol.enrolment import InvitationLine, InviteOne, RevokeOne
from tests.simulation.parties import Party
from tests.simulation.trust import Asked

if TYPE_CHECKING:
    from tests.simulation.world import World

LOST = 0.3
"""How many lines get lost in the mail, before anybody has used them."""

STOLEN = 0.15
"""How many lines somebody else has before the one who is invited."""

PATIENCE = 60.0
"""Seconds after which something is asked for again that nobody has answered."""


@define(eq=False)
class Office:
    """Whoever may invite and revoke."""

    world: World
    _inviting: set[str] = field(factory=set)
    _revoking: set[str] = field(factory=set)

    # --- inviting ------------------------------------------------------------------------------------------

    def wants(self, party: Party) -> None:
        """Somebody asks to be invited."""
        if party.name not in self._inviting:
            self._inviting.add(party.name)
            self.world.time.call(self.world.key_rng.uniform(0.5, 30.0), lambda: self._invite(party))

    def _invite(self, party: Party) -> None:
        world, rng = self.world, self.world.key_rng
        holder = world.trust.holder(party.role, party.name)
        message = InviteOne(
            party.name,
            party.role.value,
            rng.choice((90.0, 3_600.0, 86_400.0)) if world.faults.on else 86_400.0,
            party.owner,
            replaces=holder is not None and (not world.faults.on or rng.random() < 0.9),
        )

        def told(answer: InvitationLine) -> None:
            world.lines.append(answer.line)
            if world.faults.on and rng.random() < LOST:
                world.time.call(PATIENCE * rng.uniform(1.0, 20.0), lambda: self._invite(party))
                return
            if world.intruder is not None and world.faults.on and rng.random() < STOLEN:
                world.intruder.steal(answer.line)
            delay = rng.choice((0.5, 5.0, 5.0, 300.0)) if world.faults.on else 1.0
            world.time.call(delay, lambda: self._arrives(party, answer.line))

        def refused(error: BuildToolError) -> None:
            taken = isinstance(error, UsageError) and not message.replaces
            held = holder is not None or world.trust.holder(party.role, party.name) is not None
            if not (taken and held):
                world.watch.wrong(f"{party.name} cannot be invited: {error}")
            world.time.call(PATIENCE, lambda: self._invite(party))

        self._ask(message, told, refused, lambda: self._invite(party))

    def _arrives(self, party: Party, line: str) -> None:
        self.world.trace.say(party.name, "is invited")
        party.line = line
        self._inviting.discard(party.name)

    # --- revoking ------------------------------------------------------------------------------------------

    def revoke(self, name: str) -> None:
        """Revoke a name, until it is known to be done."""
        world = self.world
        if name in self._revoking:
            return

        def told(_answer: object) -> None:
            self._revoking.discard(name)
            world.trace.say("operator", f"has revoked {name}")

        def refused(error: BuildToolError) -> None:
            if not isinstance(error, NotFound):
                world.watch.wrong(f"{name} cannot be revoked: {error}")
            self._revoking.discard(name)

        def again() -> None:
            self._revoking.discard(name)
            self.revoke(name)

        if self._ask(RevokeOne(name, "it misbehaves"), told, refused, again):
            self._revoking.add(name)

    # --- asking --------------------------------------------------------------------------------------------

    def _ask(
        self,
        message: InviteOne | RevokeOne,
        told: Callable[[Any], None],
        refused: Callable[[BuildToolError], None],
        again: Callable[[], None],
    ) -> bool:
        """Ask the metaserver for an act, ``again`` where nobody answers; say whether anybody was asked."""
        world = self.world
        metaserver = world.metaserver
        if metaserver is None or not metaserver.serving or metaserver.life.ended:
            world.time.call(PATIENCE / 3, again)
            return False
        answered: list[object] = []
        asked = Asked(type(message), message.name, metaserver.life)

        def done(result: object) -> None:
            world.trust.answered(asked)
            if answered:
                return
            answered.append(result)
            if not isinstance(result, Failure):
                told(result)
            elif result.check(StorageUnavailable):
                world.time.call(PATIENCE / 3, again)
            elif result.check(BuildToolError):
                refused(result.value)  # type: ignore[arg-type] # it was checked
            else:
                world.watch.wrong(f"the operator met a defect: {result}")

        def look() -> None:
            if not answered:
                answered.append(None)
                again()

        world.time.call(PATIENCE, look)
        world.trust.asking(asked)
        world.keep(Deferred.fromCoroutine(metaserver.operate(message)).addBoth(done))
        return True
