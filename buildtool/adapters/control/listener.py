"""Listens for guarded connections: which are let in, and what all of them together may take."""

# Perspective Broker has no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.spread import pb

from buildtool.adapters.control.connection import Guarded
from buildtool.adapters.control.limits import ConnectionLimits
from buildtool.adapters.network.connection_shares import ConnectionShares, ConnectionState, MemoryBudget, NoRoom
from buildtool.adapters.network.endpoints import address_of, network_at
from buildtool.adapters.network.met_networks import MetNetworks
from buildtool.adapters.network.open_files import room_for
from buildtool.adapters.network.slices import Slices
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.errors import LimitReached

_log = Logger()

STANDING_AGAIN = 60.0
"""In how many seconds it is worth to try again where a connection has to end first."""


class GuardedFactory(Factory):
    """A listener that makes a ``Guarded`` for each connection that there is room for, with a root object of its own.

    ``met`` are the networks from which a known key was shown.
    """

    noisy = False

    def __init__(
        self, root: Callable[[Guarded], pb.Referenceable], clock: IReactorTime, limits: ConnectionLimits | None = None
    ) -> None:
        self._root = root
        self._clock = clock
        self.limits = limits or ConnectionLimits()
        self.complaints = ViolationLog(clock)
        self._connections: ConnectionShares[Guarded] = ConnectionShares(
            room_for(self.limits.connections), self.limits.most
        )
        self._of_key: Counter[str] = Counter()
        self.met = MetNetworks()
        self._memory: MemoryBudget[Guarded] = MemoryBudget(self.limits.held)
        self.slices = Slices(clock)

    def buildProtocol(self, addr: IAddress | None) -> Guarded | None:
        """Return the connection's protocol, or None (which closes it) when there is no room for one more."""
        try:
            other = self._connections.make_room(network_at(addr), self._clock.seconds())
        except NoRoom as full:
            self.complaints.say(f"connection with {address_of(addr)} not taken: {full}")
            return None
        if other is not None:
            self._end(other, "it made room for somebody else, having been idle for longest")
        made = Guarded(self._clock, self.complaints, self.limits, is_client=False, house=self)
        made.factory = self
        made.localObjects[b"root"] = pb.Local(self._root(made))
        return made

    @property
    def memory(self) -> int:
        """About how many bytes of memory the messages of all connections take."""
        return self._memory.total

    def arrived(self, connection: Guarded) -> None:
        self._connections.arrived(connection, connection.asker.address, self._clock.seconds())

    def heard(self, connection: Guarded) -> None:
        self._connections.heard(connection, self._clock.seconds())

    def stands(self, connection: Guarded, state: ConnectionState) -> None:
        self._connections.stands(connection, state, self._clock.seconds())

    def proved(self, connection: Guarded, key: str, whose: str) -> None:
        """Count a connection that proved to have a key, and whose that is. Raises LimitReached."""
        most = self.limits.most().somebody
        if most is not None and self._of_key[key] >= most:
            raise LimitReached(
                f"the limit of {most:g} connections for {whose} is reached: try again when one of them has ended",
                STANDING_AGAIN,
            )
        self.met.add(key, connection.asker.address)
        if connection in self._connections:
            connection.key = key
            self._of_key[key] += 1

    def left(self, connection: Guarded) -> None:
        """Forget a connection, and the memory that it took."""
        if connection.key and connection in self._connections:
            self._of_key[connection.key] -= 1
            if not self._of_key[connection.key]:
                del self._of_key[connection.key]
        self._memory.takes(connection, connection.asker.address, 0)
        self._connections.left(connection)

    def holds(self, connection: Guarded) -> None:
        """Count the memory that a connection takes, and close those that take most where that is too much."""
        if connection not in self._connections:
            return
        self._memory.takes(connection, connection.asker.address, connection.held)
        while (heaviest := self._memory.too_much()) is not None:
            self._end(heaviest, f"its messages took {heaviest.held} bytes of memory, the most when there was no more")

    def _end(self, connection: Guarded, why: str) -> None:
        connection.drop(why)
        self.left(connection)

    def end_key(self, key: str, why: str) -> None:
        """End all connections of a key at once, which is not known any more."""
        self.met.forget(key)
        for connection in [one for one in self._connections if one.key == key]:
            self._end(connection, why)

    def close(self, why: str) -> None:
        """End all connections, each when everything is written."""
        if len(self._connections):
            what = "1 connection" if len(self._connections) == 1 else f"{len(self._connections)} connections"
            _log.info("cut off: {what}, since {why}", what=what, why=why)
        for connection in self._connections:
            connection.leave(why)
