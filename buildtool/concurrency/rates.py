"""How much of one kind may come from one source: budgets that fill up again with time, in bounded memory.

Time is an argument, in seconds of any clock that does not go back; what is counted is up to the caller (bytes, lines).
"""

from __future__ import annotations

import math

from attrs import define, field, frozen

SOURCES_KEPT = 1_000
"""How many sources have a budget of their own at a time; who is not heard of longest begins anew."""

SHARES_KEPT = 20_000
"""How many shares are kept at a time, the newest."""

KINDS_KEPT = 500
"""How many kinds have a budget of their own; all others share one."""


@frozen
class RateBudget:
    """A budget: so much at once, refilled by so much each second, up to as much at once again."""

    at_once: float
    per_second: float


@frozen
class OmittedCount:
    """A count of what was left out of a kind, all from ``source`` ("" for several), since a time."""

    kind: str
    source: str
    count: int
    since: float


@define
class _Account:
    left: float
    at: float
    count: int = 0
    since: float = 0.0
    sources: set[str] = field(factory=set)

    def filled(self, budget: RateBudget, now: float) -> float:
        """Return what is left by now."""
        self.left = min(budget.at_once, self.left + max(0.0, now - self.at) * budget.per_second)
        self.at = now
        return self.left

    def takes(self, cost: float, budget: RateBudget, now: float) -> bool:
        """Take ``cost`` off what is left, if there is anything left. One that costs more than all of it is in debt."""
        if self.filled(budget, now) <= 0.0:
            return False
        self.left -= cost
        return True


class FairShares:
    """A budget for each of many: ``has_room`` asks, ``take`` takes into account. Who is unknown has all of it."""

    def __init__(self, budget: RateBudget) -> None:
        self._budget = budget
        self._accounts: dict[str, _Account] = {}

    def has_room(self, who: str, now: float, beside: int = 0) -> bool:
        """Return whether there is room for one more of ``who``, beside ``beside`` that will be taken."""
        account = self._accounts.get(who)
        left = self._budget.at_once if account is None else account.filled(self._budget, now)
        return left >= 1.0 + beside

    def left(self, who: str, now: float) -> tuple[float, float]:
        """Return how much ``who`` has left, 0 at least, and in how many seconds all of it is there again."""
        account = self._accounts.get(who)
        left = self._budget.at_once if account is None else account.filled(self._budget, now)
        missing = self._budget.at_once - left
        if missing <= 0.0:
            return left, 0.0
        return max(0.0, left), missing / self._budget.per_second if self._budget.per_second else math.inf

    def wait(self, who: str, now: float, cost: float = 1.0) -> float:
        """Return in how many seconds there is room for ``cost`` of ``who``: 0 at once, infinity if never.

        What costs more than the whole budget has room when all of it is left.
        """
        account = self._accounts.get(who)
        left = self._budget.at_once if account is None else account.filled(self._budget, now)
        missing = min(cost, self._budget.at_once) - left
        if missing <= 0.0:
            return 0.0
        return missing / self._budget.per_second if self._budget.per_second else math.inf

    def take(self, who: str, now: float, cost: float = 1.0) -> None:
        """Take one into account, or ``cost`` of it, also where there was no room for it; a negative cost gives back."""
        account = self._accounts.pop(who, None) or _Account(self._budget.at_once, now)
        account.left = min(self._budget.at_once, account.filled(self._budget, now) - cost)
        self._accounts[who] = account  # the newest stands last
        if len(self._accounts) > SHARES_KEPT:
            del self._accounts[next(iter(self._accounts))]


class RateLimiter:
    """A limiter: something passes while its source, and its kind as a whole, have something left of their budgets.

    Kinds are the program's own and few; sources are whatever peers are called.
    """

    def __init__(self, of_source: RateBudget, of_kind: RateBudget) -> None:
        self._of_source = of_source
        self._of_kind = of_kind
        self._kinds: dict[str, _Account] = {}
        self._sources: dict[tuple[str, str], _Account] = {}

    def allows(self, kind: str, source: str, cost: float, now: float) -> bool:
        """Return whether there is room for one more, and count it: as taken, or as left out."""
        if kind not in self._kinds and len(self._kinds) >= KINDS_KEPT:
            kind = ""
        whole = self._kinds.setdefault(kind, _Account(self._of_kind.at_once, now))
        own = self._own(kind, source, now) if source else whole
        if own.takes(cost, self._of_source if source else self._of_kind, now) and (
            own is whole or whole.takes(cost, self._of_kind, now)
        ):
            return True
        if not whole.count:
            whole.since = now
        whole.count += 1
        if len(whole.sources) < 2:  # noqa: PLR2004 - one is named, more are several
            whole.sources.add(source)
        return False

    def left_out(self, before: float) -> list[OmittedCount]:
        """Return what was left out since a time no later than ``before``, of each kind together, and forget it."""
        found = []
        for kind, account in self._kinds.items():
            if account.count and account.since <= before:
                source = next(iter(account.sources)) if len(account.sources) == 1 else ""
                found.append(OmittedCount(kind, source, account.count, account.since))
                account.count = 0
                account.sources.clear()
        return found

    def _own(self, kind: str, source: str, now: float) -> _Account:
        key = (kind, source)
        account = self._sources.pop(key, None) or _Account(self._of_source.at_once, now)
        self._sources[key] = account  # the newest stands last
        if len(self._sources) > SOURCES_KEPT:
            del self._sources[next(iter(self._sources))]
        return account
