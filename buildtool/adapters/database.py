"""The database: synchronous SQLAlchemy Core in threads of its own, one function is one transaction.

The metaserver's connection is the only one that writes: one thread, WAL, synchronous FULL, so that what a commit
returned from survives a loss of power. Anybody else reads (``Database.reading``), and may do so at the same time.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect
from sqlalchemy.pool import QueuePool

from buildtool.adapters.schema import REVISION, metadata
from buildtool.errors import ConflictingRow, NewerDatabase, StorageUnavailable
from buildtool.ports import Executor

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a statement waits for a lock that somebody else holds (a backup, an operator's sqlite3)."""


class Database:
    """One database file. Made by ``open`` (the metaserver) or ``reading`` (everybody else)."""

    def __init__(self, path: Path, engine: Engine, executor: Executor) -> None:
        self.path = path
        self._engine = engine
        self._executor = executor
        self._own = threading.local()
        self._connections: list[Connection] = []

    @classmethod
    async def open(cls, path: Path, executor: Executor, patience: float = PATIENCE) -> Self:
        """Open for writing: make the file if there is none, upgrade it if it is older.

        ``executor`` should have one thread; ``patience`` is how many seconds a lock of somebody else's is waited
        for. Raises NewerDatabase for one that a newer version of this program wrote, StorageUnavailable for one
        that cannot be opened, or that is something else.
        """
        engine = _engine(partial(_connect, path, patience), 1, "BEGIN IMMEDIATE")
        database = cls(path, engine, executor)
        try:
            await database.run(partial(_upgrade, path))
        except BaseException:
            await database.close()
            raise
        return database

    @classmethod
    def reading(cls, path: Path, executor: Executor, connections: int = 1) -> Self:
        """Return a database that is only read, with as many ``connections`` as ``executor`` has threads.

        Nothing is opened yet: while the file is missing, older or newer, each ``run`` raises StorageUnavailable
        or NewerDatabase, and the first one after the metaserver has made it good succeeds.
        """
        return cls(path, _engine(partial(_connect_reading, path), connections, "BEGIN"), executor)

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Run ``function`` as one transaction and return what it returns: plain values, nothing tied to it.

        Committed when it returns, rolled back when it raises. Raises StorageUnavailable when the database is
        locked, full, read-only or damaged, ConflictingRow when it refuses a row for good.
        """
        return await self._executor.run(partial(self._transaction, function))

    async def close(self) -> None:
        """Close all connections; the executor is its maker's to stop."""
        await self._executor.run(self._close)

    def _transaction(self, function: Callable[[Connection], T]) -> T:
        with _translated(self.path):
            connection = self._connection()
            try:
                with connection.begin():
                    return function(connection)
            except (exc.DatabaseError, sqlite3.DatabaseError):
                self._drop(connection)
                raise

    def _connection(self) -> Connection:
        """Return this thread's own connection: to take one from a pool every time costs more than a small read."""
        found: Connection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = self._engine.connect()
            self._connections.append(found)
        return found

    def _drop(self, connection: Connection) -> None:
        """Let a connection go that had an error: the next transaction begins with a fresh one."""
        self._own.connection = None
        self._connections.remove(connection)
        connection.close()

    def _close(self) -> None:
        connections, self._connections, self._own = self._connections, [], threading.local()
        for connection in connections:
            connection.close()
        self._engine.dispose()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLAlchemy raises into errors of ours; a wrong statement stays what it is, a defect."""
    try:
        yield
    except (exc.IntegrityError, exc.DataError) as error:
        raise ConflictingRow(f"{path} refuses a row: {error.orig}") from error
    except (UnicodeEncodeError, OverflowError) as error:
        # Raised by the driver before the database sees the value.
        raise ConflictingRow(f"{path} refuses a row: it cannot hold a value ({error})") from error
    except sqlite3.DatabaseError as error:  # from BEGIN, which goes past SQLAlchemy
        raise _unusable(path, error) from error
    except exc.DatabaseError as error:
        if isinstance(error, exc.ProgrammingError | exc.NotSupportedError | exc.InternalError):
            raise
        raise _unusable(path, error.orig) from error


def _unusable(path: Path, problem: BaseException | None) -> StorageUnavailable:
    """Return the error for what SQLite cannot do; a file that is damaged does not mend by itself."""
    code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # the rest of the bits tell details
    damaged = code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
    advice = "; restore a backup, unless bin/metaserver --fsck --repair mends it" if damaged else ""
    return StorageUnavailable(f"{path} cannot be used: {problem}{advice}")


def _engine(connect: Callable[[], sqlite3.Connection], connections: int, begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=connections, max_overflow=0)

    # The driver would begin by itself, and only before it writes: reads of one transaction could then differ.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.cursor().execute(begin)

    return engine


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    return _prepared(_driver(path, "rwc", patience), partial(_prepare_writing, path))


def _connect_reading(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise StorageUnavailable(f"there is no database at {path} yet: start bin/metaserver, which makes it")
    return _prepared(_driver(path, "ro", PATIENCE), partial(_prepare_reading, path))


def _prepared(connection: sqlite3.Connection, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_writing(path: Path, connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StorageUnavailable(f"{path} lies where write-ahead logging does not work: use a local disk")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _prepare_reading(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only=ON")
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    if not connection.execute(tables).fetchone()[0]:
        raise StorageUnavailable(f"{path} has no tables yet: start bin/metaserver, which makes them")
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if revision != REVISION:
        raise _other(path, revision)


def _driver(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    """Connect without the driver's own idea of transactions; a pool hands connections from thread to thread."""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
    )


def _upgrade(path: Path, connection: Connection) -> None:
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        revision = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
        if revision == REVISION:
            return
        if not _known(revision):
            raise _newer(path, revision)
    elif tables:
        raise StorageUnavailable(f"{path} is the database of another program: it has a table {tables[0]}")
    else:
        _make(connection)
        return
    migrate(connection)


def _make(connection: Connection) -> None:
    """Make all tables of a new database at once; a test says that this and all migrations make the same."""
    metadata.create_all(connection)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (REVISION,))


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring an older database, or an empty one, to a revision."""
    from alembic import command  # noqa: PLC0415 - slow to import, and mostly there is nothing to do

    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _other(path: Path, revision: str) -> NewerDatabase | StorageUnavailable:
    if _known(revision):
        return StorageUnavailable(f"{path} has the older revision {revision}: start bin/metaserver, which upgrades it")
    return _newer(path, revision)


def _newer(path: Path, revision: str) -> NewerDatabase:
    return NewerDatabase(
        f"{path} has revision {revision}, written by a newer version of this program; this one knows revisions "
        f"up to {REVISION}: update the program, or use another state directory"
    )


def _known(revision: str) -> bool:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(_alembic())
    return revision in {script.revision for script in scripts.walk_revisions()}


def _alembic() -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "buildtool:migrations")
    config.set_main_option("path_separator", "os")
    return config
