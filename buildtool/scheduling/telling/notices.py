"""Which notices follow from what is about to be committed. They are committed with it, so none is lost.

The test is tests/scheduling/telling/test_notices.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.model.records import Build, BuildState, Request, RequestState, Row
from buildtool.scheduling.state.state import State


def with_notices(state: State, rows: Sequence[Row], now: float) -> Sequence[Row | Notice]:
    """Return ``rows`` with what is to be told because they changed, at ``now`` in seconds of wall time."""
    return [*rows, *notices(state, rows, now)] if state.projects.telling else rows


def notices(state: State, rows: Sequence[Row], now: float) -> list[Notice]:
    """Return what is to be told because ``rows`` changed, at ``now`` in seconds of wall time.

    Of each destination key there is one: how its newest Request stands after all of that.
    """
    found: dict[tuple[str, str], Notice] = {}
    for request in _changed(state, rows):
        policy = state.projects.policy(request.demand.spec.project)
        build = state.builds.get(request.build_id) if request.build_id is not None else None
        stands = state_of(request, build.state if build is not None else None)
        for rule in policy.tell:
            if stands in rule.states and rule.wants(request):
                notice = rule.notice(request, stands, now)
                before = found.get((notice.target, notice.key))
                if before is None or before.request_id <= notice.request_id:
                    found[notice.target, notice.key] = notice
    return list(found.values())


def state_of(request: Request, build: BuildState | None) -> NoticeState:
    """Return how a Request stands for others, whose Build is in a state."""
    if request.state is RequestState.WAITING:
        return NoticeState.BUILDING if build is BuildState.RUNNING else NoticeState.WAITING
    return _ENDS.get(request.state, NoticeState.ERROR)


_ENDS: Mapping[RequestState, NoticeState] = {
    RequestState.SATISFIED: NoticeState.SUCCESS,
    RequestState.FAILED: NoticeState.FAILURE,
}
"""What an end is told as; all others are no fault of the commit."""


def _changed(state: State, rows: Sequence[Row]) -> Iterator[Request]:
    """Yield the Requests that stand otherwise now: they changed themselves, or their Build did."""
    seen = {row.id: row for row in rows if isinstance(row, Request)}
    for row in rows:
        if isinstance(row, Build) and row.id in state.builds:
            for request in state.waiters(row.id):
                seen.setdefault(request.id, request)
    yield from seen.values()
