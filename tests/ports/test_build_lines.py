"""What lists show of a build is what was committed last, whatever changed, also where it ended long ago."""

from collections.abc import Iterator

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, update

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.search import line_table
from buildtool.adapters.sql.search.commit_store import SqlCommitStore
from buildtool.adapters.sql.search.tables import build_lines
from buildtool.model.records import Artifact, Attempt, AttemptState, Build, BuildState, Request
from buildtool.model.search.commits import CommitNote, RevisionKey
from buildtool.ports.pages import BuildLine, BuildsAsked
from tests.adapters.sql.test_broker_store import ARTIFACT, ATTEMPT, BUILD, REQUEST
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples
from tests.web.fake_pages import FakePages

BUILDS = (1, 2, 3)
REVISIONS = ("a" * 40, "b" * 40)
NOTE = CommitNote("mends it", "Ada", 5.0)

Step = Build | Attempt | Artifact | Request | RevisionKey


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """One thing that is written, of a build that there is."""
    build = draw(st.sampled_from(BUILDS))
    match draw(st.sampled_from(("build", "attempt", "artifact", "request", "revision"))):
        case "build":
            made = _build(build, draw(st.sampled_from(BuildState)), draw(st.sampled_from((None, 1, 2))))
            return evolve(made, tag=draw(st.sampled_from((0.0, 2.5))), nice=draw(st.sampled_from((0, -20, 3))))
        case "attempt":
            state = draw(st.sampled_from((AttemptState.BUILDING, AttemptState.ENDED)))
            epoch, server = draw(st.integers(1, 2)), draw(st.sampled_from(("anna", "bob")))
            return evolve(ATTEMPT, build_id=build, epoch=epoch, server=server, state=state, reason=f"{state} {server}")
        case "artifact":
            withdrawn = draw(st.sampled_from(("", "it is damaged")))
            return evolve(ARTIFACT, id=build * 10, build_id=build, name=f"{build}.zip", withdrawn=withdrawn)
        case "request":
            number = draw(st.integers(1, 6))
            demand = evolve(REQUEST.demand, ref=f"v{number}")
            email = f"{number}@example.org"
            return evolve(REQUEST, id=number, client_id=f"c{number}", email=email, demand=demand, build_id=build)
    spec = _build(build).spec
    return RevisionKey(spec.project, spec.source, spec.revision)


def _build(number: int, state: BuildState = BuildState.QUEUED, deciding: int | None = None) -> Build:
    spec = evolve(BUILD.spec, revision=REVISIONS[number % 2])
    made = evolve(BUILD, id=number, key=f"k{number}", spec=spec, state=state, epoch=2, deciding_epoch=deciding)
    return evolve(made, artifact_id=number * 10 if state is BuildState.SUCCEEDED else None)


def _allowed(past: FakePages, step: Step) -> bool:
    """Return whether the broker would write it: no ended build goes on, and no request leaves one."""
    ended = {it.id for it in past.builds_made if it.state in line_table.ENDED}
    if isinstance(step, Build):
        return step.id not in ended or any(it.id == step.id and it.state is step.state for it in past.builds_made)
    if isinstance(step, Request):
        return not any(it.id == step.id and it.build_id in ended - {step.build_id} for it in past.requests)
    return True


def _write(database: Database, past: FakePages, step: Step) -> None:
    """Write it to the database and to what is compared."""
    if isinstance(step, RevisionKey):
        past.commits[step] = NOTE
        run(SqlCommitStore(database).keep({step: NOTE}))
        return
    run(SqlBrokerStore(database).commit([step], (), 0.0))
    match step:
        case Build():
            past.builds_made = [*(it for it in past.builds_made if it.id != step.id), step]
        case Attempt():
            past.attempts = [*(it for it in past.attempts if it.key != step.key), step]
        case Artifact():
            past.artifacts = [*(it for it in past.artifacts if it.id != step.id), step]
        case Request():
            past.requests = [*(it for it in past.requests if it.id != step.id), step]


def shown(pages: SqlPages | FakePages) -> list[BuildLine]:
    return [line._replace(person=0) for line in run(pages.builds(BuildsAsked())).lines]


@pytest.fixture(scope="module", params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database_of(request.param, request, tmp_path_factory.mktemp("lines")) as (opened, _):
        made = opened()
        yield made
        run(made.close())


@pytest.fixture
def ended(database: Database) -> Database:
    """Two builds that have ended, of which each has a request, and one that waits."""
    emptied(database)
    past = FakePages()
    written: tuple[Step, ...] = (
        _build(1, BuildState.SUCCEEDED, 1), _build(2, BuildState.FAILED, 1), _build(3),
        *(evolve(REQUEST, id=it, client_id=f"c{it}", build_id=it) for it in BUILDS),
    )  # fmt: skip
    for step in written:
        _write(database, past, step)
    return database


@given(st.lists(steps(), max_size=14))
@settings(max_examples=examples(15))
def test_a_line_says_what_was_written_last_of_everything_that_it_tells(database: Database, many: list[Step]) -> None:
    emptied(database)
    past = FakePages()
    for step in (*map(_build, BUILDS), *many):
        if _allowed(past, step):
            _write(database, past, step)
            assert run(database.run(line_table.wrong_lines)) == []
    assert shown(SqlPages(database)) == shown(past)


def test_ended_builds_have_lines_and_those_that_wait_have_none(ended: Database) -> None:
    assert kept(ended) == [1, 2]


def test_a_line_that_is_missing_is_put_together(ended: Database) -> None:
    before = shown(SqlPages(ended))
    run(ended.run(lambda connection: connection.execute(delete(build_lines))))
    assert shown(SqlPages(ended)) == before
    assert run(ended.run(line_table.wrong_lines)) == [1, 2]


def test_lines_that_are_wrong_missing_or_of_nothing_are_found_and_mended(ended: Database) -> None:
    before = shown(SqlPages(ended))

    def spoil(connection: Connection) -> None:
        connection.execute(update(build_lines).where(build_lines.c.build == 1).values(reason="it rained"))
        connection.execute(update(build_lines).where(build_lines.c.build == 2).values(build=3))

    run(ended.run(spoil))
    assert shown(SqlPages(ended)) != before
    assert run(ended.run(line_table.wrong_lines)) == [1, 2, 3]
    run(ended.run(line_table.mend))
    assert run(ended.run(line_table.wrong_lines)) == []
    assert shown(SqlPages(ended)) == before
    assert kept(ended) == [1, 2]


def kept(database: Database) -> list[int]:
    chosen = build_lines.select().order_by(build_lines.c.build)
    return run(database.run(lambda connection: [row.build for row in connection.execute(chosen)]))
