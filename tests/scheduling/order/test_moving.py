"""A request that waits is moved in the order by an operator, or back by who asked for it, and nobody else is."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
from attrs import evolve
from hypothesis import given, settings

from buildtool.model.farm.weights import NICE_MOST
from buildtool.model.records import Build, Demand
from buildtool.scheduling.answers import JoinedBuild, Moved, Queued
from buildtool.scheduling.events import CancelRequested, NiceSet, Submitted
from buildtool.scheduling.order.rounds import Place, place_of
from tests.scheduling.farm import Farm, NewRequest
from tests.scheduling.order.test_places import ANN, BOB, CID, Queue
from tests.scheduling.worlds import spec
from tests.support.lanes import examples

OPERATOR = "operator"

Asked = tuple[str, int]
_ASKED = st.tuples(st.sampled_from((ANN, ANN, BOB, CID)), st.sampled_from((0, 0, 1, 3)))
_NICE = st.integers(-NICE_MOST, NICE_MOST)


def busy() -> Queue:
    """A queue whose only machine has something to do."""
    queue = Queue()
    queue.farm.login("anna")
    queue.ask("zoe@example.org")
    return queue


def moved(farm: Farm, asked: NewRequest, nice: int, by: str = OPERATOR) -> Moved:
    answer = farm.send(NiceSet(asked.request.id, nice, by))
    assert isinstance(answer, Moved)
    return answer


def places(farm: Farm) -> dict[int, Place]:
    return {build.id: place_of(build) for build in farm.broker.state.builds.values()}


def key(build: Build) -> float:
    return build.tag + build.nice


@settings(max_examples=examples(30))
@given(st.lists(_ASKED, min_size=1, max_size=12), st.lists(_ASKED, max_size=6), _NICE, st.data())
def test_it_stands_from_then_on_as_if_it_had_been_asked_for_so(
    before: Sequence[Asked], after: Sequence[Asked], nice: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(0, len(before) - 1))
    queue, other = busy(), busy()
    asked = [queue.ask(email, nice=back) for email, back in before]
    stood = places(queue.farm)
    moved(queue.farm, asked[chosen], nice)
    build = queue.farm.build_of(asked[chosen])
    assert {**places(queue.farm), build.id: stood[build.id]} == stood, "another's place has changed"
    said = [*before[:chosen], (before[chosen][0], nice), *before[chosen + 1 :]]
    told = [other.ask(email, nice=back) for email, back in said]
    if nice <= before[chosen][1]:
        assert place_of(build) == place_of(other.farm.build_of(told[chosen]))
    else:  # it does not gain by that what is nicer counts as less
        assert place_of(build) >= place_of(other.farm.build_of(told[chosen]))
    for email, back in after:
        mine, theirs = queue.ask(email, nice=back), other.ask(email, nice=back)
        assert place_of(queue.farm.build_of(mine)) == place_of(other.farm.build_of(theirs))


@settings(max_examples=examples(30))
@given(st.data())
def test_whatever_ended_meanwhile_nobody_stands_worse_by_a_raise_or_better_by_standing_back(
    data: st.DataObject,
) -> None:
    queue = busy()
    asked: list[NewRequest] = []
    for _ in range(data.draw(st.integers(2, 12))):
        email, nice = data.draw(_ASKED)
        joined = data.draw(st.integers(0, 3)) if asked else 1
        asked.append(queue.ask(email, 7 if not joined else 0, nice))
    for one in data.draw(st.lists(st.sampled_from(asked), max_size=4)):
        queue.farm.send(CancelRequested(one.request.id))
    for _ in range(data.draw(st.integers(0, 2))):
        if queue.farm.broker.state.slots.attempts_of.get("anna"):
            queue.farm.deliver("anna")
    state = queue.farm.broker.state
    waiting = [one for one in asked if one.request.id in state.requests]
    if not waiting:
        return
    one, nice = data.draw(st.sampled_from(waiting)), data.draw(_NICE)
    by = data.draw(st.sampled_from(("", OPERATOR)))
    was, build, stood = state.requests[one.request.id].nice, queue.farm.build_of(one), places(queue.farm)
    told = moved(queue.farm, one, nice, by)
    now = queue.farm.build_of(one)
    assert {**places(queue.farm), build.id: stood[build.id]} == stood
    assert now.place in [one.id for one in state.waiters(build.id)]
    charged = state.requests[now.place]
    assert (now.share, now.nice) == (charged.share, charged.nice)
    if not told.changed:
        assert now == build
        return
    assert by or nice > was
    if nice < was:
        assert key(now) <= key(build)
    else:
        assert key(now) >= key(build) - 1e-9


def test_an_operator_has_the_last_of_many_built_next() -> None:
    queue = busy()
    last = [queue.ask(ANN) for _ in range(50)][-1]
    queue.ask(BOB)
    told = moved(queue.farm, last, -3)
    assert (told.changed, told.ahead) == (True, 0)
    assert queue.next() == ANN
    assert queue.build_on().id == queue.farm.build_of(last).id


def test_who_stands_back_themselves_lets_so_many_rounds_of_others_go_first_and_cannot_take_it_back() -> None:
    queue = busy()
    waits = queue.ask(ANN)
    for _ in range(3):
        queue.ask(BOB)
    assert moved(queue.farm, waits, 2, by="").changed
    assert not moved(queue.farm, waits, 0, by="").changed
    assert queue.farm.request(waits).nice == 2
    assert [queue.next() for _ in range(3)] == [BOB, BOB, ANN]


def test_what_is_taken_back_stands_where_it_stood() -> None:
    queue = busy()
    waits = [queue.ask(ANN) for _ in range(9)][-1]
    stood = place_of(queue.farm.build_of(waits))
    moved(queue.farm, waits, -4)
    moved(queue.farm, waits, 0)
    assert place_of(queue.farm.build_of(waits)) == stood


def test_who_joined_and_is_raised_brings_the_build_along_and_is_charged_with_it() -> None:
    queue = busy()
    first = queue.ask(CID)
    for _ in range(5):
        queue.ask(BOB)
    joined = queue.ask(BOB, 1_002)
    assert isinstance(joined, JoinedBuild)
    moved(queue.farm, joined, -9)
    build = queue.farm.build_of(first)
    assert (build.share, build.nice, build.place) == (BOB, -9, joined.request.id)
    moved(queue.farm, joined, 9)
    build = queue.farm.build_of(first)
    assert (build.share, build.nice, build.place) == (CID, 0, first.request.id)


def test_what_is_begun_or_not_there_any_more_is_left_alone() -> None:
    queue = Queue()
    queue.farm.login("anna")
    begun = queue.ask(ANN)
    before = queue.farm.build_of(begun)
    told = moved(queue.farm, begun, -1)
    assert (told.changed, told.request) == (False, queue.farm.request(begun))
    assert queue.farm.build_of(begun) == before
    queue.farm.deliver("anna")
    assert moved(queue.farm, begun, -1) == Moved(None)


def test_a_raise_is_written_down_with_who_did_it() -> None:
    queue = busy()
    waits = queue.ask(ANN)
    moved(queue.farm, waits, -2)
    moved(queue.farm, waits, 1)
    assert [(one.kind, one.detail) for one in queue.farm.broker.happened() if one.subject == "request/2"][-2:] == [
        ("request-raised", "nice was 0 and is -2; by operator"),
        ("request-lowered", "nice was -2 and is 1; by operator"),
    ]


def test_one_that_waits_for_its_address_to_be_confirmed_finds_its_place_then() -> None:
    queue = busy()
    commit = f"{7:040x}"
    wanted = Demand(evolve(spec(), revision=commit), "main", "", (commit,))
    queue.farm.broker.send(Submitted("held", "held", ANN, wanted, held=True))
    told = queue.farm.send(NiceSet(2, 3))
    assert isinstance(told, Moved)
    assert (told.changed, told.build, told.ahead) == (True, None, None)
    assert queue.farm.broker.state.requests[2].nice == 3


def test_a_raise_is_there_after_a_crash() -> None:
    queue = busy()
    waits = [queue.ask(ANN) for _ in range(4)][-1]
    assert isinstance(waits, Queued)
    moved(queue.farm, waits, -5)
    stood = queue.farm.build_of(waits)
    queue.farm.broker.crash()
    assert queue.farm.build_of(waits) == stood
    assert queue.farm.request(waits).nice == -5


def test_who_joined_and_stands_back_does_not_move_the_build_forward_whatever_of_theirs_has_ended_meanwhile() -> None:
    queue = busy()
    before = [queue.ask(ANN) for _ in range(3)]
    queue.ask(ANN, 7)
    joined = queue.ask(ANN, 7)
    assert isinstance(joined, JoinedBuild)
    for one in before:
        queue.farm.send(CancelRequested(one.request.id))
    build = queue.farm.build_of(joined)
    assert moved(queue.farm, joined, 1).changed
    assert queue.farm.build_of(joined) == build
