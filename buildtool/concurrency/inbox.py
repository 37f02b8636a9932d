"""What waits to be done in the reactor, taken fairly: whoever has taken up the least of its time lately is next.

Events of one connection keep their order. Addresses are compared first, then the connections of one address, so that
neither many questions nor many connections of a peer keep others waiting longer than for one event of each. What the
metaserver itself sends (timers, the operator, upkeep) goes before all peers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from buildtool.concurrency.asker import INTERNAL, Asker, asker, hung_up

E = TypeVar("E")
T = TypeVar("T")

LATELY = 5.0
"""Seconds after which time that was taken up counts half."""

LEAST = 0.0001
"""Seconds that an event counts at least."""

ACCOUNTS_KEPT = 10_000
"""Of how many connections and addresses it is known what they took up, beside those that wait."""

_DOUBLED = 400
"""After so many times that a second has come to count twice as much, it is begun anew."""


@define(eq=False)
class _Account(Generic[E]):
    """What a connection took up, and its events; or an address, with the accounts of its connections.

    ``order`` has those of ``members`` that wait, those first that took up least when they were put there.
    """

    used: float = 0.0
    events: deque[E] = field(factory=deque)
    members: dict[Hashable, _Account[E]] = field(factory=dict)
    order: list[tuple[float, int, Hashable]] = field(factory=list)
    waits: bool = False

    def member(self, name: Hashable) -> _Account[E]:
        found = self.members.get(name)
        if found is None:
            found = self.members[name] = _Account()
        return found

    def lighten(self, weight: float) -> None:
        """Count in a unit that is so much larger, and forget those members that do not wait."""
        self.used /= weight
        self.members = {name: member for name, member in self.members.items() if member.waits}
        for member in self.members.values():
            member.used /= weight
        self.order = [(used / weight, count, name) for used, count, name in self.order]


class Inbox(Generic[E]):
    """A queue of events by who sent them. ``seconds`` reads the monotonic clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began = seconds()
        self._root: _Account[E] = _Account()
        self._own: deque[E] = deque()
        self._size = 0
        self._count = 0
        self._accounts = 0

    def __len__(self) -> int:
        return self._size

    def put(self, event: E, by: Asker, *, first: bool = False) -> None:
        """Put an event behind what the same connection sent before, or ``first``: it was taken too early."""
        self._size += 1
        if by is INTERNAL:
            (self._own.appendleft if first else self._own.append)(event)
            return
        self._tidy()
        address = self._root.member(by.address)
        known = len(address.members)
        connection = address.member(by.connection)
        self._accounts += len(address.members) - known
        (connection.events.appendleft if first else connection.events.append)(event)
        self._line_up(address, by.connection)
        self._line_up(self._root, by.address)

    def take(self) -> E:
        """Return the next event. Raises IndexError when none waits."""
        if self._own:
            self._size -= 1
            return self._own.popleft()
        name, address = self._next(self._root)
        number, connection = self._next(address)
        event = connection.events.popleft()
        self._size -= 1
        weighted = LEAST * self._weight()
        address.used += weighted
        connection.used += weighted
        if connection.events:
            self._line_up(address, number)
        if address.order:
            self._line_up(self._root, name)
        return event

    def charge(self, by: Asker, seconds: float) -> None:
        """Record how many ``seconds`` an event of a peer has taken up."""
        address = self._root.members.get(by.address)
        if address is None:
            return
        weighted = seconds * self._weight()
        address.used += weighted
        connection = address.members.get(by.connection)
        if connection is not None:
            connection.used += weighted

    def _line_up(self, owner: _Account[E], name: Hashable) -> None:
        account = owner.members[name]
        if not account.waits:
            account.waits = True
            self._count += 1
            heapq.heappush(owner.order, (account.used, self._count, name))

    def _next(self, owner: _Account[E]) -> tuple[Hashable, _Account[E]]:
        """Return who is next; what it took up may have become more since it was put into its place."""
        while True:
            used, _, name = heapq.heappop(owner.order)
            account = owner.members[name]
            account.waits = False
            if account.used <= used or not owner.order or account.used <= owner.order[0][0]:
                return name, account
            self._line_up(owner, name)

    def _weight(self) -> float:
        """Return how much a second counts now: twice as much as ``LATELY`` ago, in place of halving all that was."""
        return float(2.0 ** min((self._seconds() - self._began) / LATELY, 2 * _DOUBLED))

    def _tidy(self) -> None:
        """Begin to count anew before figures grow too large, and forget those who have sent nothing for long."""
        if self._accounts <= ACCOUNTS_KEPT and self._seconds() - self._began < LATELY * _DOUBLED:
            return
        weight = self._weight()
        self._began = self._seconds()
        for name, address in list(self._root.members.items()):
            address.lighten(weight)
            if not address.members:
                del self._root.members[name]
        self._accounts = sum(len(address.members) for address in self._root.members.values())
        self._root.order = [(used / weight, count, name) for used, count, name in self._root.order]


class Gate:
    """A gate through which one thing passes at a time; who waits is let through as from an inbox."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._waiting: Inbox[Deferred[None]] = Inbox(seconds)
        self._taken = False

    async def run(self, act: Callable[[], Awaitable[T]]) -> T:
        """Return what ``act`` returns, once it is the asker's turn. Raises Unavailable if they have left."""
        by = asker()
        if self._taken:
            turn: Deferred[None] = Deferred()
            self._waiting.put(turn, by)
            await turn
        self._taken = True
        began = self._seconds()
        try:
            if by.gone:
                raise hung_up()
            return await act()
        finally:
            self._waiting.charge(by, self._seconds() - began)
            self._taken = False
            if len(self._waiting):
                self._taken = True
                self._waiting.take().callback(None)
