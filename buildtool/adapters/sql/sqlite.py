"""A database in one file: all that only SQLite has is here.

The metaserver's connection is the only one that writes: one thread, WAL, synchronous FULL, so that what a commit
returned from survives a loss of power. Anybody else reads (``SqliteDatabase.reading``), and may do so at the same time.

Tested by tests/adapters/sql/test_database.py.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.schema import REVISION
from buildtool.adapters.sql.upgrade import is_known, newer, upgrade
from buildtool.errors import StorageUnavailable
from buildtool.ports.common import Executor

PATIENCE = 5.0
"""Seconds that a statement waits for a lock that somebody else holds (a backup, an operator's sqlite3)."""

_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class SqliteDatabase(Database):
    """One database file. Made by ``open`` (the metaserver) or ``reading`` (all others)."""

    def __init__(self, path: Path, engine: Engine, executor: Executor) -> None:
        super().__init__(str(path), engine, executor)
        self.path = path
        self._paths = str(path), f"{path}-wal"
        self._file: os.stat_result | None = None

    @classmethod
    async def open(cls, path: Path, executor: Executor, patience: float = PATIENCE) -> Self:
        """Open for writing: make the file if there is none, upgrade it if it is older.

        ``executor`` should have one thread; ``patience`` is how many seconds another process's lock is waited for.
        Raises NewerDatabase for one that a newer version of this program wrote, StorageUnavailable for one that cannot
        be opened, or that is something else.
        """
        made = False

        def connect() -> sqlite3.Connection:
            # One that was opened and is gone is not made anew: nobody would miss what was in it.
            return connect_writing(path, patience, "rw" if made else "rwc", references=made)

        database = cls(path, engine_of(connect, 1, "BEGIN IMMEDIATE"), executor)
        try:
            await database.run(partial(upgrade, database.name))
            await executor.run(database._keep_references)
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
        return cls(path, engine_of(partial(_connect_reading, path, older), connections, "BEGIN"), executor)

    def _keep_references(self) -> None:
        """Have this thread's connection refuse rows that name others which are not there.

        Until then it must not: an upgrade copies tables and drops them, and rows of others name theirs. That cannot be
        switched within a transaction.
        """
        driver: Any = self._connection().connection.dbapi_connection
        driver.execute("PRAGMA foreign_keys=ON")

    def _take_note(self) -> None:
        self._file = os.stat(self._paths[0])  # noqa: PTH116 - Path.stat costs twice as much

    def _where_it_is(self) -> str:
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

    def _damage(self, problem: BaseException | None) -> str:
        problem = getattr(problem, "orig", problem)
        code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # the rest of the bits tell details
        return str(problem) if code in _DAMAGE else ""


def there_is(path: Path) -> bool:
    """Return whether there is a database. Raises StorageUnavailable when this account may not read it.

    It is not opened: a process that closes a file gives up all locks that it has on it, SQLite's too, upon which
    the next process that looks into the database takes its log away (POSIX; sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        path.stat()
        if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be read: {error.strerror}; use the account of the metaserver, or let this one read what is "
            f"in {path.parent}"
        ) from error
    return True


def driver(path: Path, mode: str = "ro", patience: float = PATIENCE) -> sqlite3.Connection:
    """Connect without the driver's own transactions, for any thread; ``patience`` in seconds. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
    )


def copy_database(source: Path, target: Path) -> None:
    """Copy one moment of a database while it may be written, delaying no writer, to a file that is its owner's alone.

    Raises sqlite3.Error, OSError, also where that file is there.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(driver(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def older_revision(path: Path, patience: float = PATIENCE) -> str:
    """Return which revision a database has that ``open`` would upgrade, or "" for any other.

    A lock is waited for ``patience`` seconds. Raises StorageUnavailable where it is not known: what is damaged, or no
    database of ours, is not upgraded.
    """
    if not there_is(path):
        return ""
    try:
        with closing(driver(path, "rw", patience)) as asked:
            row = asked.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_ERROR, *_DAMAGE):
            return ""
        raise StorageUnavailable(f"{path} cannot be used: {error}") from error
    return row[0] if row and row[0] != REVISION and is_known(row[0]) else ""


def engine_of(connect: Callable[[], sqlite3.Connection], connections: int, begin: str) -> Engine:
    """Return an engine whose transactions begin with the statement ``begin``."""
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=connections, max_overflow=0)

    # The driver would begin by itself, and only before it writes: reads of one transaction could then differ.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.cursor().execute(begin)

    return engine


def connect_writing(path: Path, patience: float, mode: str = "rwc", *, references: bool = True) -> sqlite3.Connection:
    """Connect to a file for writing, made if absent; ``patience`` is in seconds. Raises StorageUnavailable.

    With ``references``, rows that name others which are not there are refused.
    """
    made = _prepared(driver(path, mode, patience), partial(_prepare_writing, path))
    if references:
        made.execute("PRAGMA foreign_keys=ON")
    return made


def _connect_reading(path: Path, older: bool) -> sqlite3.Connection:  # noqa: FBT001 - bound before it is called
    if not there_is(path):
        raise StorageUnavailable(
            f"there is no database at {path}: start bin/metaserver, which makes it, or says what has to be done first"
        )
    return _prepared(driver(path, "ro", PATIENCE), partial(_prepare_reading, path, older))


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


def _prepare_reading(path: Path, older: bool, connection: sqlite3.Connection) -> None:  # noqa: FBT001
    connection.execute("PRAGMA query_only=ON")
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    if not connection.execute(tables).fetchone()[0]:
        raise StorageUnavailable(f"{path} has no tables yet: start bin/metaserver, which makes them")
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if revision == REVISION or (older and is_known(revision)):
        return
    if not is_known(revision):
        raise newer(str(path), revision)
    raise StorageUnavailable(f"{path} has the older revision {revision}: start bin/metaserver, which upgrades it")
