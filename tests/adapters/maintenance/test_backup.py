"""What a start keeps of a database before it upgrades it; whole backups are in tests/programs/metaserver."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from buildtool.adapters.maintenance.backup import Backup, keep_before_upgrade
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.sqlite import SqliteDatabase, older_revision
from buildtool.adapters.sql.upgrade import migrate
from buildtool.errors import StorageUnavailable
from tests.adapters.maintenance import states
from tests.adapters.sql.test_migrations import SERVER, raw, stamp
from tests.support.inline import run

DATABASE = "buildtool.sqlite"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A state directory of the first revision, with a row in it."""
    raw(tmp_path / DATABASE, lambda connection: migrate(connection, "0001"))
    raw(tmp_path / DATABASE, lambda connection: connection.exec_driver_sql(SERVER).close())
    return tmp_path


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_an_older_database_is_kept_exactly_and_an_earlier_copy_of_that_revision_is_replaced(older: Path) -> None:
    for _ in range(2):
        before = rows(older / DATABASE)
        kept = keep_before_upgrade(older)
        assert kept == older / "buildtool-0001.sqlite"
        assert rows(kept) == before == rows(older / DATABASE)
        assert kept.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(older / DATABASE)) as connection, connection:
            connection.execute("UPDATE servers SET session = session + 1")
    assert not list(older.glob(".*.partial"))


@pytest.mark.parametrize("what", ["none", "empty", "damaged", "of another program", "of today", "newer"])
def test_nothing_is_kept_of_a_database_that_is_not_upgraded(tmp_path: Path, what: str) -> None:
    path = tmp_path / DATABASE
    if what == "empty":
        path.touch()
    elif what == "damaged":
        path.write_bytes(b"no database " * 1_000)
    elif what == "of another program":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE recipes (name TEXT)")
    elif what != "none":
        run(run(SqliteDatabase.open(path, Inline())).close())
        if what == "newer":
            stamp(path, "0999")
    assert keep_before_upgrade(tmp_path) is None
    assert not list(tmp_path.glob("*-*.sqlite"))


def test_one_that_cannot_be_read_for_now_is_not_taken_for_one_that_needs_no_copy(older: Path) -> None:
    with closing(sqlite3.connect(older / DATABASE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match=r"buildtool\.sqlite cannot be used: database is locked"):
            older_revision(older / DATABASE, patience=0.0)
    assert older_revision(older / DATABASE, patience=0.0) == "0001"


def test_where_no_copy_can_be_kept_it_is_said_and_the_database_is_as_it_was(older: Path) -> None:
    (older / "buildtool-0001.sqlite").mkdir()
    before = rows(older / DATABASE)
    with pytest.raises(StorageUnavailable, match=r"cannot keep a copy of .*buildtool\.sqlite before it is upgraded: "):
        keep_before_upgrade(older)
    assert rows(older / DATABASE) == before
    assert not list(older.glob(".*")), "half a copy takes room that there may be none of"


def test_a_disk_that_is_full_is_named_as_that_of_the_backup_and_nothing_is_left_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_source: Path, target: Path) -> None:
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA max_page_count = 1")
            connection.execute("CREATE TABLE more (x)")

    for name in ("state", "backups"):
        (tmp_path / name).mkdir()
    states.make(tmp_path / "state")
    monkeypatch.setattr("buildtool.adapters.maintenance.backup.copy_database", full)
    with pytest.raises(StorageUnavailable, match=r"cannot write the backup .*/one: the disk is full; try again"):
        run(Backup(tmp_path / "state", tmp_path / "backups/one").run())
    assert list((tmp_path / "backups").iterdir()) == []
