"""``BrokerStore.accounts``: what was written of keys and invitations is read back, from databases and from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.model.access.identities import Account, Identity, Invitation, KeyState
from buildtool.model.principal import PrincipalRole, Scope
from buildtool.model.records import AuditEvent
from buildtool.ports.metaserver import BrokerStore
from tests.support.databases import KINDS, database_of, emptied
from tests.support.inline import run
from tests.support.memory import MemoryStore

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
TIMES = st.floats(0, 4e9)
ROLES = st.sampled_from(PrincipalRole)
SCOPES = st.builds(Scope, st.tuples(TEXTS), st.tuples(TEXTS, TEXTS))
IDENTITIES = st.builds(
    Identity, st.sampled_from(["a" * 64, "b" * 64]), TEXTS, ROLES, st.sampled_from(KeyState), TIMES, TEXTS, TIMES,
    TEXTS, TEXTS, TEXTS, SCOPES,
)  # fmt: skip
INVITATIONS = st.builds(
    Invitation, st.sampled_from(["c" * 64, "d" * 64]), TEXTS, ROLES, TIMES, TIMES, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS,
    st.booleans(), TIMES, TEXTS, SCOPES,
)  # fmt: skip

Made = Callable[[], BrokerStore]


@pytest.fixture(scope="module", params=[*KINDS, pytest.param("memory")])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """What makes a store that is empty."""
    if request.param == "memory":
        yield MemoryStore
        return
    with database_of(request.param, request, Path(tmp_path_factory.mktemp("accounts"))) as (opened, _):
        database = opened()

        def fresh() -> BrokerStore:
            emptied(database)
            return SqlBrokerStore(database)

        yield fresh
        run(database.close())


def place(row: Account) -> tuple[str, str]:
    return (type(row).__name__, row.key if isinstance(row, Identity) else row.token)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(IDENTITIES | INVITATIONS, max_size=3, unique_by=place), max_size=4))
def test_each_key_and_each_invitation_is_as_it_was_written_last(made: Made, writes: list[list[Account]]) -> None:
    store, expected = made(), dict[tuple[str, str], Account]()
    for rows in writes:
        run(store.commit(tuple(rows), (AuditEvent("revoked", "anna", "by op"),), 1.0))
        expected |= {place(row): row for row in rows}
    assert {place(row): row for row in run(store.accounts())} == expected
