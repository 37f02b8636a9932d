"""What everybody has had, held against the ceilings: which limit is reached, and when it is not any more.

Time is an argument, in seconds of any clock that does not go back. What is kept is bounded, whatever is invented: only
the newest of each kind are remembered (``concurrency.rates``). So who needs a thousand new names to be forgotten has
to come from as many networks, whose own counts they fill.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import frozen

from buildtool.concurrency.rates import FairShares, RateBudget
from buildtool.errors import LimitReached, UsageError
from buildtool.model.access.ceilings import NO_CEILINGS, SECONDS, Ceilings, Counted, Most
from buildtool.model.addresses import wide_network_of
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.text import duration_words

__all__ = ["STANDING_AGAIN", "AllowanceLeft", "Allowances", "Counting", "Places", "counting"]

STANDING_AGAIN = 60.0
"""In how many seconds it is worth trying again where something has to end first."""

_SLACK = 1e-6


@frozen
class Counting:
    """A caller that something counts for: its e-mail address, key or name, its network address, and the network around.

    What is empty is not counted.
    """

    somebody: str = ""
    address: str = ""
    network: str = ""

    def scopes(self) -> Iterator[tuple[str, str, str]]:
        """Return the three as a ceiling names them, whom they are, and in words."""
        yield "somebody", self.somebody, f"for {self.somebody}"
        yield "address", self.address, f"from {self.address}"
        yield "network", self.network, f"from the network {self.network}"


NOBODY = Counting()
"""Whoever is not limited."""

_UNLIMITED = frozenset({PrincipalRole.OPERATOR, PrincipalRole.PAGES, PrincipalRole.TRIGGER})


def counting(by: Principal, email: str = "") -> Counting:
    """Return whom a caller's acts count for: the owner of their key, else the key, else the address that they name.

    An operator is not limited, nor a trigger, nor this machine's address: behind it, all may be who come through a
    proxy.
    """
    if by.role in _UNLIMITED:
        return NOBODY
    wide = wide_network_of(by.address)
    return Counting(by.owner or by.name or by.key or email, by.address if wide else "", wide)


@frozen
class Places:
    """The limit of one caller's open Requests, as it holds when they ask. ``email`` is whom the Requests are for."""

    whom: Counting
    email: str
    most: Most

    @property
    def counted(self) -> tuple[str, str, str]:
        """The e-mail address, network address and network whose open Requests count; empty is not counted."""
        return self.email if self.whom.somebody else "", self.whom.address, self.whom.network

    def refusal(self, before: tuple[int, int, int], after: tuple[int, int, int]) -> str:
        """Return why there may not come to be ``after`` where there are ``before``, by scope; "" where there may."""
        for (scope, who, words), there, count in zip(self.whom.scopes(), before, after, strict=True):
            most = getattr(self.most, scope)
            if who and most is not None and there < count > most:
                return (
                    f"the limit of {most:g} {Counted.OPEN.value} {words} is reached ({there} there are): "
                    "try again when one of them has ended"
                )
        return ""


@frozen
class AllowanceLeft:
    """An allowance: the ``most`` of it, how much is ``left``, and in how many seconds all of it is there again."""

    most: int
    left: int
    full: float


class Allowances:
    """The counts of what each caller has had of what is counted by time, and the ceilings that hold now."""

    def __init__(self, ceilings: Ceilings = NO_CEILINGS) -> None:
        self.ceilings = ceilings
        self._shares: dict[tuple[Counted, str], FairShares] = {}

    def configure(self, ceilings: Ceilings) -> None:
        """Take other ceilings; what is counted against one that has changed begins anew."""
        for what, scope in list(self._shares):
            if getattr(ceilings.of(what), scope) != getattr(self.ceilings.of(what), scope):
                del self._shares[what, scope]
        self.ceilings = ceilings

    def check(self, what: Counted, whom: Counting, now: float, amount: float = 1.0) -> None:
        """Raise LimitReached where ``amount`` of something is more than may be had now."""
        worst: tuple[float, str, float] | None = None
        for scope, who, words in whom.scopes():
            shares = self._of(what, scope)
            if not who or shares is None:
                continue
            wait = shares.wait(who, now, amount)
            if wait > _SLACK and (worst is None or wait > worst[0]):
                worst = wait, words, getattr(self.ceilings.of(what), scope)
        if worst is not None:
            wait, words, most = worst
            again = float(math.ceil(wait))
            raise LimitReached(
                f"the limit of {most:g} {what.value} {words} is reached: try again in {duration_words(again)}", again
            )

    def left(self, what: Counted, whom: Counting, now: float) -> AllowanceLeft | None:
        """Return what a caller has left of something, where they have least of it; None where nothing limits them."""
        found: AllowanceLeft | None = None
        for scope, who, _ in whom.scopes():
            shares = self._of(what, scope)
            if not who or shares is None:
                continue
            left, full = shares.left(who, now)
            count = math.floor(left + _SLACK)
            if found is None or count < found.left:
                found = AllowanceLeft(getattr(self.ceilings.of(what), scope), count, full)
        return found

    def take(self, what: Counted, whom: Counting, now: float, amount: float = 1.0) -> None:
        """Count ``amount`` of something, also where it is too much; a negative one gives back."""
        for scope, who, _ in whom.scopes():
            shares = self._of(what, scope)
            if who and shares is not None:
                shares.take(who, now, amount)

    def spend(self, what: Counted, whom: Counting, now: float, amount: float = 1.0) -> None:
        """Count ``amount`` of something where there is room for it. Raises LimitReached, and counts nothing then."""
        self.check(what, whom, now, amount)
        self.take(what, whom, now, amount)

    def places(self, by: Principal, email: str) -> Places | None:
        """Return the limit of the Requests that a caller may have open for ``email``; None where there is none."""
        whom, most = counting(by, email), self.ceilings.open_requests
        return None if whom == NOBODY or most == Most() else Places(whom, email, most)

    def check_together(self, count: int) -> None:
        """Raise UsageError where one submission is too many requests: it is so at any time."""
        most = self.ceilings.requests_at_once
        if most is not None and count > most:
            raise UsageError(f"{count} builds are asked for at once, which may be {most}: ask for fewer at once")

    def _of(self, what: Counted, scope: str) -> FairShares | None:
        most = getattr(self.ceilings.of(what), scope)
        if most is None:
            return None
        shares = self._shares.get((what, scope))
        if shares is None:
            shares = self._shares[what, scope] = FairShares(RateBudget(most, most / SECONDS[what]))
        return shares
