"""``Pages``: the pages' fake answers what a database with the same rows does."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildState,
    Request,
    RequestState,
    Row,
)
from buildtool.model.servers import Server
from buildtool.ports.pages import Pages
from tests.adapters.sql.test_broker_store import ARTIFACT, ATTEMPT, BUILD, REQUEST, SERVER
from tests.support.databases import database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples
from tests.web.fake_pages import NOW, FakePages

IDS = range(1, 6)
PROJECTS = ("lua", "zlib")
NAMES = ("anna", "bob", "cyd")
ENDS = (2.0, 8.0, 5e6)
"""Times of two months, one of them before it was accepted: clocks are set back."""

FAR = (-1, 3, 2**70)
"""Numbers as anybody may type them into a URL."""


@frozen
class History:
    """Rows that a metaserver may have written."""

    builds: list[Build]
    attempts: list[Attempt]
    artifacts: list[Artifact]
    requests: list[Request]
    servers: list[Server]


ids = st.lists(st.sampled_from(IDS), unique=True).map(sorted)
epochs = st.integers(1, 3)


@st.composite
def histories(draw: st.DrawFn) -> History:
    places = draw(st.permutations(IDS))
    builds = [
        evolve(
            BUILD, id=number, key=f"k{number}", spec=evolve(BUILD.spec, project=draw(st.sampled_from(PROJECTS))),
            state=draw(st.sampled_from(BuildState)), place=places[number - 1], created_at=float(number),
            epoch=draw(st.integers(0, 3)), deciding_epoch=draw(st.none() | epochs),
            artifact_id=draw(st.none() | epochs),
        )
        for number in draw(ids)
    ]  # fmt: skip
    attempts = [
        evolve(
            ATTEMPT, build_id=build.id, epoch=epoch, server=draw(st.sampled_from(NAMES)), log_tail="long",
            state=draw(st.sampled_from(AttemptState)), offered_at=draw(st.sampled_from((1.0, 2.0, 3.0))),
            accepted_at=draw(st.sampled_from((None, 4.0))), ended_at=draw(st.sampled_from(ENDS)),
            end=draw(st.sampled_from(AttemptEnd)), rested=draw(st.sampled_from((0.0, 1.0))),
            processor=draw(st.sampled_from((None, 0.5))),
        )
        for build in builds
        for epoch in draw(st.lists(epochs, unique=True).map(sorted))
    ]  # fmt: skip
    artifacts = [
        evolve(
            ARTIFACT, id=number, build_id=draw(st.sampled_from(builds)).id, size=draw(st.integers(0, 9)),
            withdrawn=draw(st.sampled_from(("", "wrong"))),
        )
        for number in (draw(st.lists(epochs, unique=True)) if builds else ())
    ]  # fmt: skip
    requests = [
        evolve(
            REQUEST, id=number, client_id=f"c{number}", build_id=draw(st.sampled_from([None, *(b.id for b in builds)])),
            state=draw(st.sampled_from(RequestState)), email=draw(st.sampled_from(("a@b", "A@b", "c@d"))),
        )
        for number in draw(ids)
    ]  # fmt: skip
    servers = [
        evolve(
            SERVER, name=name, connected=draw(st.booleans()), owner=draw(st.sampled_from(("", "Ann@A.example", "bob")))
        )
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True))
    ]
    return History(builds, attempts, artifacts, requests, servers)


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database_of("sqlite", request, tmp_path_factory.mktemp("pages")) as (opened, _):
        made = opened()
        yield made
        run(made.close())


def everything(pages: Pages, digests: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield every question with its answer."""
    for digest in (*digests, "", "0' or '1"):
        found = run(pages.artifacts_of(digest))
        yield f"artifacts of {digest}", sorted(found, key=lambda one: one.id)
    yield "overview", run(pages.overview(NOW))
    for skip, limit, name in ((0, 50, ""), (1, 1, ""), (-1, 2, ""), (2**70, 9, ""), (0, 9, "bob"), (0, 9, "nobody")):
        answer = run(pages.build_servers(skip=skip, limit=limit, name=name))
        yield f"build servers from {skip}, {limit}, {name}", list(answer)
    for names in ((), ("anna",), NAMES, ("nobody", "anna", "bob")):
        for each, since in ((False, ""), (True, ""), (False, "1970-02"), (True, "1970-02")):
            yield f"work of {names} since {since!r}, {each}", run(pages.work(names, since, each=each))
    for owners in ((), ("ann@a.example",), ("ann@a.example", "bob"), ("",)):
        yield f"owned by {owners}", list(run(pages.owned(owners)))
    for number in (*FAR, *IDS):
        yield f"build {number}", run(pages.build(number))
        yield f"request {number}", run(pages.request(number))
        yield f"events after {number}", list(run(pages.events(number)))


@given(histories())
@settings(max_examples=examples(25))
def test_the_same_rows_give_the_same_answers(database: Database, history: History) -> None:
    emptied(database)
    rows: list[Row] = [*history.servers, *history.builds, *history.artifacts, *history.attempts, *history.requests]
    run(SqlBrokerStore(database).commit(rows, (), 0.0))
    fake = FakePages(history.builds, history.attempts, history.artifacts, history.requests, history.servers)
    digests = {one.digest for one in history.artifacts}
    answers = zip(everything(SqlPages(database), digests), everything(fake, digests), strict=True)
    for (question, stored), (_, faked) in answers:
        assert faked == stored, question
