"""The broker's store gives back what it was given, all of it or nothing; the outbox lives through every end."""

import importlib
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, select

from buildtool.adapters.sql import broker_store, hours
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.outbox_store import SqlOutboxStore
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.schema import events, failures, metadata, outbox, refusals
from buildtool.adapters.sql.shelf_queries import CHUNK
from buildtool.errors import ConflictingRow, NotFound
from buildtool.model.matching.shelves import Shelf
from buildtool.model.records import (
    AnsweredRequest,
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    AuditEvent,
    Build,
    BuildState,
    ExpiryShift,
    Mail,
    Refusal,
    RememberedFailure,
    Request,
    RequestState,
    Row,
)
from buildtool.model.servers import Server
from buildtool.ports.pages import RunningBuild
from tests import messages, strategies
from tests.support.databases import KINDS as KINDS_OF_DATABASE
from tests.support.databases import Opened, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples

KINDS: dict[type, st.SearchStrategy[Any]] = {
    Request: strategies.requests,
    Build: strategies.builds,
    Attempt: strategies.attempts,
    Server: strategies.servers,
    Refusal: strategies.refusals,
    Artifact: strategies.artifacts,
    RememberedFailure: strategies.failures,
    Mail: strategies.mails,
}


FIRST_FOUND = settings(database=None, derandomize=True, phases=[Phase.generate], max_examples=500)
"""For values that need not be the simplest."""


def example(strategy: st.SearchStrategy[Any], **changes: object) -> Any:
    """Some value, the same in every run, with what the test is about."""
    return evolve(find(strategy, lambda _value: True, settings=FIRST_FOUND), **changes)


BUILD: Build = example(strategies.builds, id=1, key="k1", state=BuildState.QUEUED, artifact_id=None)
ARTIFACT: Artifact = example(strategies.artifacts, id=1, build_id=1, withdrawn="")
REQUEST: Request = example(
    strategies.requests, id=1, client_id="c1", state=RequestState.WAITING, build_id=1, artifact_id=None
)
ATTEMPT: Attempt = example(strategies.attempts, build_id=1, epoch=1, state=AttemptState.OFFERED)
REFUSAL: Refusal = example(strategies.refusals, build_id=1, server="s1")
SERVER: Server = example(strategies.servers, name="s1")
FAILURE: RememberedFailure = example(strategies.failures, build_id=1)
MAIL: Mail = example(strategies.mails, key="m1", build_id=1, request_ids=(1,), created_at=10.0)


class Files:
    """One database for many examples, emptied between them, and opened anew as often as asked."""

    def __init__(self, kind: str, opened: Opened) -> None:
        self.kind = kind
        self._opened = opened
        self._open()

    def reopen(self) -> None:
        run(self.database.close())
        self._open()

    def _open(self) -> None:
        self.database = self._opened()
        self.broker = SqlBrokerStore(self.database)
        self.outbox = SqlOutboxStore(self.database)
        self.pages = SqlPages(self.database)

    def empty(self) -> None:
        emptied(self.database)

    def commit(self, *rows: Row, now: float = 0.0) -> None:
        run(self.broker.commit(rows, (), now))

    def count(self) -> int:
        """How many rows there are in all tables, but for what builds are found by."""
        return run(
            self.database.run(
                lambda connection: sum(
                    connection.execute(select(func.count()).select_from(table)).scalar_one()
                    for table in metadata.sorted_tables
                    if not table.name.endswith("terms")
                )
            )
        )


@pytest.fixture(scope="module", params=KINDS_OF_DATABASE)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with database_of(request.param, request, tmp_path_factory.mktemp("stores")) as (opened, _):
        files = Files(request.param, opened)
        yield files
        run(files.database.close())


@pytest.fixture
def files(shared: Files) -> Files:
    shared.empty()
    return shared


# --- round trips ----------------------------------------------------------------------------------------


def read_back(files: Files, value: Row) -> Row | None:  # noqa: PLR0911 - one line for each kind
    match value:
        case Request():
            return run(files.broker.request(value.id))
        case Build():
            return run(files.broker.build(value.id))
        case Artifact():
            return run(files.broker.artifact(value.id))
        case Attempt():
            return next(iter(run(files.broker.attempts(value.build_id))), None)
        case Server():
            return next((line.server for line in run(files.pages.build_servers())), None)
        case Refusal():
            return next(iter(run(files.broker.load()).refusals), None)
        case RememberedFailure():
            return next(iter(run(files.broker.known([value.shelf], (), -1.0))[0][value.shelf].failures), None)
        case Mail():
            return next((due.mail for due in run(files.outbox.due(strategies.WALL, 5))), None)
        case _:
            raise AssertionError(f"{value!r} is no row of its own")


def what_it_names(value: Row) -> list[Row]:
    """Builds and artifacts that have to be there before ``value`` can."""
    match value:
        case Request():
            builds = {2**60} | ({value.build_id} if value.build_id else set())
            made = [evolve(ARTIFACT, id=value.artifact_id, build_id=2**60)] if value.artifact_id else []
        case Attempt() | Artifact() | Refusal():
            builds, made = {value.build_id}, []
        case _:
            return []
    return [*(evolve(BUILD, id=id_, key=f"of {id_}") for id_ in builds), *made]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_whatever_is_committed_is_read_back_after_a_restart(shared: Files, kind: type) -> None:
    """Written twice, as it was and as it became: the second stands, whole."""

    @given(KINDS[kind], KINDS[kind])
    @settings(
        max_examples=examples(20, long=120),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
    )
    def check(old: Any, new: Any) -> None:
        # PostgreSQL has no NUL in its texts: who adds it to the product decides how one is written.
        assume(shared.kind == "sqlite" or "\\x00" not in repr((old, new)))
        shared.empty()
        keys = {"Request": ("id",), "Build": ("id",), "Artifact": ("id",), "Attempt": ("build_id", "epoch")}
        keys |= {"Server": ("name",), "Refusal": ("build_id", "server"), "RememberedFailure": ("build_id",)}
        same_key = {name: getattr(new, name) for name in keys.get(kind.__name__, ())}
        if kind is not Mail:
            shared.commit(*what_it_names(old), *what_it_names(new), evolve(old, **same_key))
        shared.commit(*what_it_names(new), new)
        shared.reopen()
        assert read_back(shared, new) == new

    check()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_round_trip_covers_every_field(kind: type) -> None:
    """A field added to the model that the strategies never set would be stored by nobody, and not missed."""
    unset = {name: field.default for name, field in attrs.fields_dict(kind).items()}
    unset.pop("forgotten", None)  # a row that has it is deleted

    def seen_all(value: object) -> bool:
        for name in [name for name, default in unset.items() if getattr(value, name) != default]:
            del unset[name]
        return not unset

    find(KINDS[kind], seen_all, settings=FIRST_FOUND)


# --- commits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(evolve(BUILD, id=2), id="a second open Build of one key"),
        pytest.param(evolve(REQUEST, id=2), id="a client id that is taken"),
        pytest.param(evolve(ATTEMPT, build_id=99), id="an Attempt of no Build"),
        pytest.param(evolve(REQUEST, id=2, client_id="c2", artifact_id=99), id="a Request for no Artifact"),
        pytest.param(evolve(SERVER, quarantine_reason="\ud800"), id="text that is none"),
        pytest.param(evolve(BUILD, id=2**63), id="a number that is too large"),
    ],
)
def test_one_row_that_is_refused_leaves_nothing_of_its_commit(files: Files, bad: Row) -> None:
    """Wherever it stands among good ones; the good ones alone are then accepted."""
    good: list[Row] = [BUILD, ARTIFACT, REQUEST, ATTEMPT, SERVER, MAIL]
    for rows in ([bad, *good], [*good, bad]):
        with pytest.raises(ConflictingRow, match=r" refuses a row"):
            run(files.broker.commit(rows, [AuditEvent("kind", "subject")], 1.0))
        assert files.count() == 0
    files.commit(*good)
    assert files.count() == len(good)


@pytest.mark.parametrize("shared", ["sqlite"], indirect=True)
def test_a_time_that_is_none_is_refused(files: Files) -> None:
    """Where the database has no such number; PostgreSQL keeps it, and gives it back."""
    with pytest.raises(ConflictingRow, match=" refuses a row"):
        files.commit(BUILD, evolve(REQUEST, admitted_at=float("nan")))


def test_a_key_is_free_again_in_the_commit_that_ends_its_build(files: Files) -> None:
    files.commit(BUILD)
    files.commit(evolve(BUILD, state=BuildState.CANCELLED), evolve(BUILD, id=2))
    assert [build.id for build in run(files.broker.load()).builds] == [2]


def test_rows_come_in_any_order_and_the_last_of_a_key_stands(files: Files) -> None:
    ended = evolve(ATTEMPT, state=AttemptState.ENDED)
    files.commit(REQUEST, ATTEMPT, ended, evolve(BUILD, state=BuildState.RUNNING), BUILD)
    assert run(files.broker.attempts(1)) == [ended]
    assert run(files.broker.build(1)) == BUILD


def test_the_row_of_a_forgotten_build_server_goes_and_it_may_come_back(files: Files) -> None:
    anna, bert = (Server(name, 3, messages.register().capability, False, 1.0, 2.0) for name in ("anna", "bert"))
    files.commit(anna, bert)
    files.commit(evolve(anna, forgotten=True))
    files.reopen()
    assert [server.name for server in run(files.broker.load()).servers] == ["bert"]
    files.commit(evolve(bert, forgotten=True), evolve(anna, session=4))
    files.reopen()
    assert [(server.name, server.session) for server in run(files.broker.load()).servers] == [("anna", 4)]


def test_events_are_numbered_in_order_and_a_number_is_never_given_again(files: Files) -> None:
    run(files.broker.commit([], [AuditEvent("a", "x"), AuditEvent("b", "y", "z")], 5.0))
    first, second = run(files.pages.events(0))
    assert (first.at, first.kind, first.subject, first.detail) == (5.0, "a", "x", "")
    assert (second.kind, second.subject, second.detail) == ("b", "y", "z")
    run(files.database.run(lambda c: c.execute(delete(events))))
    run(files.broker.commit([], [AuditEvent("c", "w")], 6.0))
    (third,) = run(files.pages.events(0))
    assert third.seq > second.seq > first.seq
    assert run(files.pages.events(third.seq)) == []


def test_a_build_server_that_comes_and_goes_without_end_does_not_push_other_events_out(files: Files) -> None:
    for number in range(300):
        together = [AuditEvent("server-connected", f"server/s{number % 2}"), AuditEvent("request-hit", "request/1")]
        run(files.broker.commit([], together, 100.0 + number / 10))
    run(files.broker.commit([], [AuditEvent("request-hit", "request/1")], 200.0))
    found = run(files.database.run(lambda c: list(c.execute(select(events.c.kind, events.c.subject, events.c.detail)))))
    assert sum(one.kind == "request-hit" for one in found) == 301
    logins = sum(one.kind == "server-connected" for one in found)
    assert 40 <= logins <= 42
    (left,) = [one for one in found if one.kind == "events-left-out"]
    assert (left.subject, left.detail.split()[:3]) == ("servers", [str(300 - logins), "more", "server-connected"])


def test_what_happens_is_added_up_by_the_hour_and_kind_and_kept_for_so_long(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit, ended = AuditEvent("request-hit", "request/1", "", 60.0), AuditEvent("build-failed", "build/1")
    other = AuditEvent("kind", "x")
    run(files.broker.commit([], [hit, hit, ended, other], 7_199.0))
    run(files.broker.commit([], [hit, evolve(ended, seconds=5.0)], 7_100.0))
    run(files.broker.commit([], [hit], 7_200.0))
    counted = [(one.hour, one.kind, one.times, one.seconds) for one in run(files.pages.hours(0))]
    assert counted == [(1, "build-failed", 2, 5.0), (1, "request-hit", 3, 180.0), (2, "request-hit", 1, 60.0)]
    assert [one.hour for one in run(files.pages.hours(2))] == [2]
    monkeypatch.setattr(broker_store, "TIDY_EVERY", 1)
    run(files.broker.commit([], [hit], 7_200.0 + hours.KEPT))
    assert [one.hour for one in run(files.pages.hours(0))] == [2, 2 + hours.KEPT // 3_600]


def test_the_hours_of_an_older_database_are_counted_from_its_history(files: Files) -> None:
    """As if they had been added up at the time."""
    made = evolve(BUILD, created_at=10.0, state=BuildState.FAILED, started_at=4_000.0, ended_at=5_500.0)
    hit = evolve(REQUEST, admitted_at=3_601.0, answer="hit", artifact_id=1)
    files.commit(
        made, evolve(BUILD, id=2, created_at=3_599.9, state=BuildState.RUNNING, started_at=4.0, ended_at=None),
        evolve(ARTIFACT, seconds=62.0), hit,
        evolve(REQUEST, id=2, client_id="c2", admitted_at=7_199.0, answer="queued"),
    )  # fmt: skip
    migration = importlib.import_module("buildtool.adapters.sql.migrations.versions.0012_hours")

    def count(connection: Connection) -> None:
        for statement in migration.counting(connection.dialect.name):
            connection.exec_driver_sql(statement)

    run(files.database.run(count))
    assert [(one.hour, one.kind, one.times, one.seconds) for one in run(files.pages.hours(0))] == [
        (0, "build-queued", 2, 0.0),
        (1, "build-failed", 1, 1_500.0),
        (1, "request-hit", 1, 62.0),
        (1, "request-queued", 1, 0.0),
    ]


def test_a_commit_of_nothing_writes_nothing(files: Files) -> None:
    run(files.broker.commit([], [], 1.0))
    assert files.count() == 0


def test_history_that_nobody_needs_is_removed_now_and_then(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events beyond those kept, failures that are forgotten, refusals of Builds that have ended."""
    monkeypatch.setattr(broker_store, "EVENTS_KEPT", 1_000)
    monkeypatch.setattr(broker_store, "TIDY_EVERY", 100)
    stale = example(strategies.failures, build_id=5, until=50.0)
    fresh = evolve(stale, build_id=6, until=150.0)
    files.commit(BUILD, stale, fresh, REFUSAL, evolve(REFUSAL, build_id=7))
    many = broker_store.EVENTS_KEPT // 10
    for _ in range(11):
        run(files.broker.commit([], [AuditEvent("kind", "subject")] * many, 100.0))

    def left(connection: Connection) -> tuple[int, list[int], list[int]]:
        return (
            connection.execute(select(func.count()).select_from(events)).scalar_one(),
            list(connection.execute(select(failures.c.build_id)).scalars()),
            list(connection.execute(select(refusals.c.build_id)).scalars()),
        )

    assert run(files.database.run(left)) == (broker_store.EVENTS_KEPT, [6], [1])


# --- what the scheduler starts from ----------------------------------------------------------------------


@given(st.data())
@settings(max_examples=examples(20, long=120), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_what_is_open_is_loaded(shared: Files, data: st.DataObject) -> None:
    """Whatever the history, and with the next free numbers behind all that was ever given."""
    shared.empty()
    states = data.draw(st.lists(st.sampled_from(BuildState), max_size=8))
    builds = [evolve(BUILD, id=n, key=f"k{n}", state=state) for n, state in enumerate(states, 1)]
    asked = [
        evolve(REQUEST, id=n, client_id=f"c{n}", build_id=build.id, state=data.draw(st.sampled_from(RequestState)))
        for n, build in enumerate(builds, 10)
    ]
    tried = [
        evolve(ATTEMPT, build_id=build.id, epoch=epoch, state=data.draw(st.sampled_from(AttemptState)))
        for build in reversed(builds)
        for epoch in (2, 1)
    ]
    said_no = [evolve(REFUSAL, build_id=build.id) for build in builds]
    shared.commit(*builds, *asked, *tried, *said_no, SERVER)
    shared.reopen()
    snapshot = run(shared.broker.load())
    running = {BuildState.QUEUED, BuildState.RUNNING}
    still_open = {build.id for build in builds if build.state in running}
    assert snapshot.builds == tuple(build for build in builds if build.state in running)
    assert snapshot.requests == tuple(r for r in asked if r.state is RequestState.WAITING)
    assert list(snapshot.attempts) == sorted(
        (a for a in tried if a.state is not AttemptState.ENDED), key=lambda attempt: attempt.key
    )
    assert {refusal.build_id for refusal in snapshot.refusals} == still_open
    assert snapshot.servers == (SERVER,)
    assert snapshot.next_request == (asked[-1].id + 1 if asked else 1)
    assert snapshot.next_build == len(builds) + 1
    assert snapshot.next_artifact == 1


def test_a_shelf_has_what_is_given_out_newest_first_and_what_is_remembered(files: Files) -> None:
    """Every key that was asked for is answered, also one with nothing; withdrawn and forgotten things are not."""
    key = ARTIFACT.shelf
    failed = example(strategies.failures, build_id=1, shelf=key, until=100.0)
    files.commit(
        BUILD,
        *(evolve(ARTIFACT, id=n, platform=(("arch", f"arch{n}"),)) for n in (3, 1, 2)),
        evolve(ARTIFACT, id=4, withdrawn="its file is gone"),
        *(evolve(ARTIFACT, id=n, shelf=key._replace(**other)) for n, other in enumerate(OTHERS, 10)),
        failed,
        evolve(failed, build_id=2, until=200.0),
        evolve(failed, build_id=4, until=150.0),
        evolve(failed, build_id=3, shelf=key._replace(revision="other")),
    )
    elsewhere, nowhere = key._replace(**OTHERS[0]), key._replace(revision="nowhere")
    found = run(files.broker.known([key, elsewhere, nowhere, key], (), 100.0))[0]
    assert set(found) == {key, elsewhere, nowhere}
    assert [artifact.id for artifact in found[key].artifacts] == [3, 2, 1]
    assert [failure.build_id for failure in found[key].failures] == [2]
    assert [artifact.id for artifact in found[elsewhere].artifacts] == [10]
    assert found[nowhere] == Shelf()
    assert found[key].more
    assert run(files.broker.known([], (), 1.0))[0] == {}


def test_of_what_was_forced_again_and_again_the_newest_stands_on_its_shelf(files: Files) -> None:
    """The older ones are in the database, and come back once the newer are withdrawn."""
    key, there = ARTIFACT.shelf, (("arch", "ppc"),)
    failed = example(strategies.failures, build_id=1, shelf=key, until=300.0)
    files.commit(BUILD, evolve(ARTIFACT, id=1, platform=there), *(evolve(ARTIFACT, id=n) for n in range(2, 40)))
    files.commit(*(evolve(failed, build_id=n) for n in range(1, 30)))
    (shelf,) = run(files.broker.known([key], (), 1.0))[0].values()
    assert [artifact.id for artifact in shelf.artifacts] == [39, 1]
    assert [failure.build_id for failure in shelf.failures] == [29]
    assert shelf.more
    files.commit(evolve(ARTIFACT, id=39, withdrawn="its file is gone"))
    (shelf,) = run(files.broker.known([key], (), 1.0))[0].values()
    assert [artifact.id for artifact in shelf.artifacts] == [38, 1]


OTHERS: tuple[dict[str, Any], ...] = (
    {"project": "another"},
    {"source": "another"},
    {"recipe_version": 1_000},
    {"options_digest": "another"},
    {"revision": "another"},
)


def test_more_shelves_than_one_statement_takes_are_found(files: Files) -> None:
    keys = [ARTIFACT.shelf._replace(revision=f"{n:040x}") for n in range(2 * CHUNK + 1)]
    files.commit(BUILD, *(evolve(ARTIFACT, id=n, shelf=key) for n, key in enumerate(keys, 1)))
    found = run(files.broker.known(keys, (), 0.0))[0]
    assert [found[key].artifacts[0].id for key in keys] == list(range(1, len(keys) + 1))


def test_client_ids_are_remembered_with_what_was_answered(files: Files) -> None:
    files.commit(BUILD, evolve(REQUEST, answer="queued", body_digest="d"))
    assert run(files.broker.answered(["c1", "never", "c1"])) == {"c1": AnsweredRequest(1, "d", "queued")}
    assert run(files.broker.answered([])) == {}
    for most in (2, 3, 700):
        assert list(run(files.broker.answered([*(f"x{number}" for number in range(1, most)), "c1"]))) == ["c1"]


def test_the_newest_requests_of_one_person_are_found_whatever_became_of_their_builds(files: Files) -> None:
    states = (BuildState.QUEUED, BuildState.SUCCEEDED, BuildState.FAILED)
    ann, eve = "ann@example.org", "eve@example.org"
    for number, state in enumerate(states, 1):
        build = evolve(BUILD, id=number, key=f"k{number}", state=state)
        ended = evolve(REQUEST, build_id=number, state=RequestState.CANCELLED)
        files.commit(
            build,
            evolve(ended, id=number, client_id=f"a{number}", email=ann),
            evolve(ended, id=number + 10, client_id=f"e{number}", email=eve),
        )
    assert [one.id for one in run(files.broker.requests_of(ann, 10))] == [3, 2, 1]
    assert [one.id for one in run(files.broker.requests_of(ann, 2))] == [3, 2]
    assert [one.id for one in run(files.broker.requests_of(eve, 1))] == [13]
    assert run(files.broker.requests_of("bob@example.org", 10)) == []


def test_ids_that_there_are_not_are_none(files: Files) -> None:
    assert run(files.broker.request(1)) is None
    assert run(files.broker.build(1)) is None
    assert run(files.broker.artifact(1)) is None
    assert run(files.broker.attempts(1)) == []


# --- the outbox -----------------------------------------------------------------------------------------


def tries(files: Files) -> list[tuple[str, int]]:
    return [(due.mail.key, due.tries) for due in run(files.outbox.due(1e9, 10))]


def test_a_mail_is_due_with_all_that_its_body_tells(files: Files) -> None:
    ended = evolve(BUILD, state=BuildState.SUCCEEDED, artifact_id=1)
    asked = evolve(REQUEST, state=RequestState.SATISFIED, artifact_id=1)
    other = evolve(asked, id=2, client_id="c2")
    again = evolve(ATTEMPT, epoch=2)
    files.commit(ended, ARTIFACT, asked, other, again, ATTEMPT, evolve(MAIL, request_ids=(2, 1)))
    (due,) = run(files.outbox.due(10.0, 5))
    assert due.mail.request_ids == (2, 1)
    assert (due.build, due.requests, due.artifact) == (ended, (other, asked), ARTIFACT)
    assert (due.attempts, due.tries) == ((ATTEMPT, again), 0)


def test_a_mail_shows_the_artifact_that_satisfied_its_request(files: Files) -> None:
    """Which need not be what its Build made."""
    asked = evolve(REQUEST, state=RequestState.SATISFIED, artifact_id=2)
    files.commit(evolve(BUILD, artifact_id=1), ARTIFACT, evolve(ARTIFACT, id=2), asked, MAIL)
    assert [due.artifact.id for due in run(files.outbox.due(10.0, 5)) if due.artifact] == [2]


def test_a_mail_without_a_build_is_due_too(files: Files) -> None:
    files.commit(evolve(MAIL, build_id=None, request_ids=(77,)))
    (due,) = run(files.outbox.due(10.0, 5))
    assert (due.build, due.requests, due.artifact, due.attempts) == (None, (), None, ())


def test_mails_that_are_held_back_become_one_for_their_address(files: Files) -> None:
    asked = [evolve(REQUEST, id=number, client_id=f"c{number}") for number in range(1, 5)]
    mails = [evolve(MAIL, key=f"m{number}", email="ann@example.org", request_ids=(number,)) for number in range(1, 5)]
    other = evolve(MAIL, key="other", email="bob@example.org")
    files.commit(BUILD, *asked, *mails, other)
    run(files.outbox.hold(["m1", "m2", "other"], 10.0, 100.0))
    assert tries_at(files, 99.0) == [("m3", 0), ("m4", 0)]
    run(files.outbox.hold(["m3"], 50.0, 150.0))
    digest = max(run(files.outbox.due(100.0, 10)), key=lambda one: len(one.members))
    assert [one.mail.key for one in digest.members] == ["m1", "m2", "m3"], "it joined the one that was not due"
    assert (digest.mail.request_ids, digest.mail.email, digest.tries) == ((1, 2, 3), "ann@example.org", 0)
    assert digest.members[0].requests == (asked[0],)
    run(files.outbox.hold(["m4"], 100.0, 200.0))
    assert len(next(one for one in run(files.outbox.due(100.0, 10)) if len(one.members) == 3).members) == 3

    run(files.outbox.deferred(digest.mail.key, 120.0, "later"))
    assert (digest.mail.key, 0) not in tries_at(files, 119.0)
    assert (digest.mail.key, 1) in tries_at(files, 120.0)
    files.reopen()
    run(files.outbox.sent(digest.mail.key, 121.0))
    run(files.outbox.sent(digest.mail.key, 122.0))  # nobody heard of the first time: it took effect all the same
    with pytest.raises(NotFound):
        run(files.outbox.sent("digest:m0", 122.0))
    assert [key for key, _ in tries_at(files, 1e6)] == ["digest:other", "digest:m4"]
    run(files.outbox.refused("digest:m4", 300.0, "550 gone"))
    assert [key for key, _ in tries_at(files, 1e6)] == ["digest:other"]
    run(files.outbox.hold(["digest:other"], 300.0, 400.0))
    assert tries_at(files, 399.0) == []


def tries_at(files: Files, now: float) -> list[tuple[str, int]]:
    return [(due.mail.key, due.tries) for due in run(files.outbox.due(now, 10))]


def test_a_mail_about_a_missing_build_server_comes_with_what_it_had_in_its_last_session(files: Files) -> None:
    had = evolve(ATTEMPT, state=AttemptState.MISSING, end=AttemptEnd.LOST, server="anna", session=4, log_tail="")
    earlier = evolve(had, epoch=had.epoch + 1, session=3, state=AttemptState.ENDED)
    other = evolve(had, epoch=had.epoch + 2, server="bert")
    anna = evolve(SERVER, name="anna", session=4, connected=False, missing_since=5.0)
    about = evolve(MAIL, key="missing:anna:4", build_id=None, request_ids=(), server="anna")
    files.commit(BUILD, had, earlier, other, anna, about)
    (due,) = run(files.outbox.due(10.0, 5))
    assert (due.server, due.lost) == (anna, (RunningBuild(had, BUILD),))


def test_mails_are_tried_when_they_are_due_the_longest_due_first(files: Files) -> None:
    files.commit(*(evolve(MAIL, key=f"m{n}", created_at=float(n)) for n in (3, 1, 2, 4)))
    assert [due.mail.key for due in run(files.outbox.due(3.0, 10))] == ["m1", "m2", "m3"]
    assert [due.mail.key for due in run(files.outbox.due(3.0, 2))] == ["m1", "m2"]
    assert run(files.outbox.next_due()) == 1.0


def test_a_sent_mail_is_not_due_again_not_even_after_a_restart(files: Files) -> None:
    files.commit(BUILD, REQUEST, MAIL)
    run(files.outbox.sent("m1", 20.0))
    files.reopen()
    assert tries(files) == []
    assert run(files.outbox.next_due()) is None


def test_a_deferred_mail_is_due_later_and_counts_its_tries(files: Files) -> None:
    files.commit(BUILD, REQUEST, MAIL)
    for n in (1, 2):
        run(files.outbox.deferred("m1", 100.0 * n, "the mail server is away"))
        files.reopen()
        assert run(files.outbox.due(99.0, 10)) == []
        assert run(files.outbox.next_due()) == 100.0 * n
        assert tries(files) == [("m1", n)]


def test_when_the_clock_is_set_what_was_put_off_follows_and_what_is_new_is_due(files: Files) -> None:
    files.commit(*(evolve(MAIL, key=f"m{n}", created_at=100.0 * n) for n in (1, 2, 3, 4)))
    run(files.outbox.deferred("m1", 150.0, "later"))
    run(files.outbox.deferred("m2", 900.0, "much later"))
    run(files.outbox.sent("m4", 400.0))
    run(files.outbox.shift(1_000.0, 1_100.0, 1_700.0))
    assert [due.mail.key for due in run(files.outbox.due(1_099.0, 9))] == []
    assert [due.mail.key for due in run(files.outbox.due(1_100.0, 9))] == ["m3"]
    assert [due.mail.key for due in run(files.outbox.due(1_150.0, 9))] == ["m3", "m1"]
    assert [due.mail.key for due in run(files.outbox.due(1_699.0, 9))] == ["m3", "m1"]
    assert [due.mail.key for due in run(files.outbox.due(1_700.0, 9))] == ["m3", "m1", "m2"]


def test_a_shift_moves_what_is_open_or_remembered_and_nothing_that_has_ended(files: Files) -> None:
    ended = evolve(REQUEST, id=2, client_id="c2", state=RequestState.CANCELLED, build_id=None)
    files.commit(BUILD, REQUEST, ended, FAILURE)
    files.commit(ExpiryShift(50.0, failures=False), ExpiryShift(70.0, failures=True))
    (waiting,) = run(files.broker.load()).requests
    assert waiting == evolve(REQUEST, expires_at=REQUEST.expires_at + 50.0)
    assert run(files.broker.request(2)) == ended
    (shelf,) = run(files.broker.known([FAILURE.shelf], [], 0.0))[0].values()
    assert shelf.failures == (evolve(FAILURE, until=FAILURE.until + 70.0),)


def test_what_is_written_with_a_shift_stands_as_it_is_written(files: Files) -> None:
    files.commit(BUILD, REQUEST)
    files.commit(ExpiryShift(50.0, failures=False), evolve(REQUEST, expires_at=1.0))
    assert run(files.broker.load()).requests == (evolve(REQUEST, expires_at=1.0),)


def test_a_refused_mail_is_not_tried_again_and_its_requests_say_why(files: Files) -> None:
    """What the mailer noted on a Request stays when the broker writes the Request again."""
    other = evolve(REQUEST, id=2, client_id="c2")
    third = evolve(REQUEST, id=3, client_id="c3")
    files.commit(BUILD, REQUEST, other, third, evolve(MAIL, request_ids=(1, 2)))
    run(files.outbox.refused("m1", 20.0, "550 no such user"))
    assert tries(files) == []
    files.commit(evolve(REQUEST, reason="written again"), other, third)
    lines = [run(files.pages.request(number)) for number in (1, 2, 3)]
    assert [line.mail_error for line in lines if line] == ["550 no such user", "550 no such user", ""]
    assert run(files.pages.overview(1.0)).mails_refused == 1


def test_a_mail_that_is_there_already_is_left_as_it_is(files: Files) -> None:
    files.commit(BUILD, REQUEST, MAIL)
    run(files.outbox.deferred("m1", 500.0, "away"))
    files.commit(MAIL)
    assert (tries(files), run(files.outbox.next_due())) == ([("m1", 1)], 500.0)
    run(files.outbox.sent("m1", 600.0))
    files.commit(MAIL)
    assert tries(files) == []


def test_a_mail_of_the_same_key_for_another_request_goes_out_again(files: Files) -> None:
    """The address asked again, and the same Build is what it is told of: nobody who asked is forgotten."""
    files.commit(BUILD, REQUEST, evolve(REQUEST, id=2, client_id="c2"), MAIL)
    run(files.outbox.sent("m1", 20.0))
    files.commit(evolve(MAIL, request_ids=(2,), created_at=30.0), now=30.0)
    (due,) = run(files.outbox.due(30.0, 10))
    assert due.mail.request_ids == (1, 2)
    assert run(files.outbox.next_due()) == 30.0


def test_two_mails_of_one_key_in_one_commit_are_one(files: Files) -> None:
    files.commit(BUILD, MAIL, evolve(MAIL, request_ids=(2,)), evolve(MAIL, request_ids=(1, 3)))
    (due,) = run(files.outbox.due(30.0, 10))
    assert due.mail.request_ids == (1, 2, 3)
    assert run(files.database.run(lambda c: c.execute(select(func.count()).select_from(outbox)).scalar())) == 1


def test_a_key_that_is_not_in_the_outbox_is_an_error(files: Files) -> None:
    for marked in (
        files.outbox.sent("m9", 1.0),
        files.outbox.deferred("m9", 1.0, "away"),
        files.outbox.refused("m9", 1.0, "no"),
    ):
        with pytest.raises(NotFound, match="no mail m9"):
            run(marked)
