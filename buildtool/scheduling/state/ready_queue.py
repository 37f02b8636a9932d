"""The queue of Builds that may start now, and which servers may take them.

Builds are grouped by *demand class*: all that decides who can build them. Whether a server can is then asked once
for a class and not once for a Build, so that a decision costs as much behind fifty thousand queued Builds as behind
ten. Within a class the order is that of admission; a server takes the first over all classes that it can build,
which is FIFO among Builds that compete for at least one common server.

The test is tests/scheduling/test_order.py.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial

from attrs import define, field

from buildtool.model.matching.fitting import Mark, by_mark
from buildtool.model.matching.reasons import Reason
from buildtool.model.records import Build
from buildtool.model.servers import Capability, Offer

DemandClass = tuple[object, ...]
Place = tuple[int, int]
Verdict = Offer | tuple[Reason, ...]

OFFERS_KEPT = 64
"""For how many kinds of servers the answer is kept with each class."""


def place_of(build: Build) -> Place:
    """Return where a Build stands in its class: by admission."""
    return (build.place, build.id)


@define(eq=False)
class CapabilityGroup:
    """A group of known servers that offer the same for the same projects; they differ in their machines only.

    ``forbidden`` are those of the projects that they may not build. ``servers`` names those of them that are connected,
    ``known`` counts all. While one is connected, ``by_mark`` has what they offer.
    """

    example: Capability
    forbidden: frozenset[str] = frozenset()
    servers: dict[str, None] = field(factory=dict)
    known: int = 0
    by_mark: dict[Mark, list[Offer]] = field(factory=dict)

    def enter(self, name: str) -> None:
        """Add a server that is connected."""
        if not self.servers:
            self.by_mark = by_mark(self.example.offers)
        self.servers[name] = None

    def leave(self, name: str) -> bool:
        """Remove a server that is not connected any more; return whether none is."""
        self.servers.pop(name, None)
        if not self.servers:
            self.by_mark = {}
        return not self.servers


@define
class _Class:
    example: Build
    members: int = 0
    ready: list[Place] = field(factory=list)
    offers: dict[CapabilityGroup, Offer | None] = field(factory=dict)
    capable: dict[str, Offer] = field(factory=dict)


class ReadyQueue:
    """The open Builds by demand class, those ready to start in order, and each class's verdict on each server."""

    def __init__(self) -> None:
        self._classes: dict[DemandClass, _Class] = {}
        self._classes_of: dict[str, dict[DemandClass, Offer]] = {}

    def enter(self, build: Build) -> bool:
        """Count an open Build in; True when its class is new, so that verdicts have to be given."""
        key = build.spec.demand_class
        entry = self._classes.get(key)
        if entry is None:
            entry = self._classes[key] = _Class(build)
        entry.members += 1
        return entry.members == 1

    def leave(self, build: Build) -> None:
        """Count a Build out; a class without members is forgotten."""
        key = build.spec.demand_class
        entry = self._classes[key]
        entry.members -= 1
        if not entry.members:
            del self._classes[key]
            for server in entry.capable:
                self._classes_of[server].pop(key, None)

    def add(self, build: Build) -> None:
        """Add a Build to the waiting line, in its place."""
        insort(self._classes[build.spec.demand_class].ready, place_of(build))

    def discard(self, build: Build) -> None:
        """Take a Build out of the waiting line, if it stands there."""
        ready = self._classes[build.spec.demand_class].ready
        place = place_of(build)
        at = bisect_left(ready, place)
        if at < len(ready) and ready[at] == place:
            del ready[at]

    def judge(self, key: DemandClass, server: str, offer: Offer) -> None:
        """Record that a connected server can build the Builds of a class, and with which offer."""
        self._classes[key].capable[server] = offer
        self._classes_of.setdefault(server, {})[key] = offer

    def forget_server(self, server: str) -> None:
        """Drop every verdict on a server: it left, or announces something else."""
        for key in self._classes_of.pop(server, ()):
            del self._classes[key].capable[server]

    def forget_alike(self, alike: CapabilityGroup) -> None:
        """Drop what is known of servers of which none is left."""
        for entry in self._classes.values():
            entry.offers.pop(alike, None)

    def offer(self, key: DemandClass, alike: CapabilityGroup, find: Callable[[], Offer | None]) -> Offer | None:
        """Return with which offer servers that are alike can build a class if their machines suffice, or None.

        What ``find`` says is kept for the first ``OFFERS_KEPT`` of a class: where more differ, each is one machine.
        """
        known = self._classes[key].offers
        if alike in known:
            return known[alike]
        found = find()
        if len(known) < OFFERS_KEPT:
            known[alike] = found
        return found

    def offers(
        self, alike: CapabilityGroup, find: Callable[[Build], Offer | None]
    ) -> list[tuple[DemandClass, Build, Offer]]:
        """Return every class that servers which are alike can build if their machines suffice, an example, the offer.

        ``find`` says it for the example of a class that it is not known of, as for ``offer``.
        """
        found = []
        for key, entry in self._classes.items():
            known, example = entry.offers, entry.example
            offer = known[alike] if alike in known else self.offer(key, alike, partial(find, example))
            if offer is not None:
                found.append((key, example, offer))
        return found

    def kinds(self) -> int:
        """Return how many classes there are."""
        return len(self._classes)

    def has(self, key: DemandClass) -> bool:
        """Return whether a Build of this class is open."""
        return key in self._classes

    def capable(self, build: Build) -> dict[str, Offer]:
        """Return the connected servers that can build ``build``, each with the offer to use."""
        return self._classes[build.spec.demand_class].capable

    def heads(self, server: str) -> list[tuple[list[Place], Offer]]:
        """Return the waiting lines that a server can serve, those with the earliest first Build first."""
        lines = [
            (self._classes[key].ready, offer)
            for key, offer in self._classes_of.get(server, {}).items()
            if self._classes[key].ready
        ]
        lines.sort(key=lambda line: line[0][0])
        return lines

    def ahead(self, build: Build) -> int:
        """Return how many waiting Builds stand before this one and compete for at least one server with it."""
        place = place_of(build)
        mine = self.capable(build).keys()
        count = 0
        for entry in self._classes.values():
            if not mine.isdisjoint(entry.capable) or entry.example.spec.demand_class == build.spec.demand_class:
                count += bisect_left(entry.ready, place)
        return count

    def waiting(self) -> int:
        """Return how many Builds wait."""
        return sum(len(entry.ready) for entry in self._classes.values())
