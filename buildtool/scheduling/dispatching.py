"""Which Build goes to which server.

A Build is given to the best idle capable server: one that makes what it takes before one that gave Builds up of late
(``scheduling/order/reluctance.py``), native before cross before emulated, then the least loaded, then the one with more
processors; or it waits for a better one that is busy, where that is quicker (``scheduling/order/better.py``). A server
that has a free slot takes, of all that it can build, what stands first in the order of fair shares
(``scheduling/order/tags.py``); what only it can build goes a little before what others can build too.

The test is tests/scheduling/test_order.py.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from attrs import evolve

from buildtool.model.matching.acceptance import made_for
from buildtool.model.records import Attempt, Build, BuildState
from buildtool.model.servers import OFFER_RANK, Offer, Server
from buildtool.scheduling.decision import DecisionContext, announce
from buildtool.scheduling.effects import Dispatch
from buildtool.scheduling.order.better import held_back
from buildtool.scheduling.order.placing import note_started
from buildtool.scheduling.order.rounds import Place
from buildtool.scheduling.order.tags import SPARING
from buildtool.scheduling.state.ready_queue import WaitingLine

SLOTS_LOOKED_AT = 16
"""Of so many free slots of a server that came or was freed it is found out whose they are, before they are filled."""


def start_somewhere(context: DecisionContext, build: Build) -> str | None:
    """Start a waiting Build on the best server that can take it now; return its name, None where none can.

    The slots of a server that this very decision freed are left to whatever Builds stand before it and wait for those.
    """
    state = context.state
    capable = state.queue.capable(build)
    candidates = state.slots.free if len(state.slots.free) < len(capable) else capable
    ranked = [
        (_rank(context, state.servers[name], capable[name]), name)
        for name in candidates
        if name in state.slots.free and name in capable and may_take(context, build, name)
    ]
    while ranked:
        best = min(ranked)
        name = best[1]
        taken = name not in context.freed or _has_slot(context, build, name)
        if taken and not _is_held_back(context, build, name, capable[name]):
            start(context, build, state.servers[name], capable[name])
            return name
        ranked.remove(best)
    return None


def start_waiting(context: DecisionContext, build_id: int) -> None:
    """Start a Build, as it is now, if it waits and may be started: its place and its demands may have changed."""
    build = context.state.builds.get(build_id)
    if build is not None and build.state is BuildState.QUEUED and not build.not_before:
        start_somewhere(context, build)


def fill(context: DecisionContext, name: str) -> None:
    """Fill the free slots of a server with waiting Builds, in their order."""
    state = context.state
    while name in state.slots.free:
        found = _first_for(context, name)
        if found is None:
            return
        start(context, found[0], state.servers[name], found[1])


def may_take(context: DecisionContext, build: Build, server: str) -> bool:
    """Return whether nothing is remembered against this Build on this server: no refusal, breakage or failure."""
    refusal = context.state.refusals.get((build.id, server))
    return (refusal is None or refusal.until <= context.now) and server not in build.failed_on


def start(context: DecisionContext, build: Build, server: Server, offer: Offer) -> None:
    """Start the next Attempt of a Build on a server."""
    running = evolve(build, state=BuildState.RUNNING, epoch=build.epoch + 1)
    attempt = Attempt(
        build_id=build.id,
        epoch=running.epoch,
        server=server.name,
        session=server.session,
        platform=offer.platform,
        kind=offer.kind,
        offered_at=context.now,
        evidence=made_for(server.capability.evidence, build.spec.policy),
    )
    context.state.put(running)
    context.state.put(attempt)
    context.state.leases.renew(attempt.key, context.now)
    note_started(context, running, server.name)
    context.tell(Dispatch(attempt, running))
    context.happened("attempt-offered", f"build/{build.id}", f"epoch {running.epoch} on {server.name}")
    announce(context, running, server.name)


def capable_elsewhere(context: DecisionContext, build: Build) -> bool:
    """Return whether a server that has not failed this Build, connected or expected back, could repeat it.

    One whose owner said that it is away now is not waited for.
    """
    state, now = context.state, context.now

    def could(name: str) -> bool:
        return name not in build.failed_on and not state.servers[name].away_until(now)

    if any(could(name) for name in state.queue.capable(build)):
        return True
    return any(
        could(name) and isinstance(state.groups.verdict(build, state.servers[name]), Offer)
        for name in state.records.absent
        if state.leases.expected_back(state.servers[name], now)
    )


def _has_slot(context: DecisionContext, build: Build, name: str) -> bool:
    """Return whether a slot of a server is left for a Build once those that stand before it there have theirs."""
    state = context.state
    free = state.servers[name].capability.max_builds - state.slots.load_of(name)
    before: set[int] = set()
    for _ in range(min(free, SLOTS_LOOKED_AT)):
        found = _first_for(context, name, besides=before)
        if found is None or found[0].id == build.id:
            return found is not None
        before.add(found[0].id)
    return False


def _is_held_back(context: DecisionContext, build: Build, name: str, offer: Offer) -> bool:
    def stands_first(other: str) -> bool:
        found = _first_for(context, other, any_kind=True)  # what is held back elsewhere is no question here
        return found is not None and found[0].id == build.id

    return held_back(context, build, name, offer, stands_first)


def _first_for(
    context: DecisionContext, name: str, *, any_kind: bool = False, besides: Collection[int] = ()
) -> tuple[Build, Offer] | None:
    """Return the Build that a server takes next, and by which offer: the first in the order that it may take.

    If others can build that too, what only this server can build goes before it, by ``SPARING`` rounds at most.
    With ``any_kind`` none is held back for a better server. Those ``besides`` are not looked at.
    """
    state = context.state
    lines = state.queue.heads(name)
    found = _earliest(context, lines, name, math.inf, any_kind, besides)
    if found is None:
        return None
    if not found[1].lone and any(line.lone for line in lines):
        build = state.builds[found[0][2]]
        if any(other != name and state.servers[other].takes for other in state.queue.capable(build)):
            lone = [line for line in lines if line.lone]
            found = _earliest(context, lone, name, found[0][0] + SPARING, any_kind, besides) or found
    return state.builds[found[0][2]], found[1].offer


def _earliest(
    context: DecisionContext,
    lines: list[WaitingLine],
    name: str,
    latest: float,
    any_kind: bool,  # noqa: FBT001 - it is passed on
    besides: Collection[int],
) -> tuple[Place, WaitingLine] | None:
    """Return the place of the first Build of these lines that a server may take, due in round ``latest`` or before."""
    found: tuple[Place, WaitingLine] | None = None
    for line in lines:
        if (found is not None and line.places[0] > found[0]) or line.places[0][0] > latest:
            break
        for place in line.places:
            if (found is not None and place > found[0]) or place[0] > latest:
                break
            build = context.state.builds[place[2]]
            if place[2] in besides:
                continue
            if may_take(context, build, name) and (any_kind or not _is_held_back(context, build, name, line.offer)):
                found = place, line
                break
    return found


def _rank(context: DecisionContext, server: Server, offer: Offer) -> tuple[int, int, float, int, str]:
    load = context.state.slots.load_of(server.name) / server.capability.max_builds
    reluctant = context.state.reluctance.of(server.name, context.now)
    return reluctant, OFFER_RANK[offer.kind], load, -context.state.groups.cpus[server.name], server.name
