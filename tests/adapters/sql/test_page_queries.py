"""The pages read what was committed, page by page, at a cost that does not grow with history."""

import re
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.outbox_store import SqlOutboxStore
from buildtool.adapters.sql.page_queries import TOTALS_AGE, SqlPages
from buildtool.adapters.sql.schema import REVISION
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.errors import StorageUnavailable
from buildtool.model.records import AttemptState, AuditEvent, Build, BuildState, RequestState, Row
from buildtool.model.search.build_query import BuildQuery, read_query
from buildtool.ports.pages import (
    ATTEMPTS_SHOWN,
    REQUESTS_SHOWN,
    BuildLine,
    BuildsAsked,
    BuildsFound,
    Pages,
    RunningBuild,
)
from tests.adapters.sql.test_broker_store import ARTIFACT, ATTEMPT, BUILD, MAIL, REFUSAL, REQUEST, SERVER
from tests.support.databases import KINDS, Opened, database_of
from tests.support.inline import run
from tests.support.lanes import examples


class Farm:
    """A writer and the pages on a reader of the same database."""

    def __init__(self, opened: Opened, reading: Opened) -> None:
        self.database = opened()
        self.broker = SqlBrokerStore(self.database)
        self.outbox = SqlOutboxStore(self.database)
        self.reader = reading()
        self.pages: Pages = SqlPages(self.reader)

    def commit(self, *rows: Row) -> None:
        run(self.broker.commit(rows, (), 0.0))

    def close(self) -> None:
        run(self.reader.close())
        run(self.database.close())


@pytest.fixture(params=KINDS)
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Farm]:
    with database_of(request.param, request, tmp_path) as opening:
        made = Farm(*opening)
        yield made
        made.close()


def build(number: int, state: BuildState = BuildState.SUCCEEDED, project: str = "lua", **changes: Any) -> Build:
    spec = evolve(BUILD.spec, project=project)
    return evolve(BUILD, id=number, key=f"k{number}", spec=spec, state=state, **changes)


# --- lists ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=KINDS)
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Farm, list[Build]]]:
    """Sixty builds of two projects in all states, some numbers missing."""
    with database_of(request.param, request, tmp_path_factory.mktemp("history")) as opening:
        farm = Farm(*opening)
        yield farm, _filled(farm)
        farm.close()


def _filled(farm: Farm) -> list[Build]:
    states = list(BuildState)
    builds = [
        build(number, states[number % 7], "lua" if number % 3 else "zlib") for number in range(1, 90) if number % 4
    ]
    farm.commit(*builds)
    return builds


@given(
    st.integers(1, 30), st.none() | st.sampled_from(["lua", "zlib", "none"]), st.none() | st.sampled_from(BuildState)
)
@settings(max_examples=examples(50))
def test_pages_one_after_the_other_show_every_build_once_newest_first(
    history: tuple[Farm, list[Build]], limit: int, project: str | None, state: BuildState | None
) -> None:
    farm, builds = history
    query = BuildQuery(project=(project,) if project else (), state=(state,) if state else ())
    shown: list[int] = []
    before: int | None = None
    while True:
        found = run(farm.pages.builds(BuildsAsked(query, before=before, limit=limit)))
        shown += [line.id for line in found.lines]
        if not found.more:
            break
        before = shown[-1]
    assert shown == [
        build.id for build in reversed(builds) if project in (None, build.spec.project) and state in (None, build.state)
    ]


def lines(farm: Farm) -> tuple[BuildLine, ...]:
    return run(farm.pages.builds(BuildsAsked())).lines


def test_a_line_has_the_deciding_attempt_the_artifact_and_how_many_asked(farm: Farm) -> None:
    tried = [evolve(ATTEMPT, epoch=epoch, server=f"s{epoch}") for epoch in (1, 2, 3)]
    asked = [evolve(REQUEST, id=n, client_id=f"c{n}", email=f"{n}@example.org") for n in range(1, 4)]
    decided = build(1, epoch=3, deciding_epoch=2, artifact_id=1)
    farm.commit(decided, build(2, epoch=0), ARTIFACT, *tried, *asked)
    bare, line = lines(farm)
    assert (bare.id, bare.server, bare.digest, bare.requests, bare.person) == (2, "", "", 0, -1)
    assert (line.server, line.digest, line.requests, line.email) == ("s2", ARTIFACT.digest, 3, "1@example.org")
    assert (line.options, line.platform) == (decided.spec.options, decided.spec.platform)


def test_a_line_is_as_the_database_has_it_now_whatever_was_shown_before(farm: Farm) -> None:
    """Each of its parts may have changed since."""
    began = build(1, BuildState.RUNNING, epoch=1)
    farm.commit(began, ATTEMPT, REQUEST)
    (shown,) = lines(farm)
    assert lines(farm) == (shown,)
    farm.commit(evolve(REQUEST, id=2, client_id="c2"))
    assert lines(farm) == (shown._replace(requests=2),)
    farm.commit(evolve(ATTEMPT, reason="another reason"))
    assert lines(farm) == (shown._replace(requests=2, attempt_reason="another reason"),)
    farm.commit(evolve(began, state=BuildState.SUCCEEDED, artifact_id=1), ARTIFACT)
    (made,) = lines(farm)
    assert (made.state, made.digest) == (BuildState.SUCCEEDED, ARTIFACT.digest)
    farm.commit(evolve(ARTIFACT, withdrawn="it was wrong"))
    (gone,) = lines(farm)
    assert (gone.digest, gone.content_digest, gone.name, gone.size, gone.maker) == ("", "", "", 0, "")
    assert gone.server == made.server


def test_a_line_of_an_undecided_build_has_its_newest_attempt(farm: Farm) -> None:
    farm.commit(
        build(1, BuildState.RUNNING, epoch=2, deciding_epoch=None),
        *(evolve(ATTEMPT, epoch=epoch, server=f"s{epoch}") for epoch in (1, 2)),
    )
    assert [line.server for line in lines(farm)] == ["s2"]


def test_nobody_gets_more_rows_than_a_page_has(farm: Farm) -> None:
    farm.commit(build(1), build(2))
    found = [run(farm.pages.builds(BuildsAsked(limit=limit))).lines for limit in (-1, 0, 1, 10**30)]
    assert [len(lines) for lines in found] == [0, 0, 1, 2]


def test_numbers_that_no_id_can_be_find_nothing_and_break_nothing(farm: Farm) -> None:
    """Anybody may type any number into a URL."""
    farm.commit(build(1))
    for number in (-(10**30), -1, 0, 2**63 - 1, 2**63, 10**30):
        assert run(farm.pages.build(number)) is None
        assert run(farm.pages.request(number)) is None
        assert run(farm.pages.events(number)) == []
        assert len(run(farm.pages.builds(BuildsAsked(before=number))).lines) == (number > 1)
        assert len(run(farm.pages.builds(BuildsAsked(after=number))).lines) == (number < 1)


# --- one build ------------------------------------------------------------------------------------------


def test_a_build_is_shown_with_its_newest_attempts_and_first_requests(farm: Farm) -> None:
    """Both oldest first, both bounded; how many asked in all is said."""
    made = build(1, artifact_id=1)
    tried = [evolve(ATTEMPT, epoch=n) for n in range(1, ATTEMPTS_SHOWN + 6)]
    asked = [evolve(REQUEST, id=n, client_id=f"c{n}") for n in range(1, REQUESTS_SHOWN + 6)]
    farm.commit(made, ARTIFACT, *tried, *asked, evolve(MAIL, request_ids=(2,)))
    run(farm.outbox.refused("m1", 1.0, "550 no such user"))
    detail = run(farm.pages.build(1))
    assert detail is not None
    assert (detail.build, detail.artifact) == (made, ARTIFACT)
    assert detail.attempts == tuple(tried[5:])
    assert tuple(line.request for line in detail.requests) == tuple(asked[:REQUESTS_SHOWN])
    assert [line.mail_error for line in detail.requests[:3]] == ["", "550 no such user", ""]
    assert detail.request_count == len(asked)


# --- the start page and the build servers ------------------------------------------------------------------


def test_the_overview_counts_what_is_there(farm: Farm) -> None:
    capable = evolve(SERVER.capability, max_builds=3)
    farm.commit(
        build(1, BuildState.QUEUED, place=9),
        build(2, BuildState.QUEUED, place=4),
        build(3, BuildState.RUNNING, place=1),
        build(4, BuildState.FAILED),
        build(5),
        *(evolve(ARTIFACT, id=n, build_id=5, size=100 * n) for n in (1, 2)),
        evolve(ARTIFACT, id=3, build_id=5, withdrawn="gone"),
        *(evolve(SERVER, name=f"s{n}", connected=n > 1, capability=capable) for n in (1, 2, 3)),
        evolve(ATTEMPT, build_id=3, state=AttemptState.BUILDING),
        evolve(ATTEMPT, build_id=4, state=AttemptState.ENDED),
        REQUEST,
        evolve(REQUEST, id=2, client_id="c2", state=RequestState.FAILED),
        *(evolve(MAIL, key=f"m{n}") for n in range(6)),
    )
    run(farm.outbox.sent("m0", 1.0))
    run(farm.outbox.refused("m1", 1.0, "no"))
    run(farm.broker.commit([], [AuditEvent("kind", "subject")] * 3, 1.0))
    seen = run(farm.pages.overview(100.0))
    assert {state: number for state, number in seen.builds.items() if number} == {
        BuildState.QUEUED: 2,
        BuildState.RUNNING: 1,
        BuildState.FAILED: 1,
        BuildState.SUCCEEDED: 1,
    }
    assert set(seen.builds) == set(BuildState)
    assert (seen.servers_connected, seen.servers_known, seen.slots, seen.running) == (2, 3, 6, 1)
    assert (seen.artifacts, seen.artifact_bytes) == (2, 300)
    assert (seen.requests_waiting, seen.mails_unsent, seen.mails_refused) == (1, 4, 1)
    assert (seen.oldest_queued, seen.last_event) == (build(2, BuildState.QUEUED, place=4), 3)


def test_the_overview_of_an_empty_database_is_all_nothing(farm: Farm) -> None:
    seen = run(farm.pages.overview(0.0))
    assert set(seen.builds.values()) == {0}
    assert (seen.artifacts, seen.artifact_bytes, seen.last_event, seen.oldest_queued) == (0, 0, 0, None)


def test_what_is_open_is_exact_and_history_is_counted_again_after_a_while(farm: Farm) -> None:
    def counts(now: float) -> tuple[int, int]:
        builds = run(farm.pages.overview(now)).builds
        return builds[BuildState.QUEUED], builds[BuildState.SUCCEEDED]

    assert counts(100.0) == (0, 0)
    farm.commit(build(1, BuildState.QUEUED), build(2))
    assert counts(100.0 + TOTALS_AGE - 1) == (1, 0)
    assert counts(100.0 + TOTALS_AGE) == (1, 1)
    farm.commit(build(3))
    assert counts(50.0) == (1, 2), "a clock that was set back must not keep old figures"


def test_build_servers_are_listed_by_name_with_what_they_are_building(farm: Farm) -> None:
    names = [evolve(SERVER, name=name) for name in ("zoe", "ada", "mia")]
    running = [build(number, BuildState.RUNNING) for number in (1, 2, 3)]
    tried = [
        evolve(ATTEMPT, build_id=number, server=server, offered_at=at, state=state, log_tail="")
        for number, server, at, state in (
            (1, "mia", 30.0, AttemptState.BUILDING),
            (2, "mia", 10.0, AttemptState.ABORTING),
            (3, "mia", 20.0, AttemptState.ENDED),
            (3, "ada", 40.0, AttemptState.OFFERED),
            (1, "zoe", 5.0, AttemptState.MISSING),
        )
    ]
    tried[3:] = [evolve(one, epoch=2) for one in tried[3:]]
    farm.commit(*names, *running, *tried)
    ada, mia, zoe = run(farm.pages.build_servers())
    assert [line.server.name for line in (ada, mia, zoe)] == ["ada", "mia", "zoe"]
    assert mia.running == (RunningBuild(tried[1], running[1]), RunningBuild(tried[0], running[0]))
    assert ada.running == (RunningBuild(tried[3], running[2]),)
    assert zoe.running == (), "what is missing takes no slot"
    assert run(farm.pages.overview(100.0)).running == 3


def test_build_servers_come_in_pages_those_first_that_are_connected_and_one_by_its_name(farm: Farm) -> None:
    there = {"zoe": True, "ada": False, "mia": True, "bob": False}
    slots = evolve(SERVER.capability, max_builds=3)
    farm.commit(*(evolve(SERVER, name=name, connected=on, capability=slots) for name, on in there.items()))

    def names(**asked: Any) -> list[str]:
        return [line.server.name for line in run(farm.pages.build_servers(**asked))]

    assert names() == ["mia", "zoe", "ada", "bob"]
    assert (names(limit=3), names(skip=3)) == (["mia", "zoe", "ada"], ["bob"])
    assert (names(name="bob"), names(name="nobody"), names(skip=10**30)) == (["bob"], [], [])
    seen = run(farm.pages.overview(1.0))
    assert (seen.servers_known, seen.servers_connected, seen.slots) == (4, 2, 6)


def test_health_says_which_revision_the_database_has(farm: Farm) -> None:
    assert run(farm.pages.health()).revision == REVISION


def test_without_a_database_every_page_says_so(tmp_path: Path) -> None:
    pages = SqlPages(SqliteDatabase.reading(tmp_path / "none.sqlite", Inline()))
    for asked in (
        pages.overview(0.0),
        pages.build_servers(),
        pages.builds(BuildsAsked()),
        pages.build(1),
        pages.health(),
    ):
        with pytest.raises(StorageUnavailable, match="there is no database at"):
            run(asked)


# --- cost -----------------------------------------------------------------------------------------------


def searched(farm: Farm, line: str) -> Coroutine[Any, Any, BuildsFound]:
    return farm.pages.builds(BuildsAsked(read_query(line), before=9, counted=True, sees=lambda *_: True))


ASKED: dict[str, Callable[[Farm], Coroutine[Any, Any, object]]] = {
    "overview": lambda farm: farm.pages.overview(1.0),
    "build servers": lambda farm: farm.pages.build_servers(),
    "next page": lambda farm: farm.pages.builds(BuildsAsked(before=9, counted=True)),
    "the page before": lambda farm: farm.pages.builds(BuildsAsked(after=9)),
    "one project": lambda farm: searched(farm, "project:lua"),
    "one state": lambda farm: searched(farm, "state:failed"),
    "project and state": lambda farm: searched(farm, "project:lua state:failed"),
    "many words": lambda farm: searched(farm, "platform:x86_64 server:anna rev:0000 since:1d 1 2"),
    "many words but numbers": lambda farm: searched(farm, "platform:x86_64 server:anna rev:0000 since:1d"),
    "one of several": lambda farm: searched(farm, "project:lua project:zlib platform:x86_64 platform:ppc"),
    "build": lambda farm: farm.pages.build(1),
    "request": lambda farm: farm.pages.request(1),
    "events": lambda farm: farm.pages.events(1),
    "load": lambda farm: farm.broker.load(),
    "known": lambda farm: farm.broker.known([ARTIFACT.shelf, ARTIFACT.shelf._replace(revision="b")], ["c"], 1.0),
    "answered": lambda farm: farm.broker.answered(["c1", "c2"]),
    "attempts": lambda farm: farm.broker.attempts(1),
    "mails due": lambda farm: farm.outbox.due(1e9, 5),
    "next mail due": lambda farm: farm.outbox.next_due(),
    "mail sent": lambda farm: farm.outbox.sent("m1", 1.0),
    "mail refused": lambda farm: farm.outbox.refused("m1", 1.0, "no"),
}

BOUNDED = r"ix_(attempts|requests)_open|uq_builds_open|ix_builds_queue|ix_outbox_(unsent|refused)"
"""Indexes that hold only what is open or unsent."""

ALL_HISTORY = r"COVERING INDEX ix_artifacts_size"
"""What the overview counts, off an index alone and not each time."""


class Watched:
    """Every statement that a Farm sends, whichever way, with how SQLite would answer it."""

    def __init__(self, farm: Farm) -> None:
        self._reader = farm.reader
        self.sent: list[str] = []
        for database in (farm.database, farm.reader):
            run(database.run(self._listen))

    def _listen(self, connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        driver.set_trace_callback(self.sent.append)

    @property
    def plans(self) -> list[tuple[str, list[str]]]:
        """Each statement with the steps of its plan."""

        def explain(connection: Connection) -> list[tuple[str, list[str]]]:
            driver: Any = connection.connection.dbapi_connection
            return [
                (statement, [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()])
                for statement in [*self.sent]
                if re.match("SELECT|UPDATE|DELETE|WITH", statement)
            ]

        return run(self._reader.run(explain))


ON_SQLITE = pytest.mark.parametrize("farm", ["sqlite"], indirect=True)
"""What is said here of how statements are answered is SQLite's way."""


@pytest.fixture
def watched(farm: Farm) -> Watched:
    """A little of everything, so that no statement is left out for want of rows."""
    farm.commit(build(1, BuildState.RUNNING, epoch=1, artifact_id=1), SERVER, REQUEST, ATTEMPT, ARTIFACT, MAIL, REFUSAL)
    return Watched(farm)


@ON_SQLITE
@pytest.mark.parametrize("asked", ASKED)
def test_no_statement_reads_a_table_of_history_from_end_to_end(farm: Farm, watched: Watched, asked: str) -> None:
    run(ASKED[asked](farm))
    assert watched.plans
    scanned = [
        (statement, step)
        for statement, steps in watched.plans
        for step in steps
        if re.match(r"SCAN (builds|requests|attempts|artifacts|failures|outbox|events)\b", step)
        and not re.search(BOUNDED, step)
        and not (asked == "overview" and re.search(ALL_HISTORY, step))
    ]
    assert scanned == []


@ON_SQLITE
@pytest.mark.parametrize("asked", ["next page", "one project", "one state", "events"])
def test_no_list_is_sorted_it_is_read_in_order(farm: Farm, watched: Watched, asked: str) -> None:
    run(ASKED[asked](farm))
    lists = [steps for statement, steps in watched.plans if "LIMIT" in statement]
    assert lists
    assert not [step for steps in lists for step in steps if "TEMP B-TREE" in step]


@ON_SQLITE
def test_a_page_of_fifty_takes_as_many_statements_as_a_page_of_one(farm: Farm, watched: Watched) -> None:
    farm.commit(*(build(n, epoch=1, artifact_id=1) for n in range(2, 60)))
    sent = []
    run(farm.pages.builds(BuildsAsked(limit=1)))  # which reads what there is of projects and platforms
    for limit in (1, 50):
        watched.sent.clear()
        assert len(run(farm.pages.builds(BuildsAsked(limit=limit))).lines) == limit
        sent.append(len(watched.plans))
    assert sent[0] == sent[1] <= 5


def test_artifacts_are_found_by_their_bytes_but_for_those_that_are_given_out_no_more(farm: Farm) -> None:
    farm.commit(REQUEST, BUILD, ATTEMPT, ARTIFACT, evolve(ARTIFACT, id=ARTIFACT.id + 1, withdrawn="it was wrong"))
    assert list(run(farm.pages.artifacts_of(ARTIFACT.digest))) == [ARTIFACT]
    assert list(run(farm.pages.artifacts_of("1" * 64))) == []
