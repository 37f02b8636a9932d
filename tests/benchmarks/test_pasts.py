"""A past that is made for figures is one that the stores could have written, the same each time."""

import sqlite3
from contextlib import closing
from pathlib import Path

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.model.records import BuildState
from buildtool.model.search.build_query import read_query
from buildtool.ports.pages import BuildsAsked
from tests.benchmarks import pasts
from tests.support.inline import run

COUNT = 500


def test_a_past_can_be_read_searched_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "state" / "buildtool.sqlite"
    pasts.make(path, COUNT)
    database = run(SqliteDatabase.open(path, Inline()))
    store, pages = SqlBrokerStore(database), SqlPages(database)
    assert len(run(store.load()).builds) == 360
    whole = run(pages.builds(BuildsAsked(limit=COUNT, counted=True)))
    assert [line.id for line in whole.lines] == list(range(COUNT, 0, -1))
    assert {state for state, count in whole.counts.items() if count.number} >= {BuildState.QUEUED, BuildState.SUCCEEDED}
    one = whole.lines[-1]
    for word in (f"project:{one.project}", f"rev:{one.revision[:9]}", f"option:gc={dict(one.options)['gc']}"):
        found = run(pages.builds(BuildsAsked(read_query(word), limit=COUNT)))
        assert one in found.lines
        assert len(found.lines) < COUNT
    run(store.commit([next(iter(run(store.load()).builds))], (), 0.0))
    run(database.close())
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_same_seed_asks_the_same() -> None:
    def some(seed: int) -> list[str]:
        paths = pasts.paths(COUNT, seed)
        return [next(paths) for _ in range(50)]

    assert some(1) == some(1) != some(2)
