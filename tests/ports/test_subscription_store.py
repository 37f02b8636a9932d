"""``SubscriptionStore``: databases, and what stands in for them in tests, keep which mails people have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.telling.subscriptions import SqlSubscriptionStore
from buildtool.ports.telling import SubscriptionStore
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.lanes import examples
from tests.support.telling import MemorySubscriptions

Made = Callable[[], SubscriptionStore]

TOPICS = st.lists(st.sampled_from(["codes", "requests:lua", "trigger:lua/\u00fc"]), max_size=3)
STEPS = st.tuples(st.sampled_from(["ann@example.org", "bob@example.org"]), TOPICS, st.none() | st.floats(0.0, 1e10))


@pytest.fixture(scope="module", params=["memory", *KINDS])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """What makes an empty store."""
    if request.param == "memory":
        yield MemorySubscriptions
        return
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("telling"))) as (opened, _):
        database = opened()

        def fresh() -> SubscriptionStore:
            emptied(database)
            return SqlSubscriptionStore(database)

        yield fresh
        run(database.close())


@settings(max_examples=examples(15, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=6))
def test_what_was_ended_last_and_not_begun_again_is_read(
    made: Made, steps: list[tuple[str, list[str], float | None]]
) -> None:
    store, expected = made(), dict[tuple[str, str], float]()
    for email, topics, since in steps:
        if since is None:
            run(store.resume(email, topics))
            expected = {key: at for key, at in expected.items() if key[0] != email or key[1] not in topics}
        else:
            run(store.end(email, topics, since))
            expected.update({(email, topic): since for topic in topics})
        assert run(store.ended()) == expected
