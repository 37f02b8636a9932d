"""The search of builds: a database finds what a look at every build would, page by page both ways."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.search.pages import COUNTS_AGE, COUNTS_AGE_AT_REST
from buildtool.model.options import Canonical
from buildtool.model.records import Attempt, AuditEvent, Build, BuildState, Request, Row
from buildtool.model.search.build_query import BuildQuery, read_query
from buildtool.ports.pages import BuildLine, BuildsAsked, BuildsFound, Pages, Sees
from tests.adapters.sql.test_broker_store import ATTEMPT, BUILD, REQUEST
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples
from tests.web.fake_pages import FakePages

PROJECTS = ("lua", "zlib", "cpython")
PLATFORMS: tuple[Canonical, ...] = (
    (("arch", "ppc"), ("os", "linux")),
    (("arch", "x86_64"), ("os", "linux")),
    (("arch", "x86_64"), ("os", "darwin")),
)
OPTIONS: tuple[Canonical, ...] = ((), (("gc", "boehm"), ("jit", True)), (("gc", "none"), ("sets", ("a", "b"))))
REVISIONS = ("abcd" + "0" * 36, "abcde" + "1" * 35, "1234" + "f" * 36, "r17")
SERVERS = ("anna", "bob")
EMAILS = ("ada@example.org", "Ada@example.org", "bob@example.org", "")
REFS = ("main", "v1", REVISIONS[0])
MINE = ((), ("ada@example.org",), ("bob@example.org", "eve@example.org"))
COUNT = 12


@st.composite
def pasts(draw: st.DrawFn) -> FakePages:
    builds: list[Build] = []
    attempts: list[Attempt] = []
    requests: list[Request] = []
    for number in range(1, draw(st.integers(0, COUNT)) + 1):
        spec = evolve(
            BUILD.spec, project=draw(st.sampled_from(PROJECTS)), platform=draw(st.sampled_from(PLATFORMS)),
            options=draw(st.sampled_from(OPTIONS)), revision=draw(st.sampled_from(REVISIONS)),
        )  # fmt: skip
        state = draw(st.sampled_from(BuildState))
        made = evolve(BUILD, id=number * 3, key=f"k{number}", spec=spec, state=state, created_at=100.0 * number)
        builds.append(made)
        for epoch in range(1, draw(st.integers(0, 2)) + 1):
            server = draw(st.sampled_from(SERVERS))
            attempts.append(evolve(ATTEMPT, build_id=made.id, epoch=epoch, server=server))
        for _ in range(draw(st.integers(0, 2))):
            at, ref, email = len(requests) + 1, draw(st.sampled_from(REFS)), draw(st.sampled_from(EMAILS))
            demand = evolve(REQUEST.demand, spec=spec, ref=ref)
            requests.append(evolve(REQUEST, id=at, client_id=f"c{at}", email=email, demand=demand, build_id=made.id))
    return FakePages(builds, attempts, [], requests)


def some(*values: object) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


queries = st.builds(
    BuildQuery,
    number=some(3, 6, 7, 2**62),
    project=some("lua", "zlib", "none"),
    platform=some("ppc", "x86_64", "linux", "darwin-x86_64", "vax"),
    option=some(("gc", "boehm"), ("gc", "none"), ("jit", "yes"), ("sets", "b")),
    state=some(BuildState.QUEUED, BuildState.FAILED, BuildState.SUCCEEDED),
    rev=some("abcd", "abcde", REVISIONS[2], "r17", "main", "beef"),
    server=some("anna", "cyd"),
    by=some("me"),
    since=some("1970-01-01T00:05:00"),
)
"""Most of them find nothing: so ``mostly`` leaves out all kinds but two."""


@st.composite
def mostly(draw: st.DrawFn) -> BuildQuery:
    query: BuildQuery = draw(queries)
    kept = draw(st.lists(st.sampled_from(KINDS_OF_TOKENS), max_size=2))
    return evolve(BuildQuery(), **{name: getattr(query, name) for name in kept})


KINDS_OF_TOKENS = ("number", "project", "platform", "option", "state", "rev", "server", "by", "since")


def only_ppc(project: str, platform: Canonical) -> bool:
    return project != "zlib" and dict(platform).get("arch") == "ppc"


def no_lua(project: str, _platform: Canonical) -> bool:
    return project != "lua"


def nothing(_project: str, _platform: Canonical) -> bool:
    return False


SEES: tuple[Sees | None, ...] = (None, None, only_ppc, no_lua, nothing)


@pytest.fixture(scope="module", params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database_of(request.param, request, tmp_path_factory.mktemp("search")) as (opened, _):
        made = opened()
        yield made
        run(made.close())


def plain(found: BuildsFound) -> BuildsFound:
    """What is found, but for the numbers of people, of which only who is the same is promised."""
    return evolve(found, lines=tuple(line._replace(person=0) for line in found.lines))


def people(lines: tuple[BuildLine, ...]) -> set[tuple[str, int]]:
    return {(line.email.lower(), line.person) for line in lines if line.requests}


@given(pasts(), st.lists(st.tuples(mostly(), st.sampled_from(MINE), st.sampled_from(SEES)), min_size=1, max_size=12))
@settings(max_examples=examples(20))
def test_a_database_finds_what_a_look_at_every_build_finds(
    database: Database, past: FakePages, asked: list[tuple[BuildQuery, tuple[str, ...], Sees | None]]
) -> None:
    emptied(database)
    rows: list[Row] = [*past.builds_made, *past.attempts, *past.requests]
    run(SqlBrokerStore(database).commit(rows, (), 0.0))
    pages = SqlPages(database)
    for query, mine, sees in asked:
        ask = BuildsAsked(query, mine=mine, sees=sees, counted=True)
        for one in (
            ask, evolve(ask, limit=2), evolve(ask, before=20, limit=3), evolve(ask, after=10, limit=2),
            evolve(ask, before=2**70, limit=-1), evolve(ask, after=4, before=30, counted=False),
        ):  # fmt: skip
            seen = run(pages.builds(one))
            assert plain(seen) == plain(run(past.builds(one))), (str(query), one)
            told = people(seen.lines)
            assert len({email for email, _ in told}) == len({number for _, number in told}) == len(told)


@given(pasts(), mostly())
@settings(max_examples=examples(15))
def test_pages_in_either_direction_hold_every_build_once(
    database: Database, past: FakePages, query: BuildQuery
) -> None:
    emptied(database)
    run(SqlBrokerStore(database).commit([*past.builds_made, *past.attempts, *past.requests], (), 0.0))
    pages = SqlPages(database)
    whole = [line.id for line in run(pages.builds(BuildsAsked(query, limit=100))).lines]
    assert _walked(pages, query, older=True) == whole
    assert _walked(pages, query, older=False) == whole[::-1]


def _walked(pages: Pages, query: BuildQuery, *, older: bool) -> list[int]:
    seen: list[int] = []
    at, more = (10**6 if older else 0), True
    while more:
        asked = BuildsAsked(query, before=at, limit=2) if older else BuildsAsked(query, after=at, limit=2)
        found = run(pages.builds(asked))
        numbers = [line.id for line in found.lines]
        seen += numbers if older else numbers[::-1]
        more = found.more
        at = seen[-1] if seen else 0
    return seen


@pytest.fixture
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[SqlBrokerStore, Pages]]:
    with database_of("sqlite", request, tmp_path) as (opened, _):
        made = opened()
        yield SqlBrokerStore(made), SqlPages(made)
        run(made.close())


def found(pages: Pages, line: str) -> list[int]:
    return [line.id for line in run(pages.builds(BuildsAsked(read_query(line)))).lines]


def test_a_build_is_found_by_what_it_is_now(store: tuple[SqlBrokerStore, Pages]) -> None:
    broker, pages = store
    build = evolve(BUILD, state=BuildState.QUEUED, ended_at=None, deciding_epoch=None, epoch=0)
    run(broker.commit([build, REQUEST], (), 0.0))
    assert found(pages, "state:queued") == [build.id]
    assert not found(pages, f"server:{ATTEMPT.server}")
    running = evolve(build, state=BuildState.RUNNING, epoch=1)
    run(broker.commit([running, evolve(ATTEMPT, build_id=build.id)], (), 0.0))
    assert not found(pages, "state:queued")
    assert found(pages, f"state:running server:{ATTEMPT.server}") == [build.id]


def test_counts_are_kept_while_nothing_happens_and_soon_counted_anew_where_something_did(
    store: tuple[SqlBrokerStore, Pages],
) -> None:
    broker, pages = store

    def queued(now: float) -> int:
        asked = BuildsAsked(read_query("project:testproject"), counted=True, now=now)
        return run(pages.builds(asked)).counts[BuildState.QUEUED].number

    run(broker.commit([BUILD], (), 0.0))
    assert queued(0.0) == 1
    run(broker.commit([evolve(BUILD, id=2, key="k2")], (AuditEvent("build-queued", "build/2"),), 0.0))
    assert queued(COUNTS_AGE - 1) == 1
    assert queued(COUNTS_AGE) == 2
    run(broker.commit([evolve(BUILD, id=3, key="k3")], (), 0.0))
    assert queued(COUNTS_AGE + COUNTS_AGE_AT_REST - 1) == 2, "no event says that anything happened"
    assert queued(COUNTS_AGE + COUNTS_AGE_AT_REST) == 3


def test_what_a_commit_that_failed_had_numbered_is_numbered_anew(store: tuple[SqlBrokerStore, Pages]) -> None:
    broker, pages = store
    twice = evolve(BUILD, id=2, state=BuildState.QUEUED)
    with pytest.raises(Exception, match="refuses a row"):
        run(broker.commit([evolve(BUILD, id=3, key=twice.key, state=BuildState.QUEUED), twice], (), 0.0))
    run(broker.commit([evolve(BUILD, id=5)], (), 0.0))
    assert found(pages, f"project:{BUILD.spec.project}") == [5]
