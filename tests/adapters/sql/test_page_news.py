"""What is live in the pages, as it is read from a real database."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.page_news import SqlNews
from buildtool.model.records import AuditEvent, Beat
from buildtool.ports.pages import ConcernedBuild
from tests.adapters.sql.test_broker_store import ARTIFACT, ATTEMPT, BUILD, REQUEST
from tests.support.databases import KINDS, database_of
from tests.support.inline import run

HAPPENED = [AuditEvent("build-queued", f"build/{number}") for number in range(5)]


class Farm:
    """A writer that says what it committed, and what is live on a reader of the same database."""

    def __init__(self, store: SqlBrokerStore, news: SqlNews, told: list[tuple[int, Sequence[AuditEvent]]]) -> None:
        self.store, self.news, self.told = store, news, told


@pytest.fixture(params=KINDS)
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Farm]:
    told: list[tuple[int, Sequence[AuditEvent]]] = []
    with database_of(request.param, request, tmp_path) as (writing, reading):
        database, reader = writing(), reading()
        store = SqlBrokerStore(database, lambda newest, events: told.append((newest, events)))
        yield Farm(store, SqlNews(reader), told)
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
