"""Names of build servers: who may log in under one, for how long it is remembered, and which goes when room is short.

Anybody may make names up. So a name that never did anything is remembered for a while only, and is the first to go when
somebody new needs the room; one that did work is kept long (docs/adr/0017-names-and-instances.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable

from attrs import evolve

from buildtool.model.addresses import network_of, wide_network_of
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Server
from buildtool.scheduling.answers import NameHeld, NameLimitReached
from buildtool.scheduling.attempts import close_attempt
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.effects import Fence
from buildtool.scheduling.events import Registered
from buildtool.scheduling.state.state import State

KNOWN = 1_000
"""Most names that are remembered, connected or not: nothing else bounds what a peer makes up."""

IDLE_BYTES = 16 * 1024 * 1024
"""Most bytes that what idle names once announced may take: 1,000 may have announced 64 platforms each."""

USED_LONGER = 52
"""How much longer one is remembered that did."""

DAY = 86_400.0

AWAY = DAY
"""Seconds after which one that did work, and is not connected, may go when room is short and nobody else can."""

SETTLED = 10.0
"""Seconds for which one that has just logged in keeps its name, though it has not yet been given anything."""

IDLE_KEPT = 0.25
"""For what part of a lease a name is kept for a machine that was lost and had nothing to build."""

LOOK_EVERY = 3_600.0
"""Seconds between two looks which names are to be forgotten."""

Ranked = Callable[[Server], float]


def refusal(context: DecisionContext, event: Registered) -> NameHeld | NameLimitReached | None:
    """Return why a login cannot be taken; None where it can, room having been made for a new name."""
    old = context.state.servers.get(event.server)
    if old is None:
        return _make_room(context, event)
    if old.connected:
        if event.silent == old.session:
            return None
        kin = bool(old.instance) and event.instance == old.instance
        return NameHeld(old.session, old.origin, old.since, kin)
    kept = context.state.leases.term if context.state.slots.load_of(old.name) else context.state.leases.term * IDLE_KEPT
    until = old.missing_since + kept
    if is_another(old, event) and old.missing_since and context.now < until:
        return NameHeld(0, old.origin, old.missing_since, until=until)
    return None


def is_another(old: Server, event: Registered) -> bool:
    """Return whether another machine logs in under a name than had it; a name without an instance may be anybody's."""
    return bool(old.instance) and event.instance != old.instance


def lose_all(context: DecisionContext, old: Server) -> None:
    """End every Attempt that the machine had which a name was taken from: only that one could go on with it."""
    lose_missing(context, old, f"another machine has taken the name {old.name}")
    context.happened("server-replaced", f"server/{old.name}", "another machine logged in under its name")


def lose_missing(context: DecisionContext, server: Server, reason: str) -> None:
    """End the missing Attempts of a machine, which might have come back with them."""
    state = context.state
    missing = [
        key for keys in state.records.missing_of.values() for key in keys if state.attempts[key].server == server.name
    ]
    for key in missing:
        close_attempt(context, state.attempts[key], AttemptEnd.LOST, reason)


def forget_old(context: DecisionContext) -> None:
    """Forget names that were not used for long; at most once an hour, since nothing waits for it."""
    state = context.state
    if abs(context.now - state.names.looked) < LOOK_EVERY:
        return
    state.names.looked = context.now
    unused, busy = state.names.kept, busy_in(state)
    for server in list(state.servers.values()):
        kept = unused * USED_LONGER if server.used_at else unused
        if context.now - server.last_seen >= kept and may_go(server, busy):
            forget(context, server, f"not seen for {(context.now - server.last_seen) / DAY:.0f} days")


def may_go(server: Server, busy: Container[str]) -> bool:
    """Return whether nothing is lost with a name: it is not connected, has no Attempt, and is kept by no operator."""
    return not (server.connected or server.paused or server.quarantined_until or server.name in busy)


def busy_in(state: State) -> dict[str, set[int]]:
    """Return the Builds of which each server has an Attempt, believed alive or missing; idle servers are left out."""
    found: dict[str, set[int]] = {}
    for attempt in state.attempts.values():
        found.setdefault(attempt.server, set()).add(attempt.build_id)
    return found


def forget(context: DecisionContext, server: Server, why: str, by: str = "") -> None:
    """Forget a name. Should it come back, the numbers of its Sessions go on."""
    context.state.names.keep_session(server.name, server.session)
    context.state.put(evolve(server, connected=False, missing_since=0.0, forgotten=True))
    context.happened("server-forgotten", f"server/{server.name}", why, by)


def forget_largest(context: DecisionContext) -> None:
    """Forget names that never built anything, are not connected, and together announced more than is kept."""
    sizes = context.state.records.idle_sizes
    if sum(sizes.values()) <= IDLE_BYTES:
        return
    busy = busy_in(context.state)
    for name in sorted(sizes, key=lambda one: (-sizes[one], context.state.servers[one].last_seen)):
        if may_go(context.state.servers[name], busy):
            why = "what names announced that never built anything took too much room"
            forget(context, context.state.servers[name], why)
        if sum(sizes.values()) <= IDLE_BYTES:
            return


def _make_room(context: DecisionContext, event: Registered) -> NameLimitReached | None:
    state = context.state
    if len(state.servers) < KNOWN:
        return None
    going = _first_to_go(state, event, context.now)
    if going is None:
        return NameLimitReached(len(state.servers))
    if going.connected:
        context.tell(Fence(going.name, going.session))
    forget(context, going, "somebody new needed the room")
    return None


def _first_to_go(state: State, event: Registered, now: float) -> Server | None:
    """Return which name makes room for a new one, if any can; of the network that has most names first."""
    origins = [*(server.origin for server in state.servers.values()), event.origin]
    names, around = Counter(map(network_of, origins)), Counter(map(wide_network_of, origins))
    around[""] = 0  # of which nothing is known

    def crowd(one: Server) -> tuple[int, int]:
        """Return how many names there are around a server's network, and of it, the most first."""
        of_it = names[network_of(one.origin)]
        return -max(of_it, around[wide_network_of(one.origin)]), -of_it

    def worst(servers: Iterable[Server], since: Ranked) -> Server | None:
        return min(servers, key=lambda one: (*crowd(one), since(one), one.name), default=None)

    busy = busy_in(state)
    free = [server for server in state.servers.values() if may_go(server, busy)]
    unused = worst((one for one in free if not one.used_at), lambda one: one.last_seen)
    if unused is not None:
        return unused
    away = [one for one in free if now - one.last_seen >= AWAY]
    longest = min(away, key=lambda one: (one.last_seen, one.name), default=None)
    if longest is not None:
        return longest
    idle = (
        one
        for one in state.servers.values()
        if one.connected
        and now - one.since >= SETTLED
        and not (one.used_at or one.paused or one.quarantined_until or one.name in busy)
    )
    return worst(idle, lambda one: one.since)
