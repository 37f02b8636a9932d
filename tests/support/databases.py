"""The kinds of database that the stores have to work on alike, each opened as often as a test asks.

SQLite is what the metaserver has. PostgreSQL is a real server, started once a session in a directory of its own: it
proves that the stores know nothing of SQLite.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Connection, create_engine, delete, exc, text
from sqlalchemy.pool import NullPool, QueuePool

from buildtool.adapters.processes.environment import die_with_parent
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.schema import metadata
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.sql.upgrade import upgrade
from tests.support.inline import run
from tests.support.packages import require_that

Opened = Callable[[], Database]
"""Opens one and the same database, which is made when it is not there; whoever opens it closes it."""

KINDS = (
    pytest.param("sqlite"),
    # All in one process, so that there is one server.
    pytest.param("postgresql", marks=(pytest.mark.xdist_group("postgresql"), pytest.mark.world)),
)

_PATIENCE = 20.0
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "listen_addresses": ""}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Path]:
    """The directory with the socket of a PostgreSQL server that runs until the tests end."""
    there = find_spec("psycopg") is not None
    require_that(present=there, what="psycopg is not installed", remedy="make dev")
    programs = _programs()
    require_that(present=programs is not None, what="PostgreSQL is not installed", remedy="apt-get install postgresql")
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name, _serving(programs, Path(name)):
        yield Path(name)


def _programs() -> Path | None:
    """Return where initdb and postgres are: Debian has them in no path."""
    there = [Path(found).resolve().parent] if (found := shutil.which("postgres")) else []
    there += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in there if (one / "initdb").exists()), None)


@contextmanager
def _serving(programs: Path, directory: Path) -> Iterator[None]:
    data = directory / "data"
    as_account: dict[str, Any] = {}
    if os.geteuid() == 0:  # neither of the two runs as root
        nobody = pwd.getpwnam("nobody")
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        as_account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
    make = ("--no-sync", "--auth=trust", "--username=tests", "--encoding=UTF8", "--locale=C", f"--pgdata={data}")
    subprocess.run([programs / "initdb", *make], check=True, capture_output=True, cwd=directory, **as_account)
    words = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    log = (directory / "log").open("w")
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", directory, *words],
        cwd=directory,
        stdout=log,
        stderr=log,
        preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - tests that are killed leave no server
        **as_account,
    )
    try:
        _await(server, directory)
        yield
    finally:
        server.send_signal(signal.SIGQUIT)  # at once, whoever is connected
        server.wait(_PATIENCE)
        log.close()


def _await(server: subprocess.Popen[bytes], directory: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            _administer(directory, "SELECT 1")
        except exc.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError((directory / "log").read_text()) from None
            time.sleep(0.02)
        else:
            return


def _url(server: Path, database: str) -> URL:
    return URL.create("postgresql+psycopg", "tests", database=database, query={"host": str(server)})


def _administer(server: Path, statement: str) -> None:
    engine = create_engine(_url(server, "postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))


@contextmanager
def database_of(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[tuple[Opened, Opened]]:
    """Yield what opens a new database of a kind for writing, and what opens it for reading.

    One of SQLite is the file ``buildtool.sqlite`` in ``directory``.
    """
    if kind == "sqlite":
        path = directory / "buildtool.sqlite"
        yield lambda: run(SqliteDatabase.open(path, Inline())), lambda: SqliteDatabase.reading(path, Inline())
        return
    server: Path = request.getfixturevalue("postgresql")
    name = "".join(char if char.isalnum() else "_" for char in directory.name.lower())
    _administer(server, f'CREATE DATABASE "{name}"')
    yield partial(_opened, _url(server, name)), partial(_reading, _url(server, name))
    _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _opened(url: URL) -> Database:
    database = _reading(url)
    run(database.run(partial(upgrade, database.name)))
    return database


def _reading(url: URL) -> Database:
    engine = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, isolation_level="REPEATABLE READ")
    return Database(str(url.database), engine, Inline())


def emptied(database: Database) -> None:
    """Delete all rows of a database."""

    def clear(connection: Connection) -> None:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))

    run(database.run(clear))
