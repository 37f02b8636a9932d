"""``OutboxStore``: databases, and what stands in for them in tests, hold back and give out the same mails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.outbox_store import SqlOutboxStore
from buildtool.errors import NotFound
from buildtool.ports.metaserver import OutboxStore
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples
from tests.support.outbox import MemoryOutbox, outgoing

Made = Callable[[list[str]], OutboxStore]

WHO = ("ann@example.org", "bob@example.org")
NUMBERS = st.integers(0, 5)
TIMES = st.sampled_from([10.0, 20.0, 30.0, 40.0])
STEPS = st.one_of(
    st.tuples(st.just("hold"), st.sets(NUMBERS, max_size=4), TIMES, TIMES),
    st.tuples(st.just("sent"), NUMBERS),
    st.tuples(st.just("deferred"), NUMBERS, TIMES),
    st.tuples(st.just("refused"), NUMBERS),
    st.tuples(st.just("withheld"), st.sets(st.integers(0, 9), max_size=3)),
    st.tuples(st.just("shift"), st.sampled_from([-15.0, 15.0]), TIMES),
)


def _mail(key: str) -> object:
    made = outgoing(key, WHO[int(key[1:]) % 2])
    return evolve(made, mail=evolve(made.mail, build_id=None, request_ids=(), created_at=float(key[1:])))


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """What makes an outbox with mails in it, by their keys."""
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("outbox"))) as (opened, _):
        database = opened()

        def fresh(keys: list[str]) -> OutboxStore:
            emptied(database)
            run(SqlBrokerStore(database).commit(tuple(_mail(key).mail for key in keys), (), 1.0))  # type: ignore[attr-defined]
            return SqlOutboxStore(database)

        yield fresh
        run(database.close())


def seen(store: OutboxStore, now: float) -> list[tuple[str, str, int, list[str]]]:
    """Return what is due: address, key, tries, and whom a digest tells of."""
    due = run(store.due(now, 100))
    return sorted((one.mail.key, one.mail.email, one.tries, [m.mail.key for m in one.members]) for one in due)


def tried(store: OutboxStore, step: tuple[object, ...], now: float) -> str:
    """Take a step with what is due then; return what is wrong with it."""
    due = [key for key, *_ in seen(store, now)] or ["m77"]
    what, first, *rest = step
    try:
        if what == "hold":
            run(store.hold([due[number % len(due)] for number in sorted(first)], *rest))  # type: ignore[arg-type, call-overload]
        elif what == "withheld":
            run(store.withheld([f"m{number}" for number in sorted(first)], now, "not sent"))  # type: ignore[call-overload]
        elif what == "shift":
            run(store.shift(first, now, *rest))  # type: ignore[arg-type]
        else:
            key = due[first % len(due)]  # type: ignore[operator]
            act = {"sent": store.sent, "deferred": store.deferred, "refused": store.refused}[str(what)]
            run(act(key, *((now,) if what == "sent" else (*rest, "421 later") if rest else (now, "550 gone"))))  # type: ignore[operator]
    except NotFound as wrong:
        return str(wrong)
    return ""


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(STEPS, TIMES), max_size=8))
@example(
    [
        (("deferred", 5, 10.0), 10.0),
        (("hold", {1}, 10.0, 20.0), 10.0),
        (("hold", {2, 4, 9}, 10.0, 10.0), 10.0),
    ]
)
def test_whatever_is_done_to_it_the_same_is_due_at_the_same_time(
    made: Made, steps: list[tuple[tuple[object, ...], float]]
) -> None:
    keys = [f"m{number}" for number in range(6)]
    real, memory = made(keys), MemoryOutbox(*map(_mail, keys))  # type: ignore[arg-type]
    for step, now in steps:
        assert tried(real, step, now) == tried(memory, step, now)
        for at in (0.0, 15.0, 25.0, 35.0, 1e6):
            assert seen(real, at) == seen(memory, at)
        assert run(real.next_due()) == run(memory.next_due())


def test_a_mark_counts_once_and_one_for_what_never_was_there_is_refused(made: Made) -> None:
    for store in (made(["m1", "m2"]), MemoryOutbox(_mail("m1"), _mail("m2"))):  # type: ignore[arg-type]
        run(store.hold(["m1"], 0.0, 10.0))
        run(store.sent("digest:m1", 11.0))
        run(store.sent("digest:m1", 12.0))  # nobody heard of the first
        run(store.sent("m2", 12.0))
        assert seen(store, 1e6) == []
        for key in ("m3", "digest:m3"):
            with pytest.raises(NotFound, match=f"no mail {key} is in the outbox"):
                run(store.deferred(key, 20.0, "later"))
