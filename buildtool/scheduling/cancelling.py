"""What cancels a Build: its requesters, an artifact that satisfies them all, or the operator.

The test is tests/scheduling/test_endings.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.records import BuildState, Request, RequestState
from buildtool.scheduling.answers import Acknowledged, Cancelled
from buildtool.scheduling.decision import DecisionContext, close_build, sum_up, tell_unsuccessful
from buildtool.scheduling.effects import RequestMoved
from buildtool.scheduling.events import BuildAborted, CancelRequested


def cancel(context: DecisionContext, event: CancelRequested) -> Cancelled:
    """End a Request because its requester said so."""
    request = context.state.requests.get(event.request_id)
    return Cancelled(withdraw(context, request) if request is not None else None)


def withdraw(context: DecisionContext, request: Request) -> Request:
    """End a Request because its requester said so; no mail. A Build that no Request waits for any more ends too."""
    ended = evolve(request, state=RequestState.CANCELLED, reason="cancelled by its requester", ended_at=context.now)
    context.state.put(ended)
    context.tell(RequestMoved(ended))
    context.happened("request-cancelled", f"request/{request.id}")
    if request.group is not None and request.group_due:
        sum_up(context, ended, request.group)
    if request.build_id is not None:
        close_if_unwanted(context, request.build_id, "nobody waits for it any more")
    return ended


def close_if_unwanted(context: DecisionContext, build_id: int, reason: str) -> None:
    """End an open Build that no Request waits for; a running Attempt of it is aborted."""
    build = context.state.builds.get(build_id)
    if build is not None and not context.state.records.waiting_on.get(build_id):
        close_build(context, build, BuildState.CANCELLED, reason)


def abort(context: DecisionContext, event: BuildAborted) -> Acknowledged:
    """Cancel a Build because the operator said so; all who wait for it are told."""
    build = context.state.builds.get(event.build_id)
    if build is None:
        return Acknowledged(stale=True)
    waiting = context.state.waiters(build.id)
    context.happened("build-aborted", f"build/{build.id}", event.reason, event.by)
    close_build(context, build, BuildState.CANCELLED, event.reason)
    tell_unsuccessful(context, waiting, RequestState.CANCELLED, event.reason)
    return Acknowledged()
