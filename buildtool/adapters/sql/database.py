"""The database: synchronous SQLAlchemy Core in threads of its own, one function is one transaction.

What only one kind of database knows or needs is in the module of that kind: ``sqlite``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, exc

from buildtool.errors import ConflictingRow, StorageUnavailable
from buildtool.ports.common import Executor

T = TypeVar("T")

MEND = "; restore a backup, unless bin/metaserver fsck --repair mends it"
"""What is said of a database that is damaged."""


class Database:
    """One database, called ``name`` in messages.

    ``lost`` says why it is no longer this process's to write to, as the last transaction found, or is empty;
    ``taken_over`` whether that is because another process has it. ``damage`` is what the database said when it found
    itself damaged, since this was opened: that does not mend by itself.
    """

    def __init__(self, name: str, engine: Engine, executor: Executor) -> None:
        self.name = name
        self._engine = engine
        self._errors = (exc.DatabaseError, engine.dialect.loaded_dbapi.DatabaseError)
        self._executor = executor
        self._own = threading.local()
        self._connections: list[Connection] = []
        self._term: int | None = None
        self.lost = ""
        self.damage = ""
        self.taken_over = False

    async def hold(self, term: int) -> None:
        """Write from now on only while this term is the newest, and the database is the one that was opened.

        Each transaction looks before it commits. Raises StorageUnavailable when it is not so even now.
        """

        def begin(_connection: Connection) -> None:
            self._take_note()
            self._term = term

        await self.run(begin)

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Run ``function`` as one transaction and return what it returns: plain values, nothing tied to it.

        Committed when it returns, rolled back when it raises. Raises StorageUnavailable when the database is
        locked, full, read-only, damaged, or no longer the one that was opened, ConflictingRow when it refuses a row
        for good.
        """
        return await self._executor.run(partial(self._transaction, function))

    async def close(self) -> None:
        """Close all connections; the executor is its maker's to stop."""
        await self._executor.run(self._close)

    # --- what a kind of database may know --------------------------------------------------------------

    def _take_note(self) -> None:
        """Remember what tells this database from another one in its place."""

    def _where_it_is(self) -> str:
        """Return what has become of the database since then, or "" while it is there."""
        return ""

    def _damage(self, _problem: BaseException | None) -> str:
        """Return what the database says when it finds itself damaged, or "" for another problem."""
        return ""

    # --- below: run in threads -------------------------------------------------------------------------

    def _transaction(self, function: Callable[[Connection], T]) -> T:
        with self._translated():
            try:
                return self._in_transaction(function)
            except self._errors as error:
                if self._term is not None:
                    self.lost = self._where_it_is()
                self.damage = self.damage or self._damage(error)
                raise

    def _in_transaction(self, function: Callable[[Connection], T]) -> T:
        connection = self._connection()
        try:
            with connection.begin():
                result = function(connection)
                if self._term is not None:
                    self._check_hold(connection)
                return result
        except self._errors:
            self._drop(connection)
            raise

    def _connection(self) -> Connection:
        """Return this thread's own connection: to take one from a pool every time costs more than a small read."""
        found: Connection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = self._engine.connect()
            self._connections.append(found)
        return found

    def _check_hold(self, connection: Connection) -> None:
        """Raise StorageUnavailable, before anything is committed, where that would go to nobody or overwrite another's.

        What the file system says costs some microseconds, and the row is read under the lock that the commit needs.
        """
        self.lost = self._where_it_is() or self._who_holds_it(connection)
        if self.lost:
            raise StorageUnavailable(f"{self.name} {self.lost}")

    def _who_holds_it(self, connection: Connection) -> str:
        """Return who else has taken a newer term, or "" while this process's is the newest."""
        driver: Any = connection.connection.dbapi_connection  # without what SQLAlchemy adds, which costs more than it
        row = driver.execute("SELECT term, holder FROM tenure").fetchone()
        if row is not None and row[0] == self._term:
            return ""
        self.taken_over = True
        who = f"by {row[1]}" if row is not None and row[1] else "by another"
        return f"was taken over {who}: this metaserver writes nothing more"

    def _drop(self, connection: Connection) -> None:
        """Drop a connection that had an error: the next transaction begins with a fresh one."""
        self._own.__dict__.clear()
        self._connections.remove(connection)
        connection.close()

    def _close(self) -> None:
        connections, self._connections, self._own = self._connections, [], threading.local()
        for connection in connections:
            connection.close()
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what SQLAlchemy and the driver raise into errors of ours; a wrong statement stays a defect."""
        try:
            yield
        except (exc.IntegrityError, exc.DataError) as error:
            raise ConflictingRow(f"{self.name} refuses a row: {error.orig}") from error
        except (UnicodeEncodeError, OverflowError) as error:
            # Raised by the driver before the database sees the value.
            raise ConflictingRow(f"{self.name} refuses a row: it cannot hold a value ({error})") from error
        except self._errors as error:  # those of the driver's own come from what goes past SQLAlchemy
            if isinstance(error, exc.ProgrammingError | exc.NotSupportedError | exc.InternalError):
                raise
            advice = MEND if self._damage(error) else ""
            problem = getattr(error, "orig", error)
            raise StorageUnavailable(f"{self.name} cannot be used: {problem}{advice}") from error
