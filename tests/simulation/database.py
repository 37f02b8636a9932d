"""The metaserver's real stores on SQLite in memory, which outlives every crash; each call is one transaction.

A call waits its turn, as it would for the one thread of the database, so a crash may come before its transaction, or
after it and before anybody heard. Commits fail now and then: before they take effect, or after they have.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import StaticPool
from twisted.internet.defer import DeferredLock

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql import broker_store, schema
from buildtool.adapters.sql.database import Database
from buildtool.errors import StorageUnavailable
from buildtool.model.access.confirmation import MailAddress
from buildtool.model.access.identities import Identity, Invitation
from buildtool.model.access.tokens import Token
from tests.simulation.clock import Life
from tests.simulation.faults import Faults

T = TypeVar("T")

PATH = Path("/simulated/buildtool.sqlite")


@cache
def _empty() -> bytes:
    """Return a database with all tables and nothing in them."""
    connection = sqlite3.connect(":memory:")
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    schema.metadata.create_all(engine)
    names = "id, term, holder, since, beat, directory, database, machine, sign, fingerprint, copied"
    connection.execute(f"INSERT INTO tenure ({names}) VALUES (1, 0, '', 0, 0, '', '', '', '', '', '')")  # noqa: S608
    connection.commit()
    return connection.serialize()


class Rows:
    """The database itself: what is committed, whoever runs. ``noted`` hears of every commit's rows at once."""

    def __init__(self) -> None:
        self.driver = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.driver.deserialize(_empty())
        self.driver.execute("PRAGMA foreign_keys=ON")
        self.engine = create_engine("sqlite://", creator=lambda: self.driver, poolclass=StaticPool)

        @event.listens_for(self.engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.connection.cursor().execute("BEGIN IMMEDIATE")

        self.connection = self.engine.connect()

    def ask(self, sql: str, *values: object) -> list[Any]:
        """Return rows that are committed."""
        return self.driver.execute(sql, values).fetchall()


class SimulatedDatabase(Database):
    """A metaserver's way to the database, for one life."""

    def __init__(self, rows: Rows, life: Life, faults: Faults, committed: Callable[..., None]) -> None:
        super().__init__(str(PATH), rows.engine, Inline())
        self._rows = rows
        self._life = life
        self._faults = faults
        self._committed = committed
        self._thread = DeferredLock()

    def take_term(self) -> None:
        """Begin the next term, as a start does: what is committed by who began before is refused from now on."""
        (self._term,) = self._rows.driver.execute("UPDATE tenure SET term = term + 1 RETURNING term").fetchone()

    async def run(self, function: Callable[[Connection], T]) -> T:
        await self._thread.acquire()
        try:
            return await self._in_turn(function)
        finally:
            self._thread.release()

    async def _in_turn(self, function: Callable[[Connection], T]) -> T:
        rng = self._faults.rng
        await self._life.pause(0.0002 + 0.001 * rng.random())
        writes = isinstance(function, partial) and function.func.__name__ in WRITING
        kind = "failing_enrolment" if writes and _enrols(function) else "failing_commit"
        if writes and self._faults.happens(kind):
            if rng.random() < 0.5 or not AMBIGUOUS:
                self._transaction(partial(_broken_off, function))
            self._transaction(function)
            self._note(function, told=False)
            await self._life.pause(0.001)
            raise StorageUnavailable("the database cannot be used: disk I/O error, after the commit")
        result = self._transaction(function)
        if writes:
            self._note(function)
        await self._life.pause(0.0002 + 0.001 * rng.random())
        return result

    def _note(self, function: Any, *, told: bool = True) -> None:
        self._committed((function.func.__name__, *function.args), told=told)

    def _connection(self) -> Connection:
        return self._rows.connection

    def _drop(self, connection: Connection) -> None:
        """The rows are in memory: this connection is all there is."""


def _broken_off(function: Callable[[Connection], object], connection: Connection) -> None:
    """Do all that a transaction does but its commit, so that it is rolled back."""
    function(connection)
    raise StorageUnavailable("the database cannot be used: disk I/O error")


def _enrols(function: Any) -> bool:
    """Return whether a transaction is about keys, invitations or tokens, of which a world sees few."""
    return function.func.__name__ == "_commit" and any(type(row) in _KNOWN for row in function.args[0])


_KNOWN = (Identity, Invitation, MailAddress, Token)

AMBIGUOUS = True
WRITING = frozenset({"_commit", "_mark", "_refuse", "_shift", "_returned"})
"""The transactions that write."""

assert all(hasattr(broker_store, name) for name in ("_commit",))
