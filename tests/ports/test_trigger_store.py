"""``TriggerStore``: databases, and what stands in for them in tests, keep what triggers remember."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.triggers.store import SqlTriggerStore
from buildtool.model.triggers.looking import Memory
from buildtool.ports.triggers import TriggerKey, TriggerStore
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples
from tests.support.triggers import MemoryTriggers

Made = Callable[[], TriggerStore]

KEYS = st.tuples(st.sampled_from(["lua", "zlib"]), st.sampled_from(["push main", "tag v*"]))
REFS = st.dictionaries(st.sampled_from(["HEAD", "refs/heads/main", "refs/tags/\u00fc"]), st.sampled_from("ab"))
TIMES = st.floats(0.0, 1e10)
MEMORIES = st.builds(
    Memory, REFS, st.one_of(st.just(-1.0), TIMES), TIMES, st.text("ab \u00fc", max_size=9), st.integers(0, 9), TIMES
)


@pytest.fixture(scope="module", params=["memory", *KINDS])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """What makes an empty store."""
    if request.param == "memory":
        yield MemoryTriggers
        return
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("triggers"))) as (opened, _):
        database = opened()

        def fresh() -> TriggerStore:
            emptied(database)
            return SqlTriggerStore(database)

        yield fresh
        run(database.close())


@settings(max_examples=examples(15, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(st.tuples(KEYS, MEMORIES), max_size=6))
def test_the_last_that_was_written_of_a_trigger_is_read(made: Made, written: list[tuple[TriggerKey, Memory]]) -> None:
    store = made()
    assert run(store.memories()) == {}
    for key, memory in written:
        run(store.remember(key, memory))
    assert run(store.memories()) == dict(written)
