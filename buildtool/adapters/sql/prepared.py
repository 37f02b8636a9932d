"""Statements that are compiled once, for those that run at every request.

SQLAlchemy finds out for each execution which text a statement has and what is to be done with its values, which takes
several times as long as SQLite needs to run it. Here that is done once; the driver gets the values as they are, so
these statements have no columns whose values differ from what the driver takes and gives (flags read back as numbers).
``bench-results/kept-2026-11-26-statements.jsonl`` has what that is worth, ``tests/benchmarks/statements.py`` takes it.

Tested by tests/adapters/sql/test_prepared.py.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Dialect, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.dialects import postgresql

V = TypeVar("V")

Ask = Callable[["Prepared", Mapping[str, object]], "list[tuple[Any, ...]]"]
"""Asks a statement with values; returns all rows as the driver gives them."""


class Prepared:
    """One statement; ``columns`` are those that an insert is given.

    ``read`` has the rows of a ``packed`` one in one text: at each row SQLite's driver lets other threads run, so that
    many rows take many times as long where these have much to do. Their order is lost, and of a number with a fraction
    what comes after fifteen digits, which of a wall time are ten microseconds.
    """

    def __init__(self, statement: ClauseElement, columns: Iterable[str] | None = None, *, packed: bool = False) -> None:
        self._statement = statement
        self._packed = packed
        self._columns = None if columns is None else list(columns)
        self._record: Any = None
        self._texts: dict[str, tuple[str, Sequence[str] | None, Mapping[str, object]]] = {}

    def run(self, connection: Connection, *values: Mapping[str, object]) -> CursorResult[Any]:
        """Run the statement once for each of ``values``, or once without any."""
        text, names, constants = self._texts.get(connection.dialect.name) or self._compiled(connection.dialect)
        if constants:
            values = tuple([{**constants, **row} for row in values or ({},)])
        rows: list[Any]
        # Not every driver takes parameters by their position.
        rows = [dict(row) for row in values] if names is None else [tuple([row[it] for it in names]) for row in values]
        return connection.exec_driver_sql(text, rows if len(rows) > 1 else rows[0] if rows else None)

    def rows(self, connection: Connection, values: Mapping[str, object] | None = None) -> list[Any]:
        """Run the statement and return all rows, whose columns are attributes."""
        with closing(self.run(connection, values or {})) as result:
            cursor: Any = result.cursor
            if self._record is None:
                # Some of the columns may be nameless, as counts are.
                record: Any = namedtuple("record", [it[0] for it in cursor.description], rename=True)  # type: ignore[misc]  # noqa: PYI024
                self._record = record
            return [self._record._make(row) for row in cursor.fetchall()]

    def tuples(self, connection: Connection, values: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Run the statement and return all rows as the driver gives them."""
        with closing(self.run(connection, values or {})) as result:
            cursor: Any = result.cursor
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def read(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[tuple[Any, ...]]:  # noqa: ANN401
        """Run a statement that only reads on the driver's own cursor, and return all rows."""
        text, names, constants = self._texts.get(dialect.name) or self._compiled(dialect)
        known = {**constants, **values} if constants else values
        cursor.execute(text, known if names is None else [known[it] for it in names])
        packed = self._packed and dialect.name in _PACKING
        found: list[tuple[Any, ...]] = json.loads(cursor.fetchone()[0]) if packed else cursor.fetchall()
        return found

    def _compiled(self, dialect: Dialect) -> tuple[str, Sequence[str] | None, Mapping[str, object]]:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        constants = {name: value for name, value in (compiled.params or {}).items() if value is not None}
        names: Sequence[str] | None = getattr(compiled, "positiontup", None)
        text = str(compiled)
        if self._packed and dialect.name in _PACKING:
            text = _packing(text, self._statement)
        found = self._texts[dialect.name] = (text, names, constants)
        return found


_PACKING = frozenset(("sqlite",))
"""The dialects whose driver needs it."""


def _packing(text: str, statement: ClauseElement) -> str:
    """Return a statement for one text that has all rows of another one, which is compiled already, as JSON."""
    columns = ", ".join(f"c{number}" for number, _ in enumerate(cast("Select[Any]", statement).selected_columns))
    return f"WITH found({columns}) AS ({text}) SELECT json_group_array(json_array({columns})) FROM found"  # noqa: S608


def asking(connection: Connection) -> Ask:
    """Return what asks many small statements in one transaction: what SQLAlchemy adds would cost more than they do."""
    dialect, cursor = connection.dialect, connection.connection.cursor()
    return lambda statement, values: statement.read(cursor, dialect, values)


def padded(name: str, values: Sequence[V]) -> dict[str, V]:
    """Return parameters ``name_0``, ``name_1`` ... for values, the last one as often as it takes.

    So few statements serve all numbers of values: there are 1, 2, 4 ... parameters.
    """
    count = 1 << (len(values) - 1).bit_length()
    return {f"{name}_{number}": values[min(number, len(values) - 1)] for number in range(count)}


def insertion(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that can say what is done where there is such a row already."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - slow to import, and mostly it is SQLite

        return postgresql.insert(table)
    return sqlite.insert(table)
