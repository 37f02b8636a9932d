"""What is live in the pages, as it is read from a real database."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from attrs import evolve
from sqlalchemy import Connection

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.page_news import SqlNews
from buildtool.errors import StorageUnavailable
from buildtool.model.records import AuditEvent, Beat
from buildtool.ports.pages import ConcernedBuild
from tests.adapters.sql.test_broker_store import ARTIFACT, ATTEMPT, BUILD, REQUEST
from tests.support.databases import KINDS, database_of
from tests.support.inline import run

HAPPENED = [AuditEvent("build-queued", f"build/{number}") for number in range(5)]


class Farm:
    """A writer that says what it committed, and what is live on a reader of the same database."""

    def __init__(self, database: Database, news: SqlNews) -> None:
        self.told: list[tuple[int, Sequence[AuditEvent]]] = []
        self.database, self.news = database, news
        self.store = SqlBrokerStore(database, lambda newest, events: self.told.append((newest, events)))


@pytest.fixture(params=KINDS)
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Farm]:
    with database_of(request.param, request, tmp_path) as (writing, reading):
        database, reader = writing(), reading()
        yield Farm(database, SqlNews(reader))
        run(reader.close())
        run(database.close())


def test_each_commit_says_the_numbers_of_its_events_which_are_those_that_are_read(farm: Farm) -> None:
    assert run(farm.news.newest())[0] == 0
    run(farm.store.commit((), HAPPENED[:3], 1.0))
    run(farm.store.commit((Beat(17.0),), (), 1.0))
    run(farm.store.commit((), HAPPENED[3:], 1.0))
    assert farm.told == [(3, HAPPENED[:3]), (5, HAPPENED[3:])]
    assert [(line.seq, line.subject) for line in run(farm.news.since(1, 3))] == [
        (2, "build/1"),
        (3, "build/2"),
        (4, "build/3"),
    ]
    assert run(farm.news.newest())[0] == 5


class InDoubt:
    """A database of which the next answer is lost, after what was asked for was done."""

    def __init__(self, database: Database) -> None:
        self.database, self.loses = database, True

    async def run(self, act: Callable[[Connection], object]) -> object:
        found = await self.database.run(act)
        if self.loses:
            self.loses = False
            raise StorageUnavailable("the disk does not answer")
        return found


def test_what_was_committed_though_its_commit_failed_is_told_with_the_next_whatever_that_writes(farm: Farm) -> None:
    told: list[tuple[int, Sequence[AuditEvent]]] = []
    database = cast("Database", InDoubt(farm.database))
    store = SqlBrokerStore(database, lambda newest, events: told.append((newest, events)))
    with pytest.raises(StorageUnavailable):
        run(store.commit((), HAPPENED[:3], 1.0))
    assert told == []
    for at in (17.0, 18.0):
        run(store.commit((Beat(at),), (), 1.0))
    assert told == [(3, [])]


def test_the_builds_of_requests_and_artifacts_are_found_with_who_may_see_them(farm: Farm) -> None:
    other = evolve(BUILD, id=BUILD.id + 1, key="other", epoch=0)
    made = evolve(ARTIFACT, build_id=BUILD.id)
    asked = evolve(REQUEST, build_id=other.id)
    run(farm.store.commit((BUILD, other, made, evolve(ATTEMPT, build_id=BUILD.id, epoch=BUILD.epoch), asked), (), 1.0))
    first = ConcernedBuild(BUILD.id, BUILD.spec.project, BUILD.spec.platform, BUILD.epoch, ATTEMPT.server)
    second = ConcernedBuild(other.id, BUILD.spec.project, BUILD.spec.platform, 0, "")
    assert run(farm.news.concerned([BUILD.id, 10**6])) == [first]
    assert run(farm.news.concerned([], [asked.id])) == [second]
    assert run(farm.news.concerned([other.id], [10**6], [made.id])) == [first, second]
    assert run(farm.news.concerned([])) == []
