"""Whether the database itself is sound: its pages and indexes, its references, and values that can be read.

Tested by tests/adapters/maintenance/test_fsck.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Index, Row, Table, delete, select, update

from buildtool.adapters.maintenance.finding import Finding, Repair
from buildtool.adapters.sql import rows, schema
from buildtool.adapters.sql.search import line_table
from buildtool.adapters.sql.search.indexing import index_again, unindexed
from buildtool.adapters.storage.directory_lock import DATABASE

MESSAGES = 100
"""The most that SQLite is asked to tell of one damaged database."""

_STALE_INDEX = re.compile(r"row \d+ missing from index|wrong # of entries in index", re.IGNORECASE)

_READERS: tuple[tuple[Table, tuple[str, ...], Callable[[Row[Any]], object]], ...] = (
    (schema.servers, ("name",), rows.server_of),
    (schema.builds, ("id",), rows.build_of),
    (schema.artifacts, ("id",), rows.artifact_of),
    (schema.requests, ("id",), rows.request_of),
    (schema.attempts, ("build_id", "epoch"), rows.attempt_of),
    (schema.refusals, ("build_id", "server"), rows.refusal_of),
    (schema.failures, ("build_id",), rows.failure_of),
    (schema.outbox, ("key",), rows.mail_of),
)


def findable(connection: Connection) -> list[Finding]:
    """Return whether there are builds that the search does not find as what they are."""
    wrong = unindexed(connection)
    if not wrong:
        return []
    others = f" and {len(wrong) - 1} others" if len(wrong) > 1 else ""
    return [
        Finding(
            "build-unfindable",
            f"build {wrong[0]}{others}",
            "the index by which builds are found says otherwise than the table of builds",
            "lists leave it out, or have it in a wrong state",
            "--repair indexes it again",
            partial(_index_again, wrong),
        )
    ]


def _index_again(numbers: Sequence[int], connection: Connection) -> None:
    index_again(connection, numbers)


def told(connection: Connection) -> list[Finding]:
    """Return whether there are ended builds of which lists tell something else than the other tables, or nothing."""
    wrong = line_table.wrong_lines(connection)
    if not wrong:
        return []
    others = f" and {len(wrong) - 1} others" if len(wrong) > 1 else ""
    return [
        Finding(
            "line-wrong",
            f"build {wrong[0]}{others}",
            "the line that lists show of it is missing, or is not what the other tables say",
            "lists tell something wrong of it, or take longer",
            "--repair writes the line anew",
            line_table.mend,
        )
    ]


def integrity(connection: Connection) -> list[Finding]:
    """Return what SQLite itself says is wrong with the file."""
    told = connection.exec_driver_sql(f"PRAGMA integrity_check({MESSAGES})").scalars().all()
    return [_of_sqlite(str(message)) for message in told if message != "ok"]


def _of_sqlite(message: str) -> Finding:
    if _STALE_INDEX.search(message):
        return Finding(
            "index-stale",
            f"{DATABASE} ({message})",
            "an index does not have what its table has",
            "rows are overlooked",
            "--repair makes the indexes anew",
            _reindex,
        )
    return Finding(
        "database-damaged",
        f"{DATABASE} ({message})",
        "SQLite finds the file damaged",
        "rows may be lost or wrong",
        "restore a backup; what was asked for since then is asked for again",
    )


def _reindex(connection: Connection) -> None:
    connection.exec_driver_sql("REINDEX")


def table_names(connection: Connection) -> list[str]:
    """Return the tables that there are."""
    return list(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())


def tables(connection: Connection) -> list[Finding]:
    """Return the tables that are not there."""
    missing = schema.metadata.tables.keys() - set(table_names(connection))
    return [
        Finding(
            "table-missing",
            f"table {name}",
            "it is not in the database",
            "the metaserver cannot work",
            "restore a backup",
        )
        for name in sorted(missing)
    ]


def indexes(connection: Connection) -> list[Finding]:
    """Return the indexes that are not there; what they forbid could happen, what they serve is slow."""
    there = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").scalars())
    return [
        Finding(
            "index-missing",
            f"index {index.name} of table {table.name}",
            "it is not in the database",
            "two open builds of one kind are not refused" if index.unique else "the metaserver is slow",
            "--repair makes it",
            partial(_make, index),
        )
        for table in schema.metadata.sorted_tables
        for index in sorted(table.indexes, key=lambda index: str(index.name))
        if index.name not in there
    ]


def _make(index: Index, connection: Connection) -> None:
    index.create(connection)


def values(connection: Connection) -> list[Finding]:
    """Return the rows that this program cannot read."""
    found = []
    for table, key, value_of in _READERS:
        for row in connection.execute(select(table)):
            try:
                value_of(row)
            except Exception as error:  # noqa: BLE001 - whatever a damaged value does to its reader
                where = f"{table.name} {' '.join(str(row._mapping[name]) for name in key)}"  # noqa: SLF001 - public
                found.append(_unreadable(where, error))
    return found


def _unreadable(where: str, error: Exception) -> Finding:
    return Finding(
        "row-unreadable",
        where,
        f"a value cannot be read ({type(error).__name__}: {error})",
        "while it is open, the metaserver cannot start; its page cannot be shown",
        "restore a backup, or correct the value by hand with sqlite3",
    )


def references(connection: Connection) -> list[Finding]:
    """Return the rows that name a row which is not there; a Request that waits is ``fsck_lifecycle``'s."""
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    columns = {
        table.name: {
            key[0]: key[3] for key in connection.exec_driver_sql(f"PRAGMA foreign_key_list({table.name})").all()
        }
        for table in schema.metadata.sorted_tables
    }
    found = []
    for name, rowid, parent, number in broken:
        column = columns[name][number]
        finding = _dangling(connection, schema.metadata.tables[name], int(rowid), column, parent)
        if finding is not None:
            found.append(finding)
    return found


def _dangling(connection: Connection, table: Table, rowid: int, column: str, parent: str) -> Finding | None:
    row = connection.exec_driver_sql(f"SELECT * FROM {table.name} WHERE rowid = {rowid}").mappings().one()  # noqa: S608
    named = row[column]
    what = f"it names {parent.removesuffix('s')} {named}, which is not there"
    if table is schema.requests:
        if column == "build_id" and row["state"] == "waiting":
            return None
        means, mend, repair = _forgotten(table, int(row["id"]), column)
        return Finding("reference-broken", f"request {row['id']}", what, means, mend, repair)
    if table is schema.attempts:
        means = "it belongs to nothing"
        return Finding(
            "reference-broken",
            f"attempt {row['epoch']} of build {row['build_id']}",
            what,
            means,
            "--repair deletes its row",
            partial(_delete_attempt, int(row["build_id"]), int(row["epoch"])),
        )
    return Finding(
        "reference-broken",
        f"artifact {row['id']}",
        what,
        "nobody can tell how it was made",
        "--repair deletes its row: whoever asks for it has it built again",
        partial(_delete_artifact, int(row["id"])),
    )


def _forgotten(table: Table, key: int, column: str) -> tuple[str, str, Repair]:
    def forget(connection: Connection) -> None:
        connection.execute(update(table).where(table.c.id == key).values({column: None}))

    return "its page cannot be shown in full", "--repair lets it name none", forget


def _delete_attempt(build_id: int, epoch: int, connection: Connection) -> None:
    table = schema.attempts
    connection.execute(delete(table).where(table.c.build_id == build_id, table.c.epoch == epoch))


def _delete_artifact(artifact_id: int, connection: Connection) -> None:
    requests = schema.requests
    connection.execute(update(requests).where(requests.c.artifact_id == artifact_id).values(artifact_id=None))
    connection.execute(delete(schema.artifacts).where(schema.artifacts.c.id == artifact_id))
