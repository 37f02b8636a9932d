"""What an operator asks of the database is answered from what was committed, whichever kind of database that is."""

from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.operator_store import SqlOperatorStore
from buildtool.adapters.sql.outbox_store import SqlOutboxStore
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.model.records import RequestState
from tests.adapters.sql.test_broker_store import ARTIFACT, BUILD, MAIL, REQUEST
from tests.support.databases import KINDS, database_of
from tests.support.inline import run


@pytest.mark.parametrize("kind", KINDS)
def test_mails_are_counted_and_artifacts_of_a_server_come_in_pages(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with database_of(kind, request, tmp_path) as (opened, _):
        database = opened()
        made = [evolve(ARTIFACT, id=number, server="anna" if number % 2 else "bert") for number in range(1, 8)]
        withdrawn = evolve(ARTIFACT, id=9, server="anna", withdrawn="it was wrong")
        mails = [evolve(MAIL, key=f"m{number}") for number in range(4)]
        run(SqlBrokerStore(database).commit([BUILD, *made, withdrawn, *mails], (), 0.0))
        run(SqlOutboxStore(database).sent("m0", 1.0))
        run(SqlOutboxStore(database).refused("m1", 1.0, "550 no such user"))
        store = SqlOperatorStore(database)
        assert run(store.mail_left()) == (2, 1)
        assert run(store.oldest_mail()) == MAIL.created_at
        assert [one.id for one in run(store.artifacts_by("anna", 0, 3))] == [1, 3, 5]
        assert [one.id for one in run(store.artifacts_by("anna", 5, 3))] == [7]
        assert list(run(store.artifacts_by("nobody", 0, 3))) == []
        run(database.close())


@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_that_came_back_is_noted_on_all_that_it_told_of(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with database_of(kind, request, tmp_path) as (opened, _):
        database = opened()
        alone = evolve(REQUEST, build_id=BUILD.id, email="a@x", state=RequestState.SATISFIED, ended_at=9.0)
        together = evolve(alone, group=7, group_size=2)
        expired = evolve(alone, state=RequestState.EXPIRED)
        others = (
            evolve(alone, email="b@x"),
            evolve(alone, answer="hit", ended_at=8.0),  # nobody was mailed about it
            evolve(alone, build_id=None),
            evolve(alone, build_id=None),
        )
        rows = (alone, alone, *others, together, evolve(together, build_id=None), expired, expired)
        asked = [evolve(one, id=number, client_id=f"c{number}") for number, one in enumerate(rows, 1)]
        run(SqlBrokerStore(database).commit([BUILD, *asked], (), 0.0))
        store, pages = SqlOperatorStore(database), SqlPages(database)
        counts = [run(store.mail_returned(number, f"no {number}")) for number in (1, 5, 7, 9, 99)]
        assert counts == [2, 1, 2, 1, 0]
        lines = [run(pages.request(one.id)) for one in asked]
        assert [line.mail_error for line in lines if line] == [
            *("no 1", "no 1", "", "", "no 5", ""),
            *("no 7", "no 7", "no 9", ""),
        ]
        run(database.close())
