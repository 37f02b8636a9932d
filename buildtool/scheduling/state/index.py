"""Which open things belong to a key, in as little memory as can be: nearly every key has exactly one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

from buildtool.model.addresses import wide_network_of
from buildtool.model.records import Request
from buildtool.model.triggers.trigger import TRIGGER

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


def alike(request: Request) -> tuple[str, ...]:
    """Return what Requests of one share for one kind of artifact, whatever its revision, have in common."""
    shelf = request.demand.spec.shelf
    return (request.share, shelf.project, shelf.source, shelf.options_digest)


class OpenCounts:
    """The numbers of open Requests of each e-mail address, each network address, and each network around one."""

    def __init__(self) -> None:
        self._email: Counter[str] = Counter()
        self._address: Counter[str] = Counter()
        self._network: Counter[str] = Counter()

    def follow(self, old: Request | None, new: Request | None) -> None:
        """Count a Request that is open from now on, or no longer. One that is open goes on being whose it was."""
        if old is None and new is not None:
            self._count(new, 1)
        elif old is not None and new is None:
            self._count(old, -1)

    def _count(self, one: Request, more: int) -> None:
        own = "" if one.share.startswith(TRIGGER) else one.email  # what a project asks for by itself is not theirs
        of = ((self._email, own), (self._address, one.asker), (self._network, wide_network_of(one.asker)))
        for counter, key in of:
            if key:
                counter[key] += more
                if not counter[key]:
                    del counter[key]

    def of(self, email: str, address: str, network: str) -> tuple[int, int, int]:
        """Return how many there are of each."""
        return self._email[email], self._address[address], self._network[network]


def drop(index: dict[K, dict[M, None]], key: K, member: M) -> None:
    """Take a member away from those of ``key``, and the key with its last. Raises KeyError where it is not there."""
    members = index[key]
    del members[member]
    if not members:
        del index[key]
