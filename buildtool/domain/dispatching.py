"""Which Build goes to which server.

A Build is given to the best idle capable server: native before cross before emulated, then the least loaded, then the
one with more processors. A server that has a free slot takes, of all that it can build, what was admitted first.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.domain.messages import Dispatch
from buildtool.domain.model import OFFER_RANK, Attempt, Build, BuildState, Offer, Server
from buildtool.domain.ready import Place
from buildtool.domain.turn import Turn, announce


def start_somewhere(turn: Turn, build: Build) -> str | None:
    """Give a waiting Build to the best server that can take it now; return its name, or None when there is none.

    A server that this very decision freed is left to whatever older Build waits for it.
    """
    state = turn.state
    capable = state.queue.capable(build)
    candidates = state.free if len(state.free) < len(capable) else capable
    ranked = [
        (_rank(turn, state.servers[name], capable[name]), name)
        for name in candidates
        if name in state.free and name in capable and may_take(turn, build, name)
    ]
    while ranked:
        best = min(ranked)
        name = best[1]
        if name not in turn.freed or _is_first(turn, build, name):
            start(turn, build, state.servers[name], capable[name])
            return name
        ranked.remove(best)
    return None


def start_waiting(turn: Turn, build_id: int) -> None:
    """Start a Build, as it is now, if it waits and may be started: its place and its demands may have changed."""
    build = turn.state.builds.get(build_id)
    if build is not None and build.state is BuildState.QUEUED and not build.not_before:
        start_somewhere(turn, build)


def fill(turn: Turn, name: str) -> None:
    """Give a server waiting Builds, in the order of their admission, until its slots are full or nothing fits."""
    state = turn.state
    while name in state.free:
        found = _first_for(turn, name)
        if found is None:
            return
        start(turn, found[0], state.servers[name], found[1])


def may_take(turn: Turn, build: Build, server: str) -> bool:
    """Say whether nothing is remembered against this Build on this server: no refusal, breakage or failure."""
    refusal = turn.state.refusals.get((build.id, server))
    return (refusal is None or refusal.until <= turn.now) and server not in build.failed_on


def start(turn: Turn, build: Build, server: Server, offer: Offer) -> None:
    """Begin the next Attempt of a Build on a server."""
    running = evolve(
        build,
        state=BuildState.RUNNING,
        epoch=build.epoch + 1,
    )
    attempt = Attempt(
        build_id=build.id,
        epoch=running.epoch,
        server=server.name,
        session=server.session,
        platform=offer.platform,
        kind=offer.kind,
        offered_at=turn.now,
    )
    turn.state.put(running)
    turn.state.put(attempt)
    turn.state.lease(attempt.key, turn.now)
    turn.tell(Dispatch(attempt, running))
    turn.happened("attempt-offered", f"build/{build.id}", f"epoch {running.epoch} on {server.name}")
    announce(turn, running, server.name)


def capable_elsewhere(turn: Turn, build: Build) -> bool:
    """Say whether a server that has not failed this Build could repeat it: one that is connected, or expected back."""
    state = turn.state
    if any(name not in build.failed_on for name in state.queue.capable(build)):
        return True
    return any(
        name not in build.failed_on and isinstance(state.verdict(build, state.servers[name]), Offer)
        for name in state.absent
        if state.expected_back(state.servers[name], turn.now)
    )


def _is_first(turn: Turn, build: Build, name: str) -> bool:
    found = _first_for(turn, name)
    return found is not None and found[0].id == build.id


def _first_for(turn: Turn, name: str) -> tuple[Build, Offer] | None:
    found: tuple[Place, Offer] | None = None
    for line, offer in turn.state.queue.heads(name):
        if found is not None and line[0] > found[0]:
            break
        for place in line:
            if found is not None and place > found[0]:
                break
            if may_take(turn, turn.state.builds[place[1]], name):
                found = place, offer
                break
    return (turn.state.builds[found[0][1]], found[1]) if found is not None else None


def _rank(turn: Turn, server: Server, offer: Offer) -> tuple[int, float, int, str]:
    load = turn.state.load_of(server.name) / server.capability.max_builds
    return OFFER_RANK[offer.kind], load, -turn.state.cpus[server.name], server.name
