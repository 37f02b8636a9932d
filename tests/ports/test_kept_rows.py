"""``KeptRows``: when things were last of use, what must stay, and what is gone, in each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.keeping import pins
from buildtool.adapters.sql.keeping.store import ANSWERS, OF_CHANNEL, RUNS, SqlKeptRows
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.schema import builds
from buildtool.model.keeping.gone import DAY, GoneKind
from buildtool.model.records import AttemptState, BuildState, Row
from tests.adapters.sql.test_broker_store import ARTIFACT, ATTEMPT, BUILD, FAILURE, REQUEST
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples

NOW = 50 * DAY


@define
class World:
    """A database with builds, and what forgets sees of it."""

    database: Database

    def fresh(self, *written: Row) -> SqlKeptRows:
        emptied(self.database)
        run(SqlBrokerStore(self.database).commit(list(written), (), 0.0))
        return SqlKeptRows(self.database)


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("kept"))) as (opened, _):
        made = World(opened())
        yield made
        run(made.database.close())


def ended(number: int, at: float | None = 9.0, state: BuildState = BuildState.FAILED) -> Row:
    return evolve(BUILD, id=number, key=f"k{number}", state=state, ended_at=at)


def test_an_artifact_was_last_of_use_when_it_was_made_asked_for_or_fetched(world: World) -> None:
    made = [
        evolve(ARTIFACT, id=number, build_id=number, digest=f"{number}" * 64, size=number, built_at=5.0)
        for number in (1, 2, 3)
    ]
    asked = evolve(REQUEST, id=7, build_id=2, artifact_id=2, admitted_at=1.0, ended_at=8.0)
    store = world.fresh(ended(1), ended(2), ended(3), *made, asked)
    run(store.given_out({"3" * 64: 11.0, "9" * 64: 12.0}))
    assert [(one.artifact.id, one.at, one.size, one.spared) for one in run(store.artifacts(0, 9))] == [
        (1, 5.0, 1, ""), (2, 8.0, 2, ""), (3, 11.0, 3, ""),
    ]  # fmt: skip
    run(store.given_out({"3" * 64: 13.0}))
    assert [one.at for one in run(store.artifacts(2, 9))] == [13.0]
    assert [one.artifact.id for one in run(store.artifacts(0, 2))] == [1, 2]


def test_when_a_file_was_fetched_is_forgotten_once_no_artifact_that_is_given_out_has_it(world: World) -> None:
    made = [evolve(ARTIFACT, id=number, build_id=1, digest=f"{number}" * 64, built_at=5.0) for number in (1, 2)]
    store = world.fresh(ended(1), *made)
    run(store.given_out({"1" * 64: 11.0, "2" * 64: 12.0}))
    run(SqlBrokerStore(world.database).commit([evolve(made[0], withdrawn="expired on …")], (), 0.0))
    run(store.given_out_no_more(["1" * 64, "2" * 64]))
    run(SqlBrokerStore(world.database).commit(made, (), 0.0))
    assert [one.at for one in run(store.artifacts(0, 9))] == [5.0, 12.0]


def test_bytes_that_several_artifacts_share_are_counted_once(world: World) -> None:
    made = [evolve(ARTIFACT, id=number, build_id=1, digest="a" * 64, size=10) for number in (1, 2)]
    store = world.fresh(ended(1), *made, evolve(ARTIFACT, id=3, digest="b" * 64, size=7, withdrawn="purged"))
    assert [(one.artifact.id, one.size) for one in run(store.artifacts(0, 9))] == [(1, 10), (2, 0)]
    run(SqlBrokerStore(world.database).commit([evolve(made[0], withdrawn="expired on …")], (), 0.0))
    assert [(one.artifact.id, one.size) for one in run(store.artifacts_again([1, 2, 3]))] == [(2, 10)]


def test_what_is_named_for_good_is_spared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store = world.fresh(ended(1), ARTIFACT, evolve(ARTIFACT, id=2))
    monkeypatch.setattr(pins, "PINS", (lambda _connection, numbers: frozenset(numbers) & {2},))
    assert [one.spared for one in run(store.artifacts(0, 9))] == ["", OF_CHANNEL]


def test_why_an_artifact_is_gone_is_known_by_its_bytes(world: World) -> None:
    gone = evolve(ARTIFACT, withdrawn="expired on 2026-01-01 (rule: r)")
    store, pages = world.fresh(ended(1), gone, evolve(ARTIFACT, id=2, digest="b" * 64, withdrawn="purged")), None
    pages = SqlPages(world.database)
    for where in (store, pages):
        assert run(where.artifact_gone(ARTIFACT.digest)) == "expired on 2026-01-01 (rule: r)"
        assert run(where.artifact_gone("b" * 64)) == ""
        assert run(where.artifact_gone("c" * 64)) == ""
    run(SqlBrokerStore(world.database).commit([evolve(ARTIFACT, id=3)], (), 0.0))
    assert run(store.artifact_gone(ARTIFACT.digest)) == ""  # it was built again


def test_logs_stay_of_what_runs_and_of_what_is_answered_with(world: World) -> None:
    late = evolve(ATTEMPT, build_id=3, epoch=2, state=AttemptState.BUILDING)
    remembered = evolve(FAILURE, build_id=4, until=NOW + 1)
    known = (ended(1), ended(2, None, BuildState.QUEUED), ended(3), ended(4))
    store = world.fresh(*known, late, remembered)
    found = run(store.logs([1, 2, 3, 4, 5], NOW))
    assert {number: (one.at, one.spared) for number, one in found.items()} == {
        1: (9.0, ""), 2: (0.0, RUNS), 3: (9.0, RUNS), 4: (9.0, ANSWERS),
    }  # fmt: skip
    assert run(store.logs([4], NOW + 2))[4].spared == ""
    assert run(store.logs_go({1: "r", 2: "r", 4: "r", 5: "r"}, [1, 2, 3, 4], NOW)) == {1}
    assert run(store.tombstone(GoneKind.LOG, 2)) is None


def test_the_page_of_a_build_knows_that_its_logs_are_gone(world: World) -> None:
    store = world.fresh(ended(1), ended(2))
    run(store.logs_go({1: "logs older than 9 days"}, [1, 2], NOW))
    pages = SqlPages(world.database)
    details = [run(pages.build(number)) for number in (1, 2)]
    assert [one.log_gone for one in details if one is not None] == [
        "expired on 1970-02-20 (rule: logs older than 9 days)", "",
    ]  # fmt: skip


turns = st.tuples(st.frozensets(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 2))


@settings(max_examples=examples(15, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.frozensets(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 2)), max_size=6)
)
def test_every_log_that_went_is_said_to_be_gone_since_its_day_and_no_other(
    world: World, steps: list[tuple[frozenset[int], int]]
) -> None:
    """Builds go in any order, a day or none after the others."""
    store, there, day = world.fresh(), set(range(1, 13)), 50
    with_rows = [rows.build_cells(evolve(BUILD, id=number, key=f"k{number}", ended_at=1.0)) for number in there]

    def write(connection: object) -> None:
        connection.execute(insert(builds), with_rows)  # type: ignore[attr-defined] # as a Connection does

    run(world.database.run(write))
    gone: dict[int, int] = {}
    for going, later in steps:
        day += later
        now = dict.fromkeys(going & there, f"rule of day {day}")
        assert run(store.logs_go(now, sorted(there), day * DAY)) == now.keys()
        there -= now.keys()
        gone |= dict.fromkeys(now, day)
    for number in range(1, 14):
        found = run(store.tombstone(GoneKind.LOG, number))
        said = (int(found.at // DAY), found.rule) if found is not None else None
        assert said == ((gone[number], f"rule of day {gone[number]}") if number in gone else None)
