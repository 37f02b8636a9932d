"""Whether a Build waits for a better server than the one that could begin now: native before cross before emulated.

It does where the better one is expected to have it done sooner, by what earlier Builds took on both. Then it is held
back from the other one as if that had declined, until it would have been done there as soon as by beginning on the
better one: a Build is held at most once for a server, and in all no longer than was said the first time. Where nothing
is known of one of them it takes what is free.

The test is tests/scheduling/order/test_better.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from buildtool.model.records import Build, Refusal
from buildtool.model.servers import OFFER_RANK, Offer, OfferKind
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.waiting import free_in

HELD = 0
"""The count of a Refusal that is none: its server said nothing, and the Build waits for a better one."""


@frozen
class BetterServer:
    """A server that makes a Build in a better way: in ``free`` seconds it has a slot, and needs ``length`` seconds."""

    name: str
    free: float
    length: float


def worth_waiting(length: float, better: Iterable[BetterServer]) -> tuple[float, str] | None:
    """Return for how many seconds a Build waits for a better server at most, and for which; None where it does not.

    ``length`` is how many seconds it takes on the one that could begin now. Of several it is the one that is expected
    to be done first.
    """
    sooner = [one for one in better if one.free + one.length < length]
    if not sooner:
        return None
    best = min(sooner, key=lambda one: (one.free + one.length, one.name, one.length))
    return length - best.length, best.name


def held_back(
    context: DecisionContext, build: Build, name: str, offer: Offer, stands_first: Callable[[str], bool]
) -> bool:
    """Return whether a Build that a server could begin with ``offer`` waits for a better one, and record that it does.

    ``stands_first`` says of a server whether what it takes next is this Build.
    """
    state, now = context.state, context.now
    if offer.kind is OfferKind.NATIVE or (build.id, name) in state.refusals:
        return False
    usual = state.durations.expected(build.spec.shelf, offer.platform, name)
    found = None
    if usual is not None:
        found = worth_waiting(usual.seconds, _better(context, build, offer.kind, stands_first))
    if found is None:
        return False
    seconds, other = found
    until = min([now + seconds, *_said_before(context, build)])
    if until <= now or any(request.expires_at <= until for request in state.waiters(build.id)):
        return False
    kind = state.queue.capable(build)[other].kind.value
    reason = f"would make it {offer.kind.value}, and {other} is expected to have it done sooner, {kind}"
    state.put(Refusal(build.id, name, until, reason, HELD))
    return True


def _better(
    context: DecisionContext, build: Build, kind: OfferKind, stands_first: Callable[[str], bool]
) -> Iterator[BetterServer]:
    """Yield the servers that make a Build in a better way, are busy, and take it as soon as they are free."""
    state, now = context.state, context.now
    for name, offer in state.queue.capable(build).items():
        server = state.servers[name]
        if OFFER_RANK[offer.kind] >= OFFER_RANK[kind] or not server.takes or name in state.slots.free:
            continue
        refusal = state.refusals.get((build.id, name))
        refused = refusal is not None and refusal.until > now
        if refused or name in build.failed_on or state.reluctance.of(name, now):
            continue
        usual = state.durations.expected(build.spec.shelf, offer.platform, name)
        free = min(free_in(state, server, now), default=None)
        if usual is not None and free is not None and stands_first(name):
            yield BetterServer(name, free, usual.seconds)


def _said_before(context: DecisionContext, build: Build) -> Iterator[float]:
    """Yield until when (wall time) a Build was held back before."""
    for server in context.state.records.refusals_of.get(build.id, ()):
        refusal = context.state.refusals[build.id, server]
        if refusal.count == HELD:
            yield refusal.until
