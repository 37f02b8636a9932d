"""A Request that waits is moved in the order: forward by an operator, back by an operator or who asked for it.

It stands then where it would if it had been asked for so, and no other Build's place changes. The test is
tests/scheduling/order/test_moving.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.records import BuildState
from buildtool.scheduling.answers import Moved
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.events import NiceSet
from buildtool.scheduling.order import placing


def set_nice(context: DecisionContext, event: NiceSet) -> Moved:
    """Set how nice a Request is that waits for what is not begun. Nothing changes where it is so, or may not be."""
    state = context.state
    request = state.requests.get(event.request_id)
    if request is None:
        return Moved(None)
    build = state.builds.get(request.build_id) if request.build_id is not None else None
    begun = build is not None and build.state is not BuildState.QUEUED
    forward = event.nice < request.nice
    if begun or event.nice == request.nice or (forward and not event.by):
        return Moved(request, build)
    moved = evolve(request, nice=event.nice)
    state.put(moved)
    kind = "request-raised" if forward else "request-lowered"
    context.happened(kind, f"request/{request.id}", f"nice was {request.nice} and is {event.nice}", event.by)
    if build is None:  # it is held, and finds its place once its address is confirmed
        return Moved(moved, changed=True)
    placing.renice(context, request, moved, build)
    context.again.add(build.id)
    build = state.builds[build.id]
    return Moved(moved, build, state.queue.ahead(build, lambda one: state.builds[one].share).total, changed=True)
