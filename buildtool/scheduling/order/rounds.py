"""How far each demand class has come, in rounds, and what each share has open where a Build competes.

Two classes *compete* where a connected server can build both. Each has a clock: how far those that it competes with
have come. It never goes back while something of the class is open, since newer Builds would then overtake older ones
without end; after a restart it is as far as what is open tells.

The test is tests/scheduling/order/test_places.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from attrs import define, field

from buildtool.model.records import Build
from buildtool.model.servers import Offer
from buildtool.scheduling.order.accounts import Accounts
from buildtool.scheduling.order.tags import Lane, clock_after, key_of

DemandClass = tuple[object, ...]
Place = tuple[float, int, int]
"""The key of a Build, the Request that it is charged to, and its own id."""

KINDS_LOOKED_AT = 2_000
"""Of so many classes that a share has something open of it is found out whether they compete with another."""


@define(eq=False)
class DemandGroup:
    """The open Builds of one demand class: how many there are, and those that are ready, in order.

    ``offers`` has what groups of servers that are alike offer for it, ``capable`` those that are connected and can
    build it, and ``bits`` the same as one number, with a bit for each of them: whether two classes have one in common
    is then one operation.
    """

    example: Build
    members: int = 0
    clock: float = 0.0
    ready: list[Place] = field(factory=list)
    offers: dict[object, Offer | None] = field(factory=dict)
    capable: dict[str, Offer] = field(factory=dict)
    bits: int = 0


_CLOCK: Callable[[DemandGroup], float] = attrgetter("clock")

Wound = list[tuple[DemandGroup, float]]
"""What clocks were before they were set."""


def place_of(build: Build) -> Place:
    """Return where a Build stands among those that compete with it: the least is first."""
    return (key_of(build.tag, build.nice), build.place, build.id)


def clock_of(build: Build) -> float:
    """Return the round that had come when something was done to a Build last: when it was admitted, or started."""
    admitted = clock_after(build.base) if build.tag == build.base else build.base
    return max(build.tag, admitted) if build.epoch else max(admitted, 0.0)


class Rounds:
    """The clocks of all classes, and what shares are charged with, over what the queue has of both."""

    def __init__(
        self,
        classes: Mapping[DemandClass, DemandGroup],
        classes_of: Mapping[str, Mapping[DemandGroup, Offer]],
        accounts: Accounts[DemandGroup],
    ) -> None:
        self._classes = classes
        self._classes_of = classes_of
        self._accounts = accounts

    def remember(self, build: Build) -> None:
        """Set the clock of an open Build's class to as far as it tells, once it was loaded."""
        entry = self._classes[build.spec.demand_class]
        entry.clock = max(entry.clock, clock_of(build))

    def clock(self, build: Build) -> float:
        """Return the round that is being served where an open Build competes: that of who is furthest."""
        return max(map(_CLOCK, self.competing(build)))

    def competing(self, build: Build) -> Iterable[DemandGroup]:
        """Return the classes that an open Build competes with, its own among them: all where no server can build it."""
        bits, every = self._classes[build.spec.demand_class].bits, self._classes.values()
        return every if not bits else [other for other in every if bits & other.bits]

    def wind(self, build: Build, clock: float) -> Wound:
        """Set the clocks where an open Build competes to at least ``clock``; return what ``unwind`` takes back."""
        return _wind(self.competing(build), clock)

    def wind_at(self, server: str, clock: float) -> Wound:
        """Set the clocks of what a server can build to at least ``clock``; return what ``unwind`` takes back."""
        return _wind(self._classes_of.get(server, ()), clock)

    def open_before(self, build: Build, share: str, place: int) -> dict[Lane, int]:
        """Return by lane what a share has open that was asked for before Request ``place`` and competes with a Build.

        The Build itself is not counted. Of more kinds than are looked at, all are counted.
        """
        bits = self._classes[build.spec.demand_class].bits
        found: dict[Lane, int] = {}
        for looked_at, (other, by_nice) in enumerate(self._accounts.of(share)):
            if not bits or bits & other.bits or looked_at >= KINDS_LOOKED_AT:
                for nice, places in by_nice.items():
                    lane = other.example.spec.project, nice
                    before = len(places) if places[-1] < place else bisect_left(places, place)
                    found[lane] = found.get(lane, 0) + before
        if build.share == share and build.place < place:
            found[build.spec.project, build.nice] -= 1
        return {lane: count for lane, count in found.items() if count}


def _wind(classes: Iterable[DemandGroup], clock: float) -> Wound:
    wound = [(entry, entry.clock) for entry in classes if entry.clock < clock]
    for entry, _ in wound:
        entry.clock = clock
    return wound


def unwind(wound: Wound) -> None:
    """Set clocks back to what they were: the decision that wound them is taken back."""
    for entry, clock in wound:
        entry.clock = clock
