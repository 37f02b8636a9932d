"""Who can build what. Servers that offer the same are one group, which is asked once for each class of Builds."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from weakref import WeakKeyDictionary

from buildtool.model.matching.acceptance import acceptable, made_for
from buildtool.model.matching.fitting import OfferFit
from buildtool.model.matching.reasons import unmet
from buildtool.model.platforms import Value
from buildtool.model.properties import COUNTED, may_be_named
from buildtool.model.records import Build, BuildSpec
from buildtool.model.servers import Offer, Server
from buildtool.scheduling.state.projects import ProjectPolicies
from buildtool.scheduling.state.ready_queue import CapabilityGroup, ReadyQueue, Verdict
from buildtool.scheduling.state.tables import Tables

FITS_KEPT = 64
"""For how many platforms that were asked for it is remembered what build servers lack: people ask the same again."""

OFFERED_KNOWN = 1_000
"""How many different values of a property are known to be offered: a peer may announce any."""


class CapabilityGroups:
    """The groups of the known servers, and the verdicts on them that the queue is given.

    ``offered`` counts how many known servers, connected or not, offer each value of the properties whose values are
    names. ``cpus`` has the number of processors of each.
    """

    def __init__(self, tables: Tables, projects: ProjectPolicies, queue: ReadyQueue) -> None:
        self.offered: dict[str, dict[Value, int]] = {name: {} for name in COUNTED}
        self.cpus: dict[str, int] = {}
        self._tables = tables
        self._projects = projects
        self._queue = queue
        self._by_sign: dict[tuple[object, ...], CapabilityGroup] = {}
        self._of: dict[str, CapabilityGroup] = {}
        self._connected: dict[CapabilityGroup, None] = {}
        self._fits: dict[tuple[object, ...], WeakKeyDictionary[CapabilityGroup, OfferFit]] = {}

    def group_of(self, server: str) -> CapabilityGroup:
        """Return those that offer the same as a known server, itself among them."""
        return self._of[server]

    def verdict(self, build: Build, server: Server) -> Verdict:
        """Return with which offer a server, connected or not, can build ``build``, or why it cannot."""
        if build.id in self._tables.builds and server.connected:
            offer = self._queue.capable(build).get(server.name)
            if offer is not None:
                return offer
        wanted = self._projects.wanted(build.spec)
        fit = wanted.fit(server.capability, self._projects.forbidden(server))
        found = fit.verdict(wanted.machine(server.capability))
        return found if isinstance(found, Offer) else tuple(found)

    def fits(self, spec: BuildSpec) -> MutableMapping[CapabilityGroup, OfferFit]:
        """Return what was found lately of groups for Builds of this platform; the caller adds what it finds."""
        kind = (spec.project, spec.recipe_version, spec.platform, spec.native)
        found = self._fits.get(kind)
        if found is None:
            if len(self._fits) >= FITS_KEPT:
                self._fits.clear()
            found = self._fits[kind] = WeakKeyDictionary()
        return found

    def somebody_could(self, spec: BuildSpec) -> bool:
        """Return whether a server that is connected could build ``spec``, free or not."""
        wanted, servers = self._projects.wanted(spec), self._tables.servers
        return any(
            wanted.makes(group.example, group.by_mark, group.forbidden) is not None
            and any(not wanted.machine(servers[name].capability) for name in group.servers)
            for group in self._connected
        )

    def judge_class(self, build: Build) -> None:
        """Find all connected servers that can build a new class: servers of one group are asked once."""
        key, wanted = build.spec.demand_class, self._projects.wanted(build.spec)
        for group in self._connected:
            offer = self._queue.offer(key, group, partial(wanted.makes, group.example, group.by_mark, group.forbidden))
            if offer is not None:
                for name in group.servers:
                    if not wanted.machine(self._tables.servers[name].capability):
                        self._queue.judge(key, name, offer)

    def follow(self, key: str, old: Server | None, new: Server | None) -> None:
        """Take in that a server was ``old`` and is ``new``, as the tables have it; None where it is not known."""
        if old is None or new is None or old.capability.offers != new.capability.offers:
            self._count_offers(old, -1)
            self._count_offers(new, 1)
        was = (old.capability, old.owner) if old is not None and old.connected else None
        now = (new.capability, new.owner) if new is not None and new.connected else None
        if was != now:
            self._queue.forget_server(key)
        if old is None or new is None or old.capability is not new.capability or old.owner != new.owner:
            self._regroup(key, new)
        self._note_connected(key, connected=now is not None)
        if was != now and new is not None and now is not None:
            self._judge_server(new)

    def start_over(self) -> None:
        """Forget every verdict, and group all servers anew while no Build is in the queue."""
        self._fits.clear()
        servers = list(self._tables.servers.values())
        for server in servers:
            self._regroup(server.name, None)
            self._queue.forget_server(server.name)
        for server in servers:
            self._regroup(server.name, server)
            self._note_connected(server.name, connected=server.connected)

    def _judge_server(self, server: Server) -> None:
        """Find all classes that a server which is connected now can build."""
        group, machine = self._of[server.name], dict(server.capability.machine)
        evidence = server.capability.evidence

        def find(build: Build) -> Offer | None:
            return self._projects.wanted(build.spec).makes(group.example, group.by_mark, group.forbidden)

        for key, example, offer in self._queue.offers(group, find):
            spec = example.spec
            lacks = unmet(spec.machine, machine, self._projects.compare(spec.project))
            if not lacks and not acceptable(made_for(evidence, spec.policy), spec.policy):
                self._queue.judge(key, server.name, offer)

    def _count_offers(self, server: Server | None, by: int) -> None:
        """Count what a server offers of the properties whose values are names, as far as they look like names."""
        offers = server.capability.offers if server is not None else ()
        offered = {
            pair for offer in offers for pair in offer.platform if pair[0] in self.offered and may_be_named(pair[1])
        }
        for name, value in offered:
            counts = self.offered[name]
            count = counts.get(value, 0) + by
            if count > 0 and (value in counts or len(counts) < OFFERED_KNOWN):
                counts[value] = count
            else:
                counts.pop(value, None)

    def _regroup(self, name: str, server: Server | None) -> None:
        """Put a server among those that offer the same, whether it is connected or not."""
        before = self._of.pop(name, None)
        self.cpus.pop(name, None)
        if before is not None:
            before.known -= 1
            self._leave(before, name)
        if server is not None:
            capability, forbidden = server.capability, self._projects.forbidden(server)
            sign = (capability.offers, capability.skills, forbidden)
            group = self._by_sign.get(sign)
            if group is None:
                group = self._by_sign[sign] = CapabilityGroup(capability, forbidden)
            group.known += 1
            self._of[name] = group
            cpus = dict(capability.machine).get("cpus", 0)
            self.cpus[name] = cpus if isinstance(cpus, int) else 0
        if before is not None and not before.known:
            del self._by_sign[before.example.offers, before.example.skills, before.forbidden]

    def _note_connected(self, name: str, *, connected: bool) -> None:
        """Note that a server is connected, or is not: only those that are can be given anything."""
        group = self._of.get(name)
        if group is not None and connected:
            group.enter(name)
            self._connected[group] = None
        elif group is not None:
            self._leave(group, name)

    def _leave(self, group: CapabilityGroup, name: str) -> None:
        if group.leave(name) and group in self._connected:
            del self._connected[group]
            self._queue.forget_alike(group)
