"""What ends because its own requester asks for a newer commit of the same ref, which takes its place in the order.

The test is tests/scheduling/order/test_superseding.py.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from buildtool.model.records import Build, BuildState, Request, RequestState
from buildtool.scheduling.cancelling import close_if_unwanted
from buildtool.scheduling.decision import disappoint
from buildtool.scheduling.order import placing
from buildtool.scheduling.order.rounds import place_of
from buildtool.scheduling.state.index import alike

if TYPE_CHECKING:
    from buildtool.scheduling.decision import DecisionContext
    from buildtool.scheduling.events import Older
    from buildtool.scheduling.state.state import State

AT_ONCE = 100
"""So many Requests end at once for a newer one, those that were asked for first: each takes time, and a mail."""

WAITING_LOOKED_AT = 10_000
"""Of so many Requests of one person for one kind of artifact it is found out whether a newer one takes their place."""


@frozen
class Heir:
    """A Request that takes the place of ``older`` ones. Its Build has a tag of at most ``tag`` rounds."""

    request: Request
    tag: float = math.inf
    older: tuple[int, ...] = ()


def waiting_alike(state: State, newer: Request) -> list[Request]:
    """Return what waits that the same person asked for, of the same in all but ref and revision, and is not built yet.

    The first that was asked for is the first. What is built already goes on: nothing is preempted.
    """
    found = islice(state.records.asked_alike.get(alike(newer)), WAITING_LOOKED_AT)
    return [one for one in map(state.requests.__getitem__, sorted(found)) if _takes_place(state, newer, one)]


def heir_of(context: DecisionContext, newer: Request, older: Older | None, *, held: bool = False) -> Heir:
    """Return a new Request in the best place of those of its requester's that it takes the place of.

    One that is ``held`` until its address is confirmed takes the place only of others that are: it may never be asked.
    """
    if older is None:
        return Heir(newer)
    found = [
        one
        for one in waiting_alike(context.state, newer)
        if (one.demand.ref, one.demand.spec.revision) in older.commits
        and older.asker in (None, one.asker)
        and (one.held or not held)
    ]
    ending = found[:AT_ONCE]
    places = [placing.alone(context, one, build) for one in ending if (build := _unbuilt(context.state, one))]
    if not places:
        return Heir(newer, older=tuple(one.id for one in ending))
    best = min(places, key=place_of)
    raised = min(newer.nice, best.nice) if best.nice < 0 else newer.nice
    request = evolve(newer, base=best.base, nice=raised)
    return Heir(request, best.tag, tuple(one.id for one in ending))


def end_older(context: DecisionContext, heir: Heir) -> None:
    """End the Requests whose place another one has taken. A Build that no other Request waits for ends too."""
    newer = heir.request
    reason = f"request {newer.id} took its place, for a newer commit of {newer.demand.ref}"
    for request_id in heir.older:
        one = context.state.requests[request_id]
        build = _unbuilt(context.state, one)
        if build is not None or one.held:  # who took its place may have joined its Build, and had it started
            disappoint(context, one, RequestState.SUPERSEDED, reason)
        if build is not None:
            close_if_unwanted(context, build.id, reason)


def _takes_place(state: State, newer: Request, one: Request) -> bool:
    asked, wanted = one.demand.spec, newer.demand.spec
    same = (asked.platform, asked.native) == (wanted.platform, wanted.native)
    together = newer.group is not None and newer.group == one.group
    waits = one.held or _unbuilt(state, one) is not None
    return same and not together and one.email.lower() == newer.email.lower() and waits


def _unbuilt(state: State, one: Request) -> Build | None:
    """Return the Build that a Request waits for, if that waits too."""
    build = state.builds.get(one.build_id) if one.build_id is not None else None
    return build if build is not None and build.state is BuildState.QUEUED else None
