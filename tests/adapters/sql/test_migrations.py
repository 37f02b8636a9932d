"""Migrations lead to the tables that the program uses; other programs' and newer databases are left alone."""

import json
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.schema import REVISION, metadata
from buildtool.adapters.sql.sqlite import SqliteDatabase, connect_writing, engine_of
from buildtool.adapters.sql.upgrade import migrate, upgrade
from buildtool.errors import ConflictingRow, NewerDatabase, StorageUnavailable
from tests.support.databases import database_of
from tests.support.inline import run

NOTHING = {"offers": [], "machine": [], "skills": [], "max_builds": 2, "host_info": "", "admin": "", "software": ""}


SERVER = f"INSERT INTO servers VALUES ('anna', 3, '{json.dumps(NOTHING)}', 1, 5.0, 6.0, 1, 2, 7.0, 'broke 3 builds')"  # noqa: S608 - ours


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was made and closed."""
    made = tmp_path / "buildtool.sqlite"
    run(run(SqliteDatabase.open(made, Inline())).close())
    return made


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    """A database that went through all revisions."""
    went = tmp_path / "migrated.sqlite"
    raw(went, migrate)
    return went


def raw(path: Path, function: Callable[[Connection], None]) -> None:
    """Do something in one transaction of a database that the program has not looked at."""
    database = SqliteDatabase(path, engine_of(partial(connect_writing, path, 0.0), 1, "BEGIN IMMEDIATE"), Inline())
    run(database.run(function))
    run(database.close())


def statements(path: Path) -> dict[str, str]:
    """What the database itself says of its tables and indexes; layout and the order of constraints aside."""
    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
        " AND name <> 'alembic_version'"
    ).fetchall()
    connection.close()
    return {name: _without_layout(sql) for name, sql in found}


def _without_layout(sql: str) -> str:
    plain = re.sub(r"\s+", " ", sql).replace("( ", "(").replace(" )", ")").replace('"', "")
    plain = re.sub(r"DEFAULT \(('[^']*')\)", r"DEFAULT \1", plain)
    columns, *constraints = plain.removesuffix(")").split(", CONSTRAINT ")
    return ", CONSTRAINT ".join([columns, *sorted(constraints)])


def stamp(path: Path, revision: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


def test_alembic_finds_no_difference_between_migrations_and_tables(migrated: Path) -> None:
    database = run(SqliteDatabase.open(migrated, Inline()))
    assert run(database.run(differences)) == []
    run(database.close())


@pytest.mark.xdist_group("postgresql")
def test_the_same_migrations_lead_there_on_postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with database_of("postgresql", request, tmp_path) as (opened, not_upgraded):
        older = not_upgraded()
        run(older.run(partial(migrate, revision="0001")))
        run(older.run(lambda connection: connection.exec_driver_sql(SERVER.replace("1, 5.0", "true, 5.0"))))
        run(older.close())
        database = opened()
        assert run(database.run(differences)) == []
        assert [server.name for server in run(SqlBrokerStore(database).load()).servers] == ["anna"]
        run(database.close())


def test_migrated_and_new_tables_are_the_same_to_the_letter(migrated: Path, path: Path) -> None:
    """Also what Alembic does not compare: conditions of indexes, names of constraints, order of columns."""
    made = statements(migrated)
    assert len(made) > 20
    assert made == statements(path)


def test_what_was_in_the_first_tables_is_still_there_after_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "buildtool.sqlite"

    def fill(connection: Connection) -> None:
        migrate(connection, "0001")
        connection.exec_driver_sql(SERVER)

    raw(path, fill)
    database = run(SqliteDatabase.open(path, Inline()))
    (server,) = run(SqlBrokerStore(database).load()).servers
    run(database.close())
    assert (server.name, server.session, server.quarantine_reason) == ("anna", 3, "broke 3 builds")
    assert (server.missing_since, server.missing_told, server.paused, server.draining) == (0.0, False, "", False)


def test_what_was_made_before_sources_were_trusted_is_unless_it_was_asked_for_by_the_ref_of_a_pull_request(
    tmp_path: Path,
) -> None:
    """And what is open of such keeps a key that nobody finds who asks for the same commit of a branch."""
    path = tmp_path / "buildtool.sqlite"
    refs = {1: "main", 2: "refs/pull/7/head", 3: "refs/heads/main", 4: "refs/merge-requests/7/head"}

    def fill(connection: Connection) -> None:
        migrate(connection, "0022")
        for number, ref in refs.items():
            for table in REFERRING:
                statement, values = row_of_ones(connection, table)
                connection.exec_driver_sql(statement, tuple(number if one in (1, "") else one for one in values))
            connection.exec_driver_sql("UPDATE requests SET ref = ? WHERE id = ?", (ref, number))
            connection.exec_driver_sql("UPDATE builds SET key = ? WHERE id = ?", (f"key {number}", number))
        connection.exec_driver_sql("UPDATE builds SET state = 'queued' WHERE id = 4")

    raw(path, fill)
    database = run(SqliteDatabase.open(path, Inline()))

    def looked(connection: Connection) -> list[dict[int, str]]:
        asked = (
            ("builds", "id", "demanded_trust"),
            ("artifacts", "build_id", "trust"),
            ("requests", "id", "demanded_trust"),
        )
        told = [*asked, ("attempts", "build_id", "trust"), ("builds", "id", "key")]
        return [dict(connection.exec_driver_sql(f"SELECT {of}, {it} FROM {table}").all()) for table, of, it in told]  # noqa: S608 - ours

    *trusts, keys = run(database.run(looked))
    run(database.close())
    assert all(one == {1: "trusted", 2: "untrusted", 3: "trusted", 4: "untrusted"} for one in trusts)
    assert keys == {1: "key 1", 2: "key 2", 3: "key 3", 4: "untrusted key 4"}


REFERRING = ("builds", "artifacts", "requests", "attempts")
"""The tables whose rows name each other."""


def test_rows_that_others_name_are_still_there_after_the_upgrade_of_any_revision(tmp_path: Path) -> None:
    """A table is changed by copying it and dropping the old one, which rows of other tables must not prevent."""
    for revision in ("0001", "0014"):
        path = tmp_path / f"{revision}.sqlite"

        def fill(connection: Connection, revision: str = revision) -> None:
            migrate(connection, revision)
            for table in REFERRING:
                connection.exec_driver_sql(*row_of_ones(connection, table))

        raw(path, fill)
        database = run(SqliteDatabase.open(path, Inline()))

        def looked(connection: Connection) -> list[int]:
            counts = (f"SELECT count(*) FROM {table}" for table in REFERRING)  # noqa: S608 - ours
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            return [*(connection.exec_driver_sql(count).scalar_one() for count in counts), len(broken)]

        assert run(database.run(looked)) == [1, 1, 1, 1, 0]
        with pytest.raises(ConflictingRow, match="FOREIGN KEY"):
            run(database.run(lambda connection: connection.exec_driver_sql("UPDATE requests SET build_id = 9")))
        run(database.close())


def row_of_ones(connection: Connection, table: str) -> tuple[str, tuple[object, ...]]:
    """Return what inserts a row whose numbers are all 1, and whose texts are what such a column may hold."""
    columns = connection.exec_driver_sql(f"PRAGMA table_info({table})").all()
    lists = {"options", "platform", "machine", "broken_on", "failed_on", "failed_platform", "acceptable"}
    states = {"builds": "succeeded", "requests": "satisfied", "attempts": "ended"}
    values = [
        1 if "INT" in column.type or column.type in {"FLOAT", "BOOLEAN"}
        else "[]" if column.name in lists
        else states.get(table, "") if column.name == "state"
        else ""
        for column in columns
    ]  # fmt: skip
    names = ", ".join(f'"{column.name}"' for column in columns)
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values)  # noqa: S608 - ours


def test_the_revision_that_the_program_knows_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "buildtool:adapters/sql/migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("recursive_version_locations", "true")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_opening_again_changes_nothing(path: Path) -> None:
    before = statements(path)
    run(run(SqliteDatabase.open(path, Inline())).close())
    assert statements(path) == before


def test_a_newer_database_is_refused_by_name_and_not_touched(path: Path) -> None:
    stamp(path, "0999")
    before = path.read_bytes()
    said = rf"^{re.escape(str(path))} has revision 0999, written by a newer version .* up to {REVISION}: update"
    with pytest.raises(NewerDatabase, match=said):
        run(SqliteDatabase.open(path, Inline()))
    with pytest.raises(NewerDatabase, match=said):
        run(SqliteDatabase.reading(path, Inline()).run(lambda c: c.exec_driver_sql("SELECT 1").scalar()))
    assert path.read_bytes() == before


def test_the_database_of_another_program_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "mine.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(StorageUnavailable, match="is the database of another program: it has a table recipes"):
        run(SqliteDatabase.open(path, Inline()))
    assert list(statements(path)) == ["recipes"]


def test_an_upgrade_that_is_broken_off_leaves_nothing_half_made(tmp_path: Path) -> None:
    """All revisions run in one transaction, with the note of which was reached."""
    path = tmp_path / "buildtool.sqlite"
    database = SqliteDatabase(path, engine_of(partial(connect_writing, path, 0.0), 1, "BEGIN IMMEDIATE"), Inline())

    def broken_off(connection: Connection) -> None:
        upgrade(str(path), connection)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(database.run(broken_off))
    run(database.close())
    assert statements(path) == {}
    run(run(SqliteDatabase.open(path, Inline())).close())
    assert "requests" in statements(path)
