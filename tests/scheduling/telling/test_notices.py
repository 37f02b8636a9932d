"""Which notices follow from decisions: each key's newest state, in the same commit."""

from itertools import groupby

import pytest
from attrs import evolve

from buildtool.model.notices.notice import Notice, NoticeRule, NoticeState
from buildtool.model.records import BuildState, Request, RequestState, Row
from buildtool.scheduling.events import CancelRequested
from buildtool.scheduling.telling.notices import state_of, with_notices
from tests.scheduling.broker import TestBroker
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import POLICY, machine, spec, submitted

RULE = NoticeRule("lua/forge", frozenset(NoticeState), everything=True)


def telling(*rules: NoticeRule) -> Farm:
    return Farm({"lua": evolve(POLICY, tell=rules, confirm_failures=0)})


def told(farm: Farm) -> list[NoticeState]:
    """Return the states that were to be told, one after the other; the same state again is told no more."""
    return [state for state, _ in groupby(one.state for one in farm.broker.notices)]


def test_a_build_is_told_from_its_beginning_to_its_end() -> None:
    farm = telling(RULE)
    farm.ask()
    farm.login("anna")
    farm.accept("anna")
    farm.deliver("anna")
    assert told(farm) == [NoticeState.WAITING, NoticeState.BUILDING, NoticeState.SUCCESS]
    assert {one.context for one in farm.broker.notices} == {"buildtool/linux-x86_64 jit=no"}


def test_a_failure_is_told_with_what_failed() -> None:
    farm = telling(evolve(RULE, states=frozenset({NoticeState.SUCCESS, NoticeState.FAILURE, NoticeState.ERROR})))
    farm.login("anna")
    farm.ask()
    farm.fail("anna", "make: *** [all] Error 2")
    (one,) = farm.broker.notices
    assert (one.state, one.reason) == (NoticeState.FAILURE, "make: *** [all] Error 2")


def test_what_nobody_wants_to_be_told_is_written_nowhere() -> None:
    farm = telling(evolve(RULE, everything=False))
    farm.login("anna")
    farm.ask()
    farm.deliver("anna", farm.accept("anna"))
    assert told(farm) == []
    assert telling().broker.state.projects.telling is False


def test_of_two_requests_of_one_key_the_newer_is_told() -> None:
    farm = telling(RULE)
    first = farm.ask()
    second = farm.ask(email="other@example.org")
    farm.send(CancelRequested(first.request.id))
    farm.login("anna")
    farm.deliver("anna", farm.accept("anna"))
    newest = [one for one in farm.broker.notices if one.request_id == second.request.id]
    assert newest[-1].state is NoticeState.SUCCESS
    rows: list[Row] = [farm.request(second), farm.request(first)]
    (one,) = (one for one in with_notices(farm.broker.state, rows, 5.0) if isinstance(one, Notice))
    assert (one.request_id, one.state) == (second.request.id, NoticeState.SUCCESS)


def test_two_platforms_of_a_commit_have_keys_of_their_own() -> None:
    farm = telling(RULE)
    farm.login("anna", machine(cross=("ppc",), max_builds=2))
    for arch in ("x86_64", "ppc"):
        farm.ask(spec(platform={"os": "linux", "arch": arch}))
    assert len({one.key for one in farm.broker.notices}) == 2
    assert isinstance(farm.broker, TestBroker)


@pytest.mark.parametrize(
    ("state", "build", "stands"),
    [
        (RequestState.WAITING, None, NoticeState.WAITING),
        (RequestState.WAITING, BuildState.QUEUED, NoticeState.WAITING),
        (RequestState.WAITING, BuildState.RUNNING, NoticeState.BUILDING),
        (RequestState.SATISFIED, None, NoticeState.SUCCESS),
        (RequestState.FAILED, None, NoticeState.FAILURE),
        (RequestState.UNBUILDABLE, None, NoticeState.ERROR),
        (RequestState.SUPERSEDED, None, NoticeState.ERROR),
        (RequestState.CANCELLED, None, NoticeState.ERROR),
        (RequestState.EXPIRED, None, NoticeState.ERROR),
    ],
)
def test_only_a_failure_of_the_project_is_told_as_one(
    state: RequestState, build: BuildState | None, stands: NoticeState
) -> None:
    one = Request(3, "a", "body", "", submitted("a").demand, False, 0.0, 9.0)
    assert state_of(evolve(one, state=state), build) is stands
    assert stands.ended is (state is not RequestState.WAITING)
