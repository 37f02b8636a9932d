"""The database keeps what was committed, says in one line why it cannot, and runs away from the reactor."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import ProgrammingError
from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from buildtool.adapters.runtime.threads import Inline, Threads
from buildtool.adapters.sql.schema import events
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.errors import ConflictingRow, StorageUnavailable
from tests.support.inline import run
from tests.support.packages import require_that


def note(connection: Connection, subject: str, detail: str = "") -> None:
    connection.execute(insert(events).values(at=1.0, kind="test", subject=subject, detail=detail))


def noted(connection: Connection) -> list[str]:
    return list(connection.execute(select(events.c.subject).order_by(events.c.seq)).scalars())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buildtool.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    opened = run(SqliteDatabase.open(path, Inline(), patience=0.0))
    yield opened
    run(opened.close())


def test_a_commit_survives_a_loss_of_power(database: SqliteDatabase) -> None:
    """Write-ahead log, and every commit synced; foreign keys are checked."""
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    found = {
        name: run(database.run(lambda c, name=name: c.exec_driver_sql(f"PRAGMA {name}").scalar()))  # type: ignore[misc]
        for name in pragmas
    }
    assert found == pragmas


@pytest.mark.world
def test_an_operator_may_look_into_a_database_that_is_written_and_read_here(
    path: Path, database: SqliteDatabase
) -> None:
    """A process that opens and closes a file loses all of its locks on it; whoever comes last removes the log then."""
    run(database.run(lambda c: note(c, "before")))
    reading = SqliteDatabase.reading(path, Inline())
    assert run(reading.run(noted)) == ["before"]
    look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(*c.execute('SELECT subject FROM events'))"
    command = [sys.executable, "-c", f"{look}; c.close()", str(path)]
    for _ in range(2):
        seen = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        assert seen.stdout.startswith("('before',)")
        assert path.with_name(f"{path.name}-wal").exists()
        run(database.run(lambda c: note(c, "after")))
    assert run(reading.run(noted)) == ["before", "after", "after"]
    run(reading.close())


def test_what_a_function_wrote_is_there_after_a_restart(path: Path, database: SqliteDatabase) -> None:
    run(database.run(lambda c: note(c, "kept")))
    run(database.close())
    again = run(SqliteDatabase.open(path, Inline()))
    assert run(again.run(noted)) == ["kept"]
    run(again.close())


@pytest.mark.parametrize("name", [b"\xfc", "ü €".encode(), b"a?mode=ro", b"#x", b"%41"])
def test_it_lies_in_a_directory_of_any_name(tmp_path: Path, name: bytes) -> None:
    place = tmp_path / os.fsdecode(name)
    place.mkdir()
    made = run(SqliteDatabase.open(place / "buildtool.sqlite", Inline()))
    run(made.run(lambda c: note(c, "kept")))
    run(made.close())
    reader = SqliteDatabase.reading(place / "buildtool.sqlite", Inline())
    assert run(reader.run(noted)) == ["kept"]
    run(reader.close())


def test_a_function_that_raises_leaves_nothing_behind(database: SqliteDatabase) -> None:
    def half(connection: Connection) -> None:
        note(connection, "half")
        raise LookupError("in the middle")

    with pytest.raises(LookupError, match="in the middle"):
        run(database.run(half))
    assert run(database.run(noted)) == []


def test_one_function_sees_one_state_however_often_it_reads(path: Path, database: SqliteDatabase) -> None:
    """A reader's transaction does not see what the writer commits meanwhile; its next one does."""
    reader = SqliteDatabase.reading(path, Inline())

    def twice(connection: Connection) -> list[list[str]]:
        before = noted(connection)
        run(database.run(lambda c: note(c, "meanwhile")))
        return [before, noted(connection)]

    assert run(reader.run(twice)) == [[], []]
    assert run(reader.run(noted)) == ["meanwhile"]
    run(reader.close())


def test_a_database_that_somebody_else_locks_is_unavailable_until_they_are_done(
    path: Path, database: SqliteDatabase
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match=r"buildtool\.sqlite cannot be used: database is locked$"):
        run(database.run(lambda c: note(c, "refused")))
    other.execute("ROLLBACK")
    other.close()
    run(database.run(lambda c: note(c, "accepted")))
    assert run(database.run(noted)) == ["accepted"]


def test_a_value_that_no_column_holds_is_a_conflicting_row(database: SqliteDatabase) -> None:
    for subject, at in (("\ud800", 1.0), ("nan", float("nan"))):
        with pytest.raises(ConflictingRow, match="refuses a row"):
            run(
                database.run(
                    lambda c, subject=subject, at=at: c.execute(  # type: ignore[misc]
                        insert(events).values(at=at, kind="test", subject=subject, detail="")
                    )
                )
            )
    with pytest.raises(ConflictingRow, match="refuses a row"):
        run(database.run(lambda c: c.execute(select(events).where(events.c.seq == 2**63))))


def test_a_wrong_statement_is_a_defect_and_not_called_a_storage_problem(database: SqliteDatabase) -> None:
    with pytest.raises(ProgrammingError):
        run(database.run(lambda c: c.exec_driver_sql("SELECT ?", (1, 2))))


def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"missing/db\.sqlite cannot be used: unable to open[^;]*\Z"):
        run(SqliteDatabase.open(tmp_path / "missing" / "db.sqlite", Inline()))


def test_a_file_that_is_no_database_is_named_with_what_to_do(path: Path) -> None:
    path.write_text("this is no database, whatever its name says\n" * 100)
    words = "cannot be used: file is not a database; restore a backup, unless bin/metaserver fsck --repair mends it"
    with pytest.raises(StorageUnavailable, match=words):
        run(SqliteDatabase.open(path, Inline()))
    with pytest.raises(StorageUnavailable, match=words):
        run(SqliteDatabase.reading(path, Inline()).run(noted))


def test_a_path_with_signs_that_mean_something_in_an_address_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=ro#100%.sqlite"
    opened = run(SqliteDatabase.open(path, Inline()))
    run(opened.run(lambda c: note(c, "here")))
    run(opened.close())
    assert path.exists()


def test_a_reader_waits_for_the_metaserver_to_make_the_database(path: Path) -> None:
    reader = SqliteDatabase.reading(path, Inline())
    with pytest.raises(StorageUnavailable, match=r"no database at .*buildtool\.sqlite: start bin/metaserver.*or says"):
        run(reader.run(noted))
    assert not path.exists()
    sqlite3.connect(path).execute("VACUUM").connection.close()
    with pytest.raises(StorageUnavailable, match="has no tables yet: start bin/metaserver"):
        run(reader.run(noted))
    run(run(SqliteDatabase.open(path, Inline())).close())
    assert run(reader.run(noted)) == []
    run(reader.close())


def test_a_reader_cannot_write(path: Path, database: SqliteDatabase) -> None:
    reader = SqliteDatabase.reading(path, Inline())
    with pytest.raises(StorageUnavailable, match="readonly database"):
        run(reader.run(lambda c: note(c, "never")))
    run(reader.close())
    assert run(database.run(noted)) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    require_that(present=mounted, what="a small tmpfs cannot be mounted", remedy="run the tests as root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_nothing_of_a_commit_and_everything_from_before(small_disk: Path) -> None:
    """When there is room again the same database goes on, without being opened anew."""
    database = run(SqliteDatabase.open(small_disk / "buildtool.sqlite", Inline()))
    run(database.run(lambda c: note(c, "before")))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        size = os.statvfs(small_disk)
        file.write(b"x" * size.f_bavail * size.f_frsize)
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match=r"buildtool\.sqlite cannot be used: database or disk is full$"):
            run(database.run(lambda c: note(c, "lost", "x" * 500_000)))
        assert run(database.run(noted)) == ["before"]
    filler.unlink()
    run(database.run(lambda c: note(c, "after", "x" * 500_000)))
    assert run(database.run(noted)) == ["before", "after"]
    run(database.close())


class InThreads(TestCase):
    """With threads: off the reactor, in order, and several readers at a time."""

    timeout = 20

    def threads(self, size: int) -> Threads:
        from twisted.internet import reactor

        pool = Threads(reactor, size, "test")  # type: ignore[arg-type] # the reactor's type is that of its module
        self.addCleanup(pool.stop)
        return pool

    async def test_transactions_run_off_the_reactor_in_the_order_they_came(self) -> None:
        """All are asked for at once; the one thread takes them one after the other."""
        database = await SqliteDatabase.open(Path(self.mktemp()), self.threads(1))

        def write(number: int, connection: Connection) -> int:
            note(connection, str(number))
            return threading.get_ident()

        asked = [
            Deferred.fromCoroutine(database.run(lambda c, n=number: write(n, c)))  # type: ignore[misc]
            for number in range(20)
        ]
        threads = {thread for _, thread in await DeferredList(asked)}
        assert len(threads) == 1
        assert threads != {threading.get_ident()}
        assert await database.run(noted) == [str(number) for number in range(20)]
        await database.close()

    async def test_readers_read_at_the_same_time(self) -> None:
        """Each of two transactions waits inside for the other to have begun."""
        path = Path(self.mktemp())
        pool = self.threads(2)
        writer = await SqliteDatabase.open(path, Inline())
        reader = SqliteDatabase.reading(path, pool, connections=2)
        both = threading.Barrier(2, timeout=10)

        def meet(connection: Connection) -> list[str]:
            both.wait()
            return noted(connection)

        met = [Deferred.fromCoroutine(reader.run(meet)) for _ in range(2)]
        assert [result for _, result in await DeferredList(met)] == [[], []]
        await reader.close()
        await writer.close()

    async def test_what_a_transaction_raises_reaches_the_caller(self) -> None:
        database = await SqliteDatabase.open(Path(self.mktemp()), self.threads(1))
        with pytest.raises(ConflictingRow):
            await database.run(lambda c: note(c, "\ud800"))
        await database.close()
