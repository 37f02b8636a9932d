"""Which connections a port keeps when more come than it has room for, or they take more memory than there is.

A port has room for so many connections. While there is some, everybody is let in. When there is none, a newcomer takes
the place of somebody else: of the network that has the most connections, the one that has been idle for longest. One
network may so have all the room that nobody else wants, and no number of silent connections keeps others out. Only
where everybody is busy is a newcomer turned away, unless their network has clearly fewer connections than another.

Who has many addresses of one network (``wide_network_of``) counts as one where room is made. A ceiling may say how many
connections one address and one network have at most: there a newcomer takes a place among those of their own.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Generic, TypeVar

from attrs import define, field

from buildtool.model.access.ceilings import Most
from buildtool.model.addresses import wide_network_of

C = TypeVar("C")

FRESH = 1.0
"""Seconds for which a stranger is likely to be in the middle of saying who they are."""

STALLED = 10.0
"""Seconds after which one that should be sending or reading, and does neither, has to make room for others."""

_NOTHING = "", 0


class NoRoom(Exception):
    """A newcomer cannot be let in; the text says why, for the log."""


class CeilingReached(NoRoom):
    """A newcomer's address or network has as many connections as it may have, all of them busy."""


class ConnectionState(IntEnum):
    """The state of a connection, which decides when it has to make room.

    A STRANGER has not yet said what it wants, an IDLE one has and wants nothing now. A BUSY one is sending or reading.
    One that WAITS (for an answer of ours, for news, for orders) is right to be silent.
    """

    STRANGER = 0
    IDLE = 1
    BUSY = 2
    WAITS = 3


@define(eq=False)
class _Network:
    """The connections of one network by standing, each with when it was last heard, the longest silent first."""

    by_state: tuple[OrderedDict[object, float], ...] = field(
        factory=lambda: tuple(OrderedDict() for _ in ConnectionState), init=False
    )

    def __len__(self) -> int:
        return sum(map(len, self.by_state))


class ConnectionShares(Generic[C]):
    """The connections of one port, of which it has room for ``most``. Times are seconds of any one clock."""

    def __init__(self, most: int, ceiling: Callable[[], Most] = Most) -> None:
        """``ceiling`` is the most that one address, and one network, may have of them."""
        self.most = most
        self._ceiling = ceiling
        self._around: Counter[str] = Counter()
        self._networks: dict[str, _Network] = {}
        self._places: dict[C, tuple[str, ConnectionState]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[C]:
        return iter(tuple(self._places))

    def __contains__(self, connection: object) -> bool:
        return connection in self._places

    def of(self, network: str) -> int:
        """Return how many connections a network has."""
        found = self._networks.get(network)
        return len(found) if found is not None else 0

    def make_room(self, network: str, now: float) -> C | None:
        """Return which connection a newcomer from ``network`` takes the place of, None if there is room. Raises NoRoom.

        It is forgotten here at once; the caller closes it.
        """
        found = self._beyond_ceiling(network, now)
        if found is None:
            if len(self._places) < self.most:
                return None
            found = self._weakest(network, now)
        if found is None:
            raise NoRoom(f"there are {len(self._places)} already, all of them busy")
        self.left(found)
        return found

    def _beyond_ceiling(self, network: str, now: float) -> C | None:
        """Return which of their own a newcomer takes the place of, where they have as many as may be.

        Raises CeilingReached.
        """
        ceiling, wide = self._ceiling(), wide_network_of(network)
        if not wide:
            return None
        for own, count, most, words in (
            ([network], self.of(network), ceiling.address, f"from {network}"),
            (None, self._around[wide], ceiling.network, f"from the network {wide}"),
        ):
            if most is None or count < most:
                continue
            names = own or [one for one in self._networks if wide_network_of(one) == wide]
            found = self._first(sorted(names, key=self.of, reverse=True), now)
            if found is None:
                raise CeilingReached(
                    f"the limit of {most:g} connections {words} is reached: try again when one of them has ended"
                )
            return found
        return None

    def arrived(self, connection: C, network: str, now: float) -> None:
        """Count a newcomer, who is a stranger."""
        self._put(connection, network, ConnectionState.STRANGER, now)

    def stands(self, connection: C, state: ConnectionState, now: float) -> None:
        """Record what a connection is doing from now on; ignore one that is not counted."""
        place = self._places.get(connection)
        if place is None:
            return
        network, before = place
        there = self._networks[network].by_state
        if before is not state:
            del there[before][connection]
            self._places[connection] = network, state
        there[state][connection] = now
        there[state].move_to_end(connection)

    def heard(self, connection: C, now: float) -> None:
        """Record that a connection was sent or read just now; ignore one that is not counted."""
        place = self._places.get(connection)
        if place is not None:
            group = self._networks[place[0]].by_state[place[1]]
            group[connection] = now
            group.move_to_end(connection)

    def left(self, connection: C) -> bool:
        """Forget a connection; return whether it was counted."""
        if connection not in self._places:
            return False
        self._take(connection)
        return True

    def _put(self, connection: C, network: str, state: ConnectionState, now: float) -> None:
        self._places[connection] = network, state
        there = self._networks.get(network)
        if there is None:
            there = self._networks[network] = _Network()
        self._around[wide_network_of(network)] += 1
        there.by_state[state][connection] = now

    def _take(self, connection: C) -> None:
        network, state = self._places.pop(connection)
        there = self._networks[network]
        del there.by_state[state][connection]
        if not there:
            del self._networks[network]
        wide = wide_network_of(network)
        self._around[wide] -= 1
        if not self._around[wide]:
            del self._around[wide]

    def _weakest(self, network: str, now: float) -> C | None:
        largest = sorted(self._networks, key=self._share, reverse=True)
        found = self._first(largest, now)
        if found is not None:
            return found
        # All are busy: only who has clearly more than their share makes room, so that two do not take turns.
        # Among neighbours each address is compared alone.
        at = int(bool(largest) and wide_network_of(largest[0]) == wide_network_of(network))
        if largest and self._share(largest[0])[at] > self._share(network)[at] + 1:
            for group in self._networks[largest[0]].by_state:
                if group:
                    return next(iter(group))  # type: ignore[return-value] # it was put there
        return None

    def _first(self, names: Sequence[str], now: float) -> C | None:
        """Return the first of these networks' connections that is idle, else one that stalls."""
        for choose in (_idle, _stalled):
            for name in names:
                found = choose(self._networks[name], now)
                if found is not None:
                    return found  # type: ignore[return-value] # it was put there
        return None

    def _share(self, network: str) -> tuple[int, int]:
        """Return how many connections there are of all that is around a network, and of itself."""
        wide = wide_network_of(network)
        own = self.of(network)
        return (self._around[wide] if wide else own), own


def _idle(there: _Network, now: float) -> object | None:
    """Return a stranger who is silent for a while, else one that wants nothing, else any stranger."""
    strangers, idle = there.by_state[ConnectionState.STRANGER], there.by_state[ConnectionState.IDLE]
    for group, since in ((strangers, now - FRESH), (idle, now), (strangers, now)):
        found = _silent(group, since)
        if found is not None:
            return found
    return None


def _stalled(there: _Network, now: float) -> object | None:
    return _silent(there.by_state[ConnectionState.BUSY], now - STALLED)


def _silent(group: OrderedDict[object, float], since: float) -> object | None:
    """Return the one of a group that is silent for longest, if it was not heard after ``since``."""
    for connection, heard in group.items():
        return connection if heard <= since else None
    return None


class MemoryBudget(Generic[C]):
    """A budget of bytes by connection and network: together at most ``most``, one network at most ``share`` of it."""

    def __init__(self, most: int, share: float = 0.75) -> None:
        self._most = most
        self._share = share * most
        self._of: dict[C, tuple[str, int]] = {}
        self._networks: Counter[str] = Counter()
        self.total = 0

    def takes(self, connection: C, network: str, size: int) -> None:
        """Record that a connection takes ``size`` bytes now."""
        _, before = self._of.pop(connection, _NOTHING)
        if size == before == 0:
            return
        if size:
            self._of[connection] = network, size
        self.total += size - before
        self._networks[network] += size - before
        if not self._networks[network]:
            del self._networks[network]

    def of(self, network: str) -> int:
        """Return how many bytes a network takes."""
        return self._networks[network]

    def too_much(self) -> C | None:
        """Return the connection to close: the largest of the network that takes most, if that or all is too much."""
        if self.total <= self._share or not self._networks:
            return None  # then no network has more than its share either
        network, size = max(self._networks.items(), key=lambda item: item[1])
        if self.total <= self._most and size <= self._share:
            return None
        return max((one for one in self._of if self._of[one][0] == network), key=lambda one: self._of[one][1])
