"""What is taken of whom: how much everybody may ask for, and whether it waits until their address is confirmed."""

from __future__ import annotations

from attrs import define, field

from buildtool.errors import LimitReached
from buildtool.metaserver.access.mailed_codes import MailedCodes
from buildtool.metaserver.broker import Broker
from buildtool.model.access.ceilings import SECONDS, TOLD, Ceilings, Counted
from buildtool.model.addresses import wide_network_of
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.pages.visiting import LimitLeft
from buildtool.scheduling.allowances import NOBODY, STANDING_AGAIN, Allowances, Counting, counting
from buildtool.scheduling.events import AddressConfirmed

GIB = 1024**3


@define(eq=False)
class Admittance:
    """The limits of a farm, over its broker. Without ``codes`` every address is believed."""

    broker: Broker
    allowances: Allowances = field(factory=Allowances)
    codes: MailedCodes | None = None

    def __attrs_post_init__(self) -> None:
        if self.codes is not None:
            self.codes.released = self.release

    @property
    def now(self) -> float:
        """The time by which rates are counted, in seconds."""
        return self.broker.timers.seconds()

    def submission(self, by: Principal, email: str, count: int) -> None:
        """Count ``count`` requests that are asked for at once. Raises UsageError, LimitReached."""
        whom = counting(by, email)
        if whom != NOBODY:
            self.allowances.check_together(count)
        self.allowances.check(Counted.STORED, whom, self.now, 0.0)
        self.allowances.spend(Counted.REQUESTS, whom, self.now, count)

    def explanation(self, by: Principal) -> None:
        """Count one explanation. Raises LimitReached."""
        self.allowances.spend(Counted.EXPLANATIONS, counting(by), self.now)

    def left(self, by: Principal) -> tuple[LimitLeft, ...]:
        """Return what a caller has left of what is limited for them."""
        found = ((name, what, self.allowances.left(what, counting(by), self.now)) for name, what in TOLD.items())
        return tuple(
            LimitLeft(name, float(one.most), SECONDS[what], one.left, one.full) for name, what, one in found if one
        )

    def believes(self, by: Principal, email: str) -> bool:
        """Return whether mail may go to an address that a caller names."""
        return self.codes is None or self.codes.believes(by, email)

    def share(self, by: Principal, email: str) -> str:
        """Return whose turns in the order a request of this caller takes: who has their key, or a confirmed address.

        Addresses that are not confirmed, of which there can be any number, have those of their network together. Each
        trigger has its own.
        """
        if by.role is PrincipalRole.TRIGGER:
            return by.name.lower()  # as weights know it
        if by.owner or by.key or by.token:
            return (by.owner or by.name or by.key or by.token).lower()
        known = by.trusted or (self.codes is not None and self.codes.believes(by, email))
        return ("" if known else wide_network_of(by.address)) or email.lower()

    async def must_wait(self, by: Principal, email: str, count: int) -> bool:
        """Return whether ``count`` requests wait until an address is confirmed, which is mailed, at most once a day.

        Raises UsageError, LimitReached.
        """
        if self.codes is None or self.believes(by, email):
            return False
        places = self.allowances.places(by, email)
        if places is not None:  # nobody is mailed about what is refused
            first, second, third = self.broker.state.records.open_counts.of(*places.counted)
            refusal = places.refusal((first, second, third), (first + count, second + count, third + count))
            if refusal:
                raise LimitReached(refusal, STANDING_AGAIN)
        await self.codes.want(by, email)
        return True

    async def release(self, email: str) -> None:
        """Admit what waited until an address was confirmed. Raises StorageUnavailable."""
        waiting = [one for one in self.broker.state.requests.values() if one.held and one.email == email]
        for one in waiting:
            await self.broker.send(AddressConfirmed(one.id, one.demand, one.force))

    async def reconfigure(self, ceilings: Ceilings) -> None:
        """Take other limits, and admit what waits no longer by the settings that hold now."""
        self.allowances.configure(ceilings)
        await self.settle()

    async def settle(self) -> None:
        """Admit what waits though its address is believed by now, as after a start or with other settings."""
        nobody = Principal(PrincipalRole.REQUESTER)
        emails = {one.email for one in self.broker.state.requests.values() if one.held}
        for email in sorted(emails):
            if self.believes(nobody, email):
                await self.release(email)

    def check_storing(self, build_id: int, epoch: int) -> None:
        """Raise LimitReached where a build server has stored too much lately: what else it has waits there."""
        attempt = self.broker.state.attempts.get((build_id, epoch))
        if attempt is not None:
            self.allowances.check(Counted.STORED, Counting(attempt.server), self.now, 0.0)

    def stored(self, build_id: int, epoch: int, size: int) -> None:
        """Count bytes that a build server has sent: for itself, and for the requester who asked first for the build."""
        state = self.broker.state
        attempt = state.attempts.get((build_id, epoch))
        whom = [Counting(attempt.server)] if attempt is not None else []
        first = min(state.records.waiting_on.get(build_id), default=None)
        if first is not None:
            asked = state.requests[first]
            wide = wide_network_of(asked.asker)
            whom.append(Counting(asked.email, asked.asker if wide else "", wide))
        for one in whom:
            self.allowances.take(Counted.STORED, one, self.now, size / GIB)
