"""What machines did, summed up: once for each attempt, also of what was there before, and gone with a machine's name.

That the sums are those of the attempts is in tests/ports/test_pages.py.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from sqlalchemy import Connection

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.sql.upgrade import migrate
from buildtool.model.records import AttemptEnd, AttemptState, BuildState, RequestState, Row
from buildtool.ports.work import WorkFound, WorkLine
from tests.adapters.sql.test_broker_store import ATTEMPT, BUILD, REQUEST, SERVER
from tests.adapters.sql.test_migrations import raw, row_of_ones
from tests.support.databases import database_of
from tests.support.inline import run


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))]
)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database_of(request.param, request, tmp_path_factory.mktemp("work")) as (opened, _):
        made = opened()
        yield made
        run(made.close())


def at(year: int, month: int, day: int = 1) -> float:
    return datetime(year, month, day, tzinfo=UTC).timestamp()


def test_an_attempt_counts_when_it_ends_and_is_gone_with_the_name_of_its_machine(database: Database) -> None:
    store, pages = SqlBrokerStore(database), SqlPages(database)
    began = at(2026, 11, 3)
    build = evolve(BUILD, state=BuildState.RUNNING, spec=evolve(BUILD.spec, project="lua"))
    going = evolve(
        ATTEMPT, server="anna", state=AttemptState.BUILDING, accepted_at=began, ended_at=None, end=None, rested=5.0
    )
    asked = evolve(REQUEST, state=RequestState.WAITING, email="Ann@example.org")
    rows: list[Row] = [evolve(SERVER, name="anna", forgotten=False), build, going, asked]
    run(store.commit(rows, (), began))
    assert run(pages.work(["anna"])) == WorkFound()

    ended = evolve(going, state=AttemptState.ENDED, ended_at=began + 65, end=AttemptEnd.MISTAKEN, processor=42.5)
    run(store.commit([evolve(build, state=BuildState.FAILED), ended], (), began + 65))
    line = WorkLine("2026-11", "", "lua", failed=1, processor=42.5, wall=60.0, requesters=1)
    assert run(pages.work(["anna"])) == WorkFound((line,), 1)
    assert run(pages.work(["anna"], each=True)) == WorkFound((evolve(line, server="anna", project=""),), 1)

    again = evolve(ended, epoch=2, end=AttemptEnd.RETURNED, processor=None, ended_at=at(2026, 12))
    declined = evolve(ended, epoch=3, end=AttemptEnd.REFUSED)
    unheard = evolve(ended, epoch=4, accepted_at=None, end=AttemptEnd.LOST)
    run(store.commit([again, declined, unheard], (), at(2026, 12)))
    later, first = run(pages.work(["anna"])).lines
    assert first == line
    assert (later.month, later.good, later.failed, later.other, later.unmeasured) == ("2026-12", 0, 0, 1, 1)

    run(store.commit([evolve(SERVER, name="anna", forgotten=True)], (), at(2026, 12)))
    assert run(pages.work(["anna"])) == WorkFound()


def test_what_was_done_before_there_were_sums_is_summed_up_by_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "buildtool.sqlite"
    ends = {1: at(2025, 12, 31), 2: at(2026, 1), 3: at(2026, 1) - 0.5, 4: at(2026, 3, 31)}

    def fill(connection: Connection) -> None:
        migrate(connection, "0016")
        for table in ("builds", "artifacts", "requests", "attempts"):
            connection.exec_driver_sql(*row_of_ones(connection, table))
        names = [column.name for column in connection.exec_driver_sql("PRAGMA table_info(attempts)")]
        others = ", ".join(f'"{name}"' for name in names if name != "epoch")
        for epoch in (2, 3, 4):
            connection.exec_driver_sql(
                f"INSERT INTO attempts (epoch, {others}) SELECT {epoch}, {others} FROM attempts WHERE epoch = 1"  # noqa: S608 - ours
            )
        connection.exec_driver_sql("UPDATE attempts SET server = 'anna', rested = 2.0, \"end\" = 'succeeded'")
        for epoch, when in ends.items():
            connection.exec_driver_sql(
                "UPDATE attempts SET ended_at = ?, accepted_at = ? WHERE epoch = ?", (when, when - 10, epoch)
            )
        connection.exec_driver_sql("UPDATE attempts SET \"end\" = 'lost' WHERE epoch = 3")
        connection.exec_driver_sql("UPDATE builds SET project = 'lua'")
        connection.exec_driver_sql("UPDATE requests SET email = 'Ann@example.org'")

    raw(path, fill)
    database = run(SqliteDatabase.open(path, Inline()))
    found = run(SqlPages(database).work(["anna"]))
    run(database.close())
    assert found.requesters == 1
    assert found.lines == (
        WorkLine("2026-03", "", "lua", good=1, unmeasured=1, wall=8.0, requesters=1),
        WorkLine("2026-01", "", "lua", good=1, unmeasured=1, wall=8.0, requesters=1),
        WorkLine("2025-12", "", "lua", good=1, other=1, unmeasured=2, wall=16.0, size=1, requesters=1),
    )
