"""How much memory the connections of a port take, in bytes, and which of them takes too much."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

__all__ = ["MemoryBudget"]

C = TypeVar("C")

_NOTHING = "", 0


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
