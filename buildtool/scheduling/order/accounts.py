"""What each share is charged with: its open Builds, waiting or running, by what they compete for and how nice they are.

The test is tests/scheduling/order/test_places.py.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, ItemsView, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

ByNice = dict[int, list[int]]
"""By nice, the ids of the Requests that Builds are charged to, in order."""


class Accounts(Generic[K]):
    """The open Builds of each share by kind. Whatever is charged is released the same way once."""

    def __init__(self) -> None:
        self._of: dict[str, dict[K, ByNice]] = {}

    def charge(self, share: str, kind: K, nice: int, place: int) -> None:
        """Add a Build of a kind, asked for by Request ``place``, to what a share is charged with."""
        insort(self._of.setdefault(share, {}).setdefault(kind, {}).setdefault(nice, []), place)

    def release(self, share: str, kind: K, nice: int, place: int) -> None:
        """Take back what was charged. Raises KeyError where it was not."""
        kinds = self._of[share]
        places = kinds[kind][nice]
        at = bisect_left(places, place)
        if at == len(places) or places[at] != place:
            raise KeyError(place)
        del places[at]
        if not places:
            del kinds[kind][nice]
            if not kinds[kind]:
                del kinds[kind]
                if not kinds:
                    del self._of[share]

    def of(self, share: str) -> ItemsView[K, ByNice]:
        """Return what a share is charged with."""
        found: Mapping[K, ByNice] = self._of.get(share, {})
        return found.items()

    def shares(self) -> int:
        """Return how many shares are charged with anything."""
        return len(self._of)
