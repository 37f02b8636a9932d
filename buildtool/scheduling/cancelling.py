"""What cancels a Build: its requesters, an artifact that satisfies them all, or the operator.

The test is tests/scheduling/test_endings.py.
"""

from __future__ import annotations

from attrs import evolve, frozen

from buildtool.model.access.rights import platform_names
from buildtool.model.records import Build, BuildSpec, BuildState, Request, RequestState
from buildtool.scheduling.answers import Acknowledged, Cancelled
from buildtool.scheduling.decision import DecisionContext, close_build, disappoint, note_left, sum_up, tell_unsuccessful
from buildtool.scheduling.effects import RequestMoved
from buildtool.scheduling.events import BuildAborted, CancelRequested
from buildtool.scheduling.state.state import State


@frozen
class Selection:
    """A choice of what ends together: of one of these projects, platforms and people, each only where any is named.

    People are e-mail addresses in small letters. ``until`` is the largest id that is meant, 0 for any: what comes after
    a count was told is not.
    """

    projects: frozenset[str] = frozenset()
    platforms: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    until: int = 0

    def has_request(self, request: Request) -> bool:
        """Return whether a Request is meant."""
        return self._has(request.id, request.demand.spec) and (not self.people or self._asked_by(request))

    def has_build(self, state: State, build: Build) -> bool:
        """Return whether an open Build is meant: one of people is what any of them waits for."""
        if not self._has(build.id, build.spec):
            return False
        return not self.people or any(map(self._asked_by, state.waiters(build.id)))

    def _asked_by(self, request: Request) -> bool:
        return request.email.lower() in self.people

    def _has(self, number: int, spec: BuildSpec) -> bool:
        if (self.until and number > self.until) or (self.projects and spec.project not in self.projects):
            return False
        return not self.platforms or bool(self.platforms & platform_names(spec.platform))


def cancel(context: DecisionContext, event: CancelRequested) -> Cancelled:
    """End a Request because its requester said so, or an operator, of which its requester is told."""
    request = context.state.requests.get(event.request_id)
    if request is None:
        return Cancelled(None)
    if not event.by:
        return Cancelled(withdraw(context, request))
    context.happened("request-aborted", f"request/{request.id}", event.reason, event.by)
    ended = disappoint(context, request, RequestState.CANCELLED, event.reason)
    if request.build_id is not None:
        close_if_unwanted(context, request.build_id, "nobody waits for it any more")
    return Cancelled(ended)


def withdraw(context: DecisionContext, request: Request) -> Request:
    """End a Request because its requester said so; no mail. A Build that no Request waits for any more ends too."""
    ended = evolve(request, state=RequestState.CANCELLED, reason="cancelled by its requester", ended_at=context.now)
    context.state.put(ended)
    context.tell(RequestMoved(ended))
    note_left(context, request)
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
