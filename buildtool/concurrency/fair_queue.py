"""Queues of those who wait, of which each in turn has the next place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from buildtool.concurrency.asker import Asker

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue of what askers wait for. Addresses take turns, and so do the connections of one address."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[int, list[T]]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, asker: Asker, items: Sequence[T]) -> None:
        """Append ``items`` to what the asker waits for already."""
        if items:
            self._waiting.setdefault(asker.address, {}).setdefault(asker.connection, []).extend(items)

    def take(self, but: Callable[[str], bool] = lambda _: False) -> list[T]:
        """Return all that one connection waits for, of an address that ``but`` does not exclude; [] if there is none.

        What is put back then waits behind what others wait for.
        """
        address = next((one for one in self._waiting if not but(one)), None)
        if address is None:
            return []
        connections = self._waiting.pop(address)
        items = connections.pop(next(iter(connections)))
        if connections:
            self._waiting[address] = connections
        return items

    def drop(self, asker: Asker, item: T) -> bool:
        """Remove ``item`` from the queue; return whether it was there."""
        connections = self._waiting.get(asker.address, {})
        items = connections.get(asker.connection, [])
        if item not in items:
            return False
        items.remove(item)
        if not items:
            del connections[asker.connection]
        if not connections:
            del self._waiting[asker.address]
        return True
