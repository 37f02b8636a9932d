"""Statements that are compiled once: their rows, one by one or in one piece."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Float, MetaData, Table, Text, create_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import StaticPool

from buildtool.adapters.sql.prepared import Prepared, asking, insertion
from buildtool.adapters.sql.schema import Number

_TABLE = Table("things", MetaData(), Column("id", Number), Column("text", Text), Column("at", Float(53)))
_ALL = select(_TABLE.c.id, _TABLE.c.text, _TABLE.c.at)

_TEXTS = st.text(st.characters(codec="utf-8"))
_ROWS = st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | _TEXTS, st.none() | st.floats(0, 4e9)), max_size=70
)


@given(_ROWS)
def test_rows_that_come_in_one_piece_are_those_that_come_one_by_one(
    rows: list[tuple[int, str | None, float | None]],
) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        _TABLE.create(connection)
        if rows:
            connection.execute(
                insertion(_TABLE, "sqlite"), [dict(zip(("id", "text", "at"), row, strict=True)) for row in rows]
            )
        ask = asking(connection)
        alone, packed = ask(Prepared(_ALL), {}), ask(Prepared(_ALL, packed=True), {})
    assert [row[:2] for row in alone] == [tuple(row[:2]) for row in packed]
    for one, other in zip(alone, packed, strict=True):
        assert (one[2] is None) == (other[2] is None)
        assert one[2] is None or abs(one[2] - other[2]) <= 1e-5


def test_many_rows_are_one_step_for_the_driver() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        _TABLE.create(connection)
        connection.execute(insertion(_TABLE, "sqlite"), [{"id": number} for number in range(50)])
        fetched = []

        class Cursor(sqlite3.Cursor):
            def fetchone(self) -> object:
                fetched.append(1)
                return super().fetchone()

            def fetchall(self) -> list[object]:
                raise AssertionError("row by row")

        cursor = connection.connection.dbapi_connection.cursor(Cursor)  # type: ignore[union-attr]
        assert len(Prepared(_ALL, packed=True).read(cursor, connection.dialect, {})) == 50
        assert fetched == [1]


def test_other_dialects_have_their_rows_as_they_are() -> None:
    text, _, _ = Prepared(_ALL, packed=True)._compiled(postgresql.dialect())
    assert text == str(_ALL.compile(dialect=postgresql.dialect()))
