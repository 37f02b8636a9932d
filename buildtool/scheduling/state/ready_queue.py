"""The queue of Builds that may start now, and which servers may take them.

Builds are grouped by *demand class*: all that decides who can build them. Whether a server can is then asked once
for a class and not once for a Build, so that a decision costs as much behind fifty thousand queued Builds as behind
ten. Within a class the order is that of fair shares (``scheduling/order/tags.py``); a server takes the first over all
classes that it can build.

The test is tests/scheduling/test_order.py.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

from attrs import define, field

from buildtool.model.matching.fitting import Mark, by_mark
from buildtool.model.matching.reasons import Reason
from buildtool.model.records import Build
from buildtool.model.servers import Capability, Offer
from buildtool.scheduling.order.accounts import Accounts
from buildtool.scheduling.order.rounds import DemandClass, DemandGroup, Place, Rounds, clock_of, place_of

Verdict = Offer | tuple[Reason, ...]

SHARES_LOOKED_AT = 10_000
"""Of so many Builds that stand before one it is found out whose they are."""


OFFERS_KEPT = 64
"""For how many kinds of servers the answer is kept with each class."""


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


class WaitingLine(NamedTuple):
    """The Builds of a class that wait, in order, and with which offer a server takes them.

    A ``lone`` one no other connected server can build.
    """

    places: list[Place]
    offer: Offer
    lone: bool


class Ahead(NamedTuple):
    """A count of the Builds that stand before one: in all, of its own share, and how many other shares have some.

    The last two are of the first that were looked at.
    """

    total: int = 0
    own: int = 0
    shares: int = 0


class ReadyQueue:
    """The open Builds by demand class, those ready to start in order, and each class's verdict on each server.

    ``rounds`` knows how far each class has come, and what each share has open.
    """

    def __init__(self) -> None:
        self._classes: dict[DemandClass, DemandGroup] = {}
        self._classes_of: dict[str, dict[DemandGroup, Offer]] = {}
        self._accounts: Accounts[DemandGroup] = Accounts()
        self._bits: dict[str, int] = {}
        self._bits_left: list[int] = []
        self.rounds = Rounds(self._classes, self._classes_of, self._accounts)

    def enter(self, build: Build) -> bool:
        """Count an open Build in; True when its class is new, so that verdicts have to be given."""
        key = build.spec.demand_class
        entry = self._classes.get(key)
        if entry is None:
            entry = self._classes[key] = DemandGroup(build, clock=clock_of(build))
        entry.members += 1
        self._accounts.charge(build.share, entry, build.nice, build.place)
        return entry.members == 1

    def leave(self, build: Build) -> None:
        """Count a Build out; a class without members is forgotten."""
        key = build.spec.demand_class
        entry = self._classes[key]
        entry.members -= 1
        self._accounts.release(build.share, entry, build.nice, build.place)
        if not entry.members:
            del self._classes[key]
            for server in entry.capable:
                self._classes_of[server].pop(entry, None)

    def move(self, old: Build, new: Build) -> None:
        """Move an open Build from whom it was charged to to whom it is charged to now; its class is what it was."""
        if (old.share, old.nice, old.place) != (new.share, new.nice, new.place):
            entry = self._classes[new.spec.demand_class]
            self._accounts.release(old.share, entry, old.nice, old.place)
            self._accounts.charge(new.share, entry, new.nice, new.place)

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
        entry = self._classes[key]
        bit = self._bits.get(server)
        if bit is None:
            bit = self._bits[server] = self._bits_left.pop() if self._bits_left else 1 << len(self._bits)
        entry.capable[server] = offer
        entry.bits |= bit
        self._classes_of.setdefault(server, {})[entry] = offer

    def forget_server(self, server: str) -> None:
        """Drop every verdict on a server: it left, or announces something else."""
        bit = self._bits.pop(server, 0)
        if bit:
            self._bits_left.append(bit)
        for entry in self._classes_of.pop(server, ()):
            del entry.capable[server]
            entry.bits ^= bit

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

    def heads(self, server: str) -> list[WaitingLine]:
        """Return the waiting lines that a server can serve, those with the earliest first Build first."""
        lines = [
            WaitingLine(entry.ready, offer, len(entry.capable) == 1)
            for entry, offer in self._classes_of.get(server, {}).items()
            if entry.ready
        ]
        lines.sort(key=lambda line: line.places[0])
        return lines

    def ahead(self, build: Build, share_of: Callable[[int], str]) -> Ahead:
        """Count the waiting Builds that stand before this one and compete with it; ``share_of`` knows whose they are.

        It is asked for the first ``SHARES_LOOKED_AT``.
        """
        place, mine = place_of(build), self._classes[build.spec.demand_class]
        lines = [entry.ready for entry in self._classes.values() if entry is mine or mine.bits & entry.bits]
        ends = [bisect_left(line, place) for line in lines]
        first = chain.from_iterable(islice(line, end) for line, end in zip(lines, ends, strict=True))
        shares = Counter(share_of(one[2]) for one in islice(first, SHARES_LOOKED_AT))
        return Ahead(sum(ends), shares.pop(build.share, 0), len(shares))

    def waiting(self) -> int:
        """Return how many Builds wait."""
        return sum(len(entry.ready) for entry in self._classes.values())
