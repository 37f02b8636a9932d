"""``WatchStore``: databases, and what stands in for them in tests, keep watches, and tell each binary once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.sql.outbox_store import SqlOutboxStore
from buildtool.adapters.sql.telling.watches import SqlWatchStore
from buildtool.model.records import Mail, RequestState
from buildtool.model.telling.watch import BranchWatch
from buildtool.ports.telling import WatchStore
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.telling import MemoryWatches

ANN = "ann@example.org"
WATCH = BranchWatch(
    0, ANN, "lua", "", "refs/heads/\u00fc", "{}", 5.0, True, "07:00 UTC", "ann", "k", ANN, "::1", True, "a"
)
Made = Callable[[], tuple[WatchStore, SqlOutboxStore | None]]


@pytest.fixture(scope="module", params=["memory", *KINDS])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """What makes an empty store, and the outbox beside it."""
    if request.param == "memory":
        yield lambda: (MemoryWatches(), None)
        return
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("watches"))) as (opened, _):
        database = opened()

        def fresh() -> tuple[WatchStore, SqlOutboxStore]:
            emptied(database)
            return SqlWatchStore(database), SqlOutboxStore(database)

        yield fresh
        run(database.close())


def mail(commit: str, now: float) -> Mail:
    return Mail(f"watch:1:{commit}", ANN, None, (), RequestState.SATISFIED, now, about="watch:1 refs/heads/\u00fc")


def test_watches_are_read_as_they_were_written_until_they_end(made: Made) -> None:
    store, _ = made()
    first, second = run(store.add(WATCH)), run(store.add(evolve(WATCH, digest="", asks=False, trusted=False)))
    assert (first.id, second.id) == (1, 2)
    moved = evolve(first, tip="b", awaited=("b", "a"), moves=3)
    run(store.keep(moved))
    assert list(run(store.watches())) == [moved, second]
    run(store.end(1))
    run(store.keep(moved))
    assert list(run(store.watches())) == [second]
    assert run(store.add(evolve(WATCH, id=9))).id == 9


def test_a_binary_is_told_once_and_those_of_a_day_together(made: Made) -> None:
    store, outbox = made()
    watch = run(store.add(evolve(WATCH, awaited=("b", "a"))))
    told = evolve(watch, awaited=("b",))
    run(store.tell(told, mail("a", 10.0), 100.0))
    run(store.tell(told, mail("a", 11.0), 101.0))
    assert list(run(store.watches())) == [told]
    run(store.tell(evolve(watch, awaited=()), mail("b", 12.0), 100.0))
    if outbox is None:
        return
    run(outbox.shift(3_600.0, 13.0, 14.0))
    assert run(outbox.due(99.0, 9)) == [], "a time of day stays what it is where the clock was set"
    (digest,) = run(outbox.due(100.0, 9))
    assert [one.mail.key for one in digest.members] == ["watch:1:a", "watch:1:b"]
    assert digest.mail.about == "watch:1 refs/heads/\u00fc"
    run(outbox.sent(digest.mail.key, 100.0))
    run(store.tell(told, mail("c", 101.0), None))
    (alone,) = run(outbox.due(101.0, 9))
    assert (alone.mail.key, alone.members) == ("watch:1:c", ())
    run(store.tell(told, mail("d", 101.0), 200.0))
    (digest,) = run(outbox.due(200.0, 9))[-1:]
    assert [one.mail.key for one in digest.members] == ["watch:1:d"], "what was sent is not told again"
