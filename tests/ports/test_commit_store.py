"""``CommitStore``: what the tests' own does is what a database does, and pages read what was written last."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.search.commit_store import SqlCommitStore
from buildtool.model.search.commits import CommitNote, RevisionKey
from buildtool.ports.metaserver import CommitStore
from buildtool.ports.pages import BuildsAsked
from tests.adapters.sql.test_broker_store import BUILD
from tests.support.databases import KINDS, database_of
from tests.support.inline import run
from tests.support.memory import MemoryCommits

LUA, PAINT, OTHER = RevisionKey("lua", "", "r17"), RevisionKey("paint", "", "r17"), RevisionKey("lua", "x", "r17")
FIRST, SECOND = CommitNote("Mend it", "Ada", 12.5), CommitNote("Mend it again", "", 0.0)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with database_of(request.param, request, tmp_path) as (opened, _):
        made = opened()
        yield made
        run(made.close())


def holds(store: CommitStore) -> None:
    """Fail unless a store keeps what it is given, of each project's and source's own revisions."""
    assert run(store.unknown([LUA, PAINT, OTHER])) == [LUA, PAINT, OTHER]
    run(store.keep({LUA: FIRST}))
    run(store.keep({}))
    assert run(store.unknown([PAINT, LUA, OTHER])) == [PAINT, OTHER]
    run(store.keep({LUA: SECOND, OTHER: FIRST}))
    assert run(store.unknown([LUA, OTHER])) == []


def test_the_one_in_memory_keeps_what_it_is_given() -> None:
    store = MemoryCommits()
    holds(store)
    assert store.notes == {LUA: SECOND, OTHER: FIRST}


def test_a_database_keeps_what_it_is_given_and_pages_read_it(database: Database) -> None:
    holds(SqlCommitStore(database))
    pages = SqlPages(database)
    for number, project, source, note in ((1, "lua", "", SECOND), (2, "paint", "", None), (3, "lua", "x", FIRST)):
        spec = evolve(BUILD.spec, project=project, source=source, revision="r17")
        run(SqlBrokerStore(database).commit([evolve(BUILD, id=number, key=f"k{number}", spec=spec)], [], 1.0))
        found = run(pages.build(number))
        assert found is not None
        assert found.commit == note
        (line,) = [one for one in run(pages.builds(BuildsAsked())).lines if one.id == number]
        assert line.subject == (note.subject if note else "")
