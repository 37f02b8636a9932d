"""Answering at once what many ask: one act for all questions that waited when it began."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from buildtool.concurrency.single_flight import SingleFlight

K = TypeVar("K")
T = TypeVar("T")


class Batches(Generic[K, T]):
    """A ``SingleFlight`` whose act is told everything that those who share a run ask about."""

    def __init__(self) -> None:
        self._rounds: SingleFlight[T] = SingleFlight()
        self._asked: dict[str, list[frozenset[K]]] = {}

    async def ask(self, key: str, items: Iterable[K], act: Callable[[frozenset[K]], Awaitable[T]]) -> T:
        """Return what a run of ``act`` that begins after now, about at least ``items``, returns or raises."""
        mine = frozenset(items)
        asked = self._asked.setdefault(key, [])
        asked.append(mine)

        async def run() -> T:
            return await act(frozenset().union(*self._asked.pop(key, [])))

        try:
            return await self._rounds.share(key, run)
        finally:
            # Whoever left before the run began asks nothing any more.
            left = self._asked.get(key, [])
            if left is asked and any(one is mine for one in left):
                del left[next(place for place, one in enumerate(left) if one is mine)]
                if not left:
                    del self._asked[key]
