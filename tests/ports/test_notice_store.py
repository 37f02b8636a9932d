"""``NoticeStore``: databases, and what stands in for them in tests, keep of each key what is to be told now."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.notices.posting import post_notices
from buildtool.adapters.sql.notices.store import SqlNoticeStore
from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.ports.notices import NoticeStore, OutgoingNotice, TargetFigures
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples
from tests.support.notices import MemoryNotices, notice

EVER = 1e12


@frozen
class Outbox:
    """A store, and what writes notices into it."""

    store: NoticeStore
    post: Callable[..., Coroutine[Any, Any, None]]


Made = Callable[[], Outbox]


@pytest.fixture(scope="module", params=["memory", *KINDS])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """What makes an empty outbox."""
    if request.param == "memory":

        def in_memory() -> Outbox:
            store = MemoryNotices()
            return Outbox(store, store.post)

        yield in_memory
        return
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("notices"))) as (opened, _):
        database = opened()

        async def post(*notices: Notice) -> None:
            await database.run(partial(post_notices, notices))

        def fresh() -> Outbox:
            emptied(database)
            return Outbox(SqlNoticeStore(database), post)

        yield fresh
        run(database.close())


def due(outbox: Outbox, now: float = EVER, latest: float = EVER) -> list[OutgoingNotice]:
    return list(run(outbox.store.due("lua/forge", now, latest, 9)))


def post(outbox: Outbox, *notices: Notice) -> None:
    run(outbox.post(*notices))


def test_of_a_key_the_newest_notice_is_told_and_nothing_once_that_was(made: Made) -> None:
    outbox = made()
    post(outbox, notice(state="waiting"))
    post(outbox, notice(state="building"), notice(state="success", reason="built"))
    (one,) = due(outbox)
    assert (one.notice.state, one.serial, one.before) == (NoticeState.SUCCESS, 3, None)
    run(outbox.store.told(one, 200.0))
    assert due(outbox) == []
    assert run(outbox.store.next_due("lua/forge")) is None
    post(outbox, notice(state="success", reason="built"))
    assert due(outbox) == [], "it says the same"


def test_what_changes_while_it_is_told_is_told_again_and_what_was_said_of_the_older_counts_no_more(made: Made) -> None:
    for mark in ("told", "deferred", "given_up"):
        outbox = made()
        post(outbox, notice(state="waiting"))
        (older,) = due(outbox)
        post(outbox, notice(state="failure"))
        if mark == "told":
            run(outbox.store.told(older, 200.0))
        elif mark == "deferred":
            run(outbox.store.deferred(older, 999.0, "not now"))
        else:
            run(outbox.store.given_up(older, 200.0, "never"))
        (newer,) = due(outbox, 100.0)
        assert (newer.notice.state, newer.tries) == (NoticeState.FAILURE, 0)
        assert newer.before is (NoticeState.WAITING if mark == "told" else None)


def test_an_older_request_says_nothing_any_more(made: Made) -> None:
    outbox = made()
    post(outbox, notice(state="waiting", request_id=5))
    post(outbox, notice(state="failure", request_id=4))
    assert [one.notice.state for one in due(outbox)] == [NoticeState.WAITING]


def test_what_is_put_off_waits_but_not_for_a_clock_that_was_set_back(made: Made) -> None:
    outbox = made()
    post(outbox, notice())
    run(outbox.store.deferred(due(outbox)[0], 500.0, "it answers 502"))
    assert due(outbox, 400.0) == []
    assert run(outbox.store.next_due("lua/forge")) == 500.0
    assert [one.tries for one in due(outbox, 500.0)] == [1]
    assert len(due(outbox, 10.0, latest=300.0)) == 1


def test_what_is_given_up_is_told_no_more_until_there_is_something_new(made: Made) -> None:
    outbox = made()
    post(outbox, notice(), notice("other", at=50.0))
    run(outbox.store.given_up(due(outbox)[0], 500.0, "it answers 422"))
    run(outbox.store.told(due(outbox)[0], 600.0))
    assert due(outbox) == []
    found = run(outbox.store.figures())
    assert found == {"lua/forge": TargetFigures(0, None, 1, 600.0, "it answers 422")}
    post(outbox, notice("other", "success", at=700.0))
    assert run(outbox.store.figures())["lua/forge"] == TargetFigures(1, 700.0, 0, 600.0, "")


def test_the_oldest_is_told_first_and_each_target_has_its_own(made: Made) -> None:
    outbox = made()
    post(outbox, notice("b", at=2.0), notice("a", at=3.0), notice("c", at=1.0), notice(target="lua/other"))
    assert [one.notice.context for one in due(outbox)] == ["c", "b", "a"]


def test_what_is_old_is_forgotten_whatever_became_of_it(made: Made) -> None:
    outbox = made()
    post(outbox, notice("told", at=1.0), notice("late", at=2.0), notice("waits", at=3.0), notice("new", at=90.0))
    first, second, *_ = due(outbox)
    run(outbox.store.told(first, 5.0))
    run(outbox.store.told(second, 60.0))
    assert run(outbox.store.tidy(50.0, 1)) == 1
    assert run(outbox.store.tidy(50.0, 9)) == 1
    assert run(outbox.store.tidy(50.0, 9)) == 0
    assert [one.notice.context for one in due(outbox)] == ["new"]


MOVES = st.one_of(
    st.builds(
        notice,
        st.sampled_from("ab"),
        st.sampled_from(["waiting", "building", "success"]),
        request_id=st.integers(1, 3),
        reason=st.sampled_from(["x", "y"]),
    ),
    st.sampled_from(["told", "deferred", "given_up"]),
)


@settings(max_examples=examples(20, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(MOVES, max_size=12))
def test_whatever_happens_each_store_says_what_the_one_in_memory_does(made: Made, moves: list[Notice | str]) -> None:
    outbox, model = made(), MemoryNotices()
    for at, move in enumerate(moves):
        if isinstance(move, Notice):
            post(outbox, move)
            run(model.post(move))
            continue
        wanted = list(run(model.due("lua/forge", EVER, EVER, 9)))
        assert due(outbox) == wanted
        for one in wanted[:1]:
            for store in (outbox.store, model):
                if move == "told":
                    run(store.told(one, float(at)))
                elif move == "deferred":
                    run(store.deferred(one, float(at), "later"))
                else:
                    run(store.given_up(one, float(at), "never"))
    assert run(outbox.store.figures()) == run(model.figures())
