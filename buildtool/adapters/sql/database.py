"""The database: synchronous SQLAlchemy Core in threads of its own, one function is one transaction.

The metaserver's connection is the only one that writes: one thread, WAL, synchronous FULL, so that what a commit
returned from survives a loss of power. Anybody else reads (``Database.reading``), and may do so at the same time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect
from sqlalchemy.pool import QueuePool

from buildtool.adapters.sql.schema import REVISION, metadata
from buildtool.errors import ConflictingRow, NewerDatabase, StorageUnavailable
from buildtool.ports.common import Executor

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")

MEND = "; restore a backup, unless bin/metaserver --fsck --repair mends it"
"""What is said of a file that is damaged."""

PATIENCE = 5.0
"""Seconds that a statement waits for a lock that somebody else holds (a backup, an operator's sqlite3)."""


class Database:
    """One database file. Made by ``open`` (the metaserver) or ``reading`` (everybody else).

    ``lost`` says why it is no longer this process's to write to, as the last transaction found, or is empty;
    ``taken_over`` whether that is because another process has it. ``damage`` is what SQLite said when it found the file
    damaged, since this was opened: that does not mend by itself.
    """

    def __init__(self, path: Path, engine: Engine, executor: Executor) -> None:
        self.path = path
        self._engine = engine
        self._executor = executor
        self._own = threading.local()
        self._connections: list[Connection] = []
        self._term: int | None = None
        self._file: os.stat_result | None = None
        self._paths = str(path), f"{path}-wal"
        self.lost = ""
        self.damage = ""
        self.taken_over = False

    @classmethod
    async def open(cls, path: Path, executor: Executor, patience: float = PATIENCE) -> Self:
        """Open for writing: make the file if there is none, upgrade it if it is older.

        ``executor`` should have one thread; ``patience`` is how many seconds a lock of somebody else's is waited
        for. Raises NewerDatabase for one that a newer version of this program wrote, StorageUnavailable for one
        that cannot be opened, or that is something else.
        """
        made = False

        def connect() -> sqlite3.Connection:
            # One that was opened and is gone is not made anew: nobody would miss what was in it.
            return _connect(path, patience, "rw" if made else "rwc")

        database = cls(path, _engine(connect, 1, "BEGIN IMMEDIATE"), executor)
        try:
            await database.run(partial(_upgrade, path))
        except BaseException:
            await database.close()
            raise
        made = True
        return database

    @classmethod
    def reading(cls, path: Path, executor: Executor, connections: int = 1, *, older: bool = False) -> Self:
        """Return a database that is only read, with as many ``connections`` as ``executor`` has threads.

        Nothing is opened yet: while the file is missing, older or newer, each ``run`` raises StorageUnavailable
        or NewerDatabase, and the first one after the metaserver has made it good succeeds. With ``older``, one
        that this program could upgrade is read as it is.
        """
        return cls(path, _engine(partial(_connect_reading, path, older), connections, "BEGIN"), executor)

    async def hold(self, term: int) -> None:
        """Write from now on only while this term is the newest, and the file is the one that lies at the path.

        Each transaction looks before it commits. Raises StorageUnavailable when it is not so even now.
        """

        def begin(_connection: Connection) -> None:
            self._file, self._term = os.stat(self._paths[0]), term  # noqa: PTH116 - Path.stat costs twice as much

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

    def _transaction(self, function: Callable[[Connection], T]) -> T:
        with _translated(self.path):
            try:
                return self._in_transaction(function)
            except (exc.DatabaseError, sqlite3.DatabaseError) as error:
                if self._term is not None:
                    self.lost = self._where_it_is()
                self.damage = self.damage or _damage(error)
                raise

    def _in_transaction(self, function: Callable[[Connection], T]) -> T:
        connection = self._connection()
        try:
            with connection.begin():
                result = function(connection)
                if self._term is not None:
                    self._check_hold(connection)
                return result
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

    def _check_hold(self, connection: Connection) -> None:
        """Raise StorageUnavailable, before anything is committed, where that would go to nobody or overwrite another's.

        What the file system says costs some microseconds, and the row is read under the lock that the commit needs.
        """
        self.lost = self._where_it_is() or self._who_holds_it(connection)
        if self.lost:
            raise StorageUnavailable(f"{self.path} {self.lost}")

    def _where_it_is(self) -> str:
        """Return what has become of the files that are open, or "" while they lie at their paths."""
        if self._file is None:
            return ""
        try:
            if not os.path.samestat(os.stat(self._paths[0]), self._file):  # noqa: PTH116
                return "is another file than the one that was opened: it was replaced while it was in use"
            there = os.stat(self._paths[1])  # noqa: PTH116
        except FileNotFoundError:
            return "is gone: it was deleted or moved while it was in use"
        except OSError as error:
            return f"cannot be looked at: {error.strerror}"
        opened = getattr(self._own, "log", None)
        if opened is None:
            self._own.log = there
        elif not os.path.samestat(there, opened):
            return "has another write-ahead log than the one that was opened: it was replaced while it was in use"
        return ""

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
        """Let a connection go that had an error: the next transaction begins with a fresh one."""
        self._own.connection = self._own.log = None
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
    advice = MEND if _damage(problem) else ""
    return StorageUnavailable(f"{path} cannot be used: {problem}{advice}")


def _damage(problem: BaseException | None) -> str:
    """Return what SQLite says when it finds a file damaged, or "" for another problem."""
    problem = getattr(problem, "orig", problem)
    code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # the rest of the bits tell details
    return str(problem) if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) else ""


def _engine(connect: Callable[[], sqlite3.Connection], connections: int, begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=connections, max_overflow=0)

    # The driver would begin by itself, and only before it writes: reads of one transaction could then differ.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.cursor().execute(begin)

    return engine


def _connect(path: Path, patience: float, mode: str = "rwc") -> sqlite3.Connection:
    return _prepared(_driver(path, mode, patience), partial(_prepare_writing, path))


def there_is(path: Path) -> bool:
    """Return whether there is a database. Raises StorageUnavailable when this account may not read it."""
    try:
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be read: {error.strerror}; use the account of the metaserver, or let this one read what is "
            f"in {path.parent}"
        ) from error
    return True


def _connect_reading(path: Path, older: bool) -> sqlite3.Connection:  # noqa: FBT001 - bound before it is called
    if not there_is(path):
        raise StorageUnavailable(
            f"there is no database at {path}: start bin/metaserver, which makes it, or says what has to be done first"
        )
    return _prepared(_driver(path, "ro", PATIENCE), partial(_prepare_reading, path, older))


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


def _prepare_reading(path: Path, older: bool, connection: sqlite3.Connection) -> None:  # noqa: FBT001
    connection.execute("PRAGMA query_only=ON")
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    if not connection.execute(tables).fetchone()[0]:
        raise StorageUnavailable(f"{path} has no tables yet: start bin/metaserver, which makes them")
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if revision != REVISION and not (older and _known(revision)):
        raise _other(path, revision)


def _driver(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    """Connect without the driver's own idea of transactions; a pool hands connections from thread to thread."""
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}",
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
    """Migrate an older database, or an empty one, to a revision."""
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
    config.set_main_option("script_location", "buildtool:adapters/sql/migrations")
    config.set_main_option("path_separator", "os")
    return config
