"""Which open things belong to a key, in as little memory as can be: nearly every key has exactly one."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
M = TypeVar("M", bound=Hashable)


class Index(Generic[K]):
    """A table of numbers by key, in the order of addition. A lone one is kept as it is, several in a dictionary."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[K, int | dict[int, None]] = {}

    def add(self, key: K, member: int) -> None:
        """Add a number to those of ``key``, unless it is among them."""
        there = self._of.get(key)
        if there is None:
            self._of[key] = member
        elif isinstance(there, dict):
            there[member] = None
        elif there != member:
            self._of[key] = {there: None, member: None}

    def drop(self, key: K, member: int) -> None:
        """Take a number away from those of ``key``. Raises KeyError where it is not among them."""
        there = self._of[key]
        if isinstance(there, dict):
            del there[member]
            if len(there) == 1:
                self._of[key] = next(iter(there))
        elif there == member:
            del self._of[key]
        else:
            raise KeyError(member)

    def get(self, key: K) -> Collection[int]:
        """Return the numbers of ``key``, none if it has none."""
        there = self._of.get(key)
        if there is None:
            return ()
        return there if isinstance(there, dict) else (there,)

    def items(self) -> Iterator[tuple[K, Collection[int]]]:
        """Return every key with its numbers."""
        return ((key, self.get(key)) for key in self._of)


def drop(index: dict[K, dict[M, None]], key: K, member: M) -> None:
    """Take a member away from those of ``key``, and the key with its last. Raises KeyError where it is not there."""
    members = index[key]
    del members[member]
    if not members:
        del index[key]
