"""The pages' process: it follows events as bin/webserver does, and what it is told is what was committed.

It comes to the metaserver over a network of its own, so that what befalls the others stays as it was.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import evolve

from buildtool.adapters.control.events.feed import MetaserverEvents
from buildtool.adapters.control.events.followers import EventFollowers
from buildtool.adapters.control.listener import GuardedFactory
from buildtool.adapters.control.operator_endpoint import operator_factory
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import AuditEvent
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.hello import Hello
from buildtool.protocol.news import EventNotes
from tests.simulation.clock import Life
from tests.simulation.faults import Faults
from tests.simulation.network import Network

if TYPE_CHECKING:
    from tests.simulation.world import World

QUIET = 300.0
"""Seconds between two signs of life: they are many steps of a world in which nothing else happens."""


class Front:
    """One process of the pages, which lives as long as the world. It is the ``EventListener`` of its subscription."""

    def __init__(self, world: World) -> None:
        rng = random.Random(f"{world.seed} pages")
        self._world = world
        self.network = Network(world.time, rng, world.trace, Faults(rng))
        self.network.node("meta")
        life = Life(world.time, "pages")
        self.feed = MetaserverEvents(self.network.endpoint(life, "pages", "meta"), "meta", life, QUIET)
        self.committed: list[str] = []
        self.told_of = 0
        self.batches = 0
        self._upto: int | None = None

    def start(self) -> None:
        """Begin to follow."""
        self.feed.start(self)

    def events(self, life: Life) -> EventFollowers:
        """Return what tells pages of events, for one life of the metaserver."""
        return EventFollowers(life, QUIET)

    def door(self, life: Life, events: EventFollowers, pages: Handlers) -> GuardedFactory:
        """Return what listens for the pages in one life of the metaserver, and answers them."""

        async def as_pages(stranger: Principal, _transport: object, _hello: Hello) -> Principal:
            return evolve(stranger, role=PrincipalRole.PAGES)

        return operator_factory({}, life, pages, as_pages, events)

    def commits(self, events: list[AuditEvent]) -> None:
        """Take events that are committed, whether or not the metaserver knows."""
        self.committed += [event.subject for event in events]

    # --- what it is told ------------------------------------------------------------------------------------

    def began(self, last: int) -> None:
        self._check(last <= len(self.committed), f"event {last} is the newest, and it is not committed")
        self._upto = last

    def told(self, batch: EventNotes) -> None:
        self._check(batch.last <= len(self.committed), f"pages are told of event {batch.last}, which is not committed")
        self._check(batch.after == self._upto, f"pages that know {self._upto} are told what is after {batch.after}")
        if batch.whole:
            numbered = enumerate(self.committed[batch.after : batch.last], batch.after + 1)
            newest = {subject: seq for seq, subject in numbered}
            told = {note.subject: note.seq for note in batch.notes}
            self._check(told == newest, f"pages are told {told}, and {newest} was committed after {batch.after}")
        self._upto, self.batches = batch.last, self.batches + 1

    def lost(self) -> None:
        self._upto = None

    @property
    def current(self) -> bool:
        """Whether it knows of everything."""
        return self._upto == len(self.committed)

    def check_rest(self) -> None:
        """At rest it knows of everything."""
        newest = len(self.committed)
        self._check(self._upto == newest, f"at rest pages know {self._upto}, and event {newest} is committed")

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self._world.watch.wrong(what)
