"""``HookStore``: databases, and what stands in for them in tests, take each delivery once and keep it open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.triggers.hook_store import SqlHookStore
from buildtool.model.hooks.delivery import HookDelivery
from buildtool.model.hooks.signing import ForgeKind
from buildtool.ports.hooks import HookStore
from tests.support.databases import KINDS, database_of, emptied
from tests.support.hook_store import MemoryHooks
from tests.support.inline import run
from tests.support.lanes import examples

Made = Callable[[], HookStore]
KEPT = 3

STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "looked"]), st.sampled_from(["lua", "zlib"]), st.sampled_from("abcde")),
    max_size=12,
)


@pytest.fixture(scope="module", params=["memory", *KINDS])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """What makes an empty store, which keeps three deliveries of a project."""
    if request.param == "memory":
        yield lambda: MemoryHooks(KEPT)
        return
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("hooks"))) as (opened, _):
        database = opened()

        def fresh() -> HookStore:
            emptied(database)
            return SqlHookStore(database, KEPT)

        yield fresh
        run(database.close())


def delivery(project: str, mark: str, at: float = 1.0) -> HookDelivery:
    return HookDelivery(project, mark, ForgeKind.GITEA, "\u00fc", f"push of {mark}", at)


@settings(max_examples=examples(15, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_each_is_taken_once_the_newest_stay_and_what_is_open_is_found(
    made: Made, steps: list[tuple[str, str, str]]
) -> None:
    store, kept, opened, last = made(), dict[str, list[str]](), dict[str, int](), 0
    for at, (step, project, mark) in enumerate(steps):
        if step == "looked":
            run(store.looked(project, last))
            opened.pop(project, None)
            continue
        number = run(store.take(delivery(project, mark, float(at))))
        there = kept.setdefault(project, [])
        assert (number == 0) == (mark in there)
        if number:
            assert number > last
            last = opened[project] = number
            kept[project] = [*there, mark][-KEPT:]
        assert run(store.open()) == opened
        assert {one: found.mark for one, found in run(store.newest()).items()} == {
            one: marks[-1] for one, marks in kept.items()
        }


def test_a_look_after_an_earlier_one_leaves_the_later_open(made: Made) -> None:
    store = made()
    first, second = (run(store.take(delivery("lua", mark))) for mark in "ab")
    run(store.looked("lua", first))
    assert run(store.open()) == {"lua": second}
    assert run(store.newest()) == {"lua": delivery("lua", "b")}
