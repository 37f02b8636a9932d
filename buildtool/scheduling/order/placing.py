"""Which place a Build has: that of the best-placed of those who wait for it, who is charged with it.

The test is tests/scheduling/order/test_places.py.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from attrs import evolve

from buildtool.model.records import Build, Request
from buildtool.scheduling.order.rounds import place_of, unwind
from buildtool.scheduling.order.tags import clock_after, tag_of

if TYPE_CHECKING:
    from buildtool.scheduling.decision import DecisionContext

WAITERS_LOOKED_AT = 100
"""Of so many who wait for a Build, those who asked first, the best-placed is looked for when it was left."""


def join(context: DecisionContext, request: Request, build: Build, most: float) -> tuple[float, Build]:
    """Return the base of a Request that comes to wait for an open Build, and the Build, in the better place of the two.

    A Build of its own takes the Request's place in any case, and may be one that is not in the state yet. The tag is at
    most ``most`` rounds, which the Request has inherited.
    """
    if not context.state.queue.has(build.spec.demand_class):
        context.state.put(build)  # who can build that decides where it stands
    base = context.state.queue.rounds.clock(build) if request.base < 0 else request.base
    placed = _placed(context, request, base, build)
    if placed.tag > most:
        placed = evolve(placed, tag=most)
    takes_over = placed.tag == most and placed.share == build.share and place_of(placed)[0] == place_of(build)[0]
    if placed.place != build.place and place_of(placed) >= place_of(build) and not takes_over:
        return base, build
    _put(context, placed)
    return base, placed


def alone(context: DecisionContext, request: Request, build: Build) -> Build:
    """Return the Build that a Request waits for as it stands if it is charged to that one, or would stand."""
    return build if build.place == request.id else _placed(context, request, request.base, build)


def replace(context: DecisionContext, build_id: int) -> None:
    """Move an open Build to the place of the best of those who still wait for it, if it had that of who has left."""
    state = context.state
    build = state.builds.get(build_id)
    waiting = state.records.waiting_on.get(build_id)
    if build is None or not waiting or build.place in waiting:
        return
    first = islice(sorted(waiting), WAITERS_LOOKED_AT)
    waiters = [state.requests[request_id] for request_id in first]
    state.put(min((_placed(context, one, one.base, build) for one in waiters), key=place_of))


def renice(context: DecisionContext, was: Request, request: Request, build: Build) -> None:
    """Move a waiting Build to where it stands now that a Request which waits for it is as nice as ``request`` says.

    ``was`` is the same before. Who is moved forward stands where they would if they had come so; who is moved back
    loses as much as that would have cost, and the place is no better than it was, whichever Request has it then.
    """
    state = context.state
    now = _placed(context, request, request.base, build)
    if build.place != request.id:
        if request.nice < was.nice and place_of(now) < place_of(build):
            _put(context, now)
        return
    if request.nice < was.nice:
        _put(context, evolve(now, tag=min(now.tag, build.tag)))
        return
    cost = now.tag - _placed(context, was, was.base, build).tag
    found = [evolve(now, tag=build.tag + max(0.0, cost))]
    due = place_of(build)[0]
    for other in islice(sorted(state.records.waiting_on.get(build.id)), WAITERS_LOOKED_AT):
        if other != request.id:
            one = _placed(context, state.requests[other], state.requests[other].base, build)
            found.append(evolve(one, tag=max(one.tag, due - one.nice)))
    _put(context, min(found, key=place_of))


def note_started(context: DecisionContext, build: Build, server: str) -> None:
    """Set the clocks of what a server can build to the round of a Build that was just started there."""
    wound = context.state.queue.rounds.wind_at(server, build.tag)
    if wound:
        context.state.journal.add(partial(unwind, wound))


def _placed(context: DecisionContext, request: Request, base: float, build: Build) -> Build:
    """Return a Build as it would stand if this Request were the only one that waits for it, with this base."""
    state, project = context.state, build.spec.project
    weights = state.projects.weights
    before = state.queue.rounds.open_before(build, request.share, request.id)
    tag = tag_of(base, before, (project, request.nice), weights.of_share(request.share), weights)
    return evolve(build, place=request.id, share=request.share, nice=request.nice, base=base, tag=tag)


def _put(context: DecisionContext, placed: Build) -> None:
    """Put a Build into its place. If nothing else of its share stands before it, clocks go on for whoever comes."""
    if placed.tag == placed.base:
        _wind(context, placed)
    context.state.put(placed)


def _wind(context: DecisionContext, build: Build) -> None:
    """Move the clocks on for whoever comes next: this Build is the only one of its share."""
    wound = context.state.queue.rounds.wind(build, clock_after(build.base))
    if wound:
        context.state.journal.add(partial(unwind, wound))
