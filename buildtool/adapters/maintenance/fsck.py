"""``fsck``: everything in the state directory is looked at, and what is wrong is explained in one line each.

Two kinds of looking: at the database (``fsck_database`` for its own soundness, ``fsck_lifecycle`` for what rows say of
each other) and at the files (``fsck_files``). Mending runs in transactions of its own and never throws away a byte that
anybody may want: damaged files are moved to ``quarantine/``, Requests whose Build is gone wait in the queue again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import evolve, field, frozen
from sqlalchemy import Connection, func, insert, select

from buildtool.adapters.maintenance import fsck_database, fsck_lifecycle
from buildtool.adapters.maintenance.finding import Finding
from buildtool.adapters.maintenance.fsck_files import Progress, StateFiles, silent
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql import schema
from buildtool.adapters.sql.search import line_table
from buildtool.adapters.sql.search.tables import build_lines, build_terms, terms
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.sql.work.tables import work, work_requesters
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.errors import ConflictingRow, StorageUnavailable
from buildtool.model.text import one_line

T = TypeVar("T")

HOPELESS = frozenset({"database-unreadable", "database-damaged", "table-missing"})
"""Where rows are not to be believed, so nothing else is looked at or mended."""

PASSES = 5
"""How often the rows are looked at while mending: what one mend brings to light, the next pass mends."""


@frozen
class FsckReport:
    """The findings, and how much was read: rows, artifacts and their bytes, logs."""

    findings: tuple[Finding, ...]
    rows: int = 0
    artifacts: int = 0
    artifact_bytes: int = 0
    logs: int = 0

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong that was not mended."""
        return not all(finding.mended for finding in self.findings)


@frozen
class Fsck:
    """A check of ``directory``, which no other process may use, in the caller's thread. ``now`` is wall time."""

    directory: Path
    now: float
    progress: Progress = field(default=silent)

    async def run(self, *, repair: bool) -> FsckReport:
        """Check everything, and with ``repair`` mend what can be mended safely.

        Raises StorageUnavailable when there is no database, or an older one, or it cannot be written for mending;
        NewerDatabase for one of a newer version.
        """
        path = self.directory / DATABASE
        try:
            found, rows = await self._on(SqliteDatabase.reading(path, Inline()), partial(_row_findings, self.now))
        except StorageUnavailable as error:
            if not _is_damage(error, path):
                raise
            found, rows = [_unreadable(error)], 0
        if any(finding.check in HOPELESS for finding in found):
            return FsckReport((*found, *StateFiles(self.directory).key()))
        if repair and found:
            found = await self._mend_rows(path, found)
        files = StateFiles(self.directory, self.progress)
        of_files = await files.findings(await self._on(SqliteDatabase.reading(path, Inline()), files.expected))
        if repair and of_files:
            of_files = await self._mend_files(path, of_files)
        seen = files.seen
        return FsckReport((*found, *of_files), rows, seen.artifacts, seen.artifact_bytes, seen.logs)

    async def _mend_rows(self, path: Path, found: list[Finding]) -> list[Finding]:
        """Mend what is wrong in rows until nothing more comes to light."""
        database = await SqliteDatabase.open(path, Inline())
        told = {finding.key: finding for finding in found}
        try:
            for _ in range(PASSES):
                if not any(finding.repair for finding in found):
                    break
                for finding in found:
                    await self._mended(database, finding)
                await database.run(line_table.mend)  # lists tell of what was mended, too
                found, _ = await database.run(partial(_row_findings, self.now))
                told |= {finding.key: finding for finding in found if finding.key not in told}
        finally:
            await database.close()
        left = {finding.key for finding in found}
        return [evolve(finding, mended=key not in left) for key, finding in told.items()]

    async def _mend_files(self, path: Path, found: list[Finding]) -> list[Finding]:
        database = await SqliteDatabase.open(path, Inline())
        try:
            mended = [evolve(finding, mended=await self._mended(database, finding)) for finding in found]
            await database.run(line_table.mend)
            return mended
        finally:
            await database.close()

    async def _mended(self, database: SqliteDatabase, finding: Finding) -> bool:
        """Mend a finding in a transaction of its own; return whether that could be done."""
        if finding.repair is None:
            return False
        try:
            await database.run(partial(_repaired, finding, finding.repair, self.now))
        except (ConflictingRow, OSError):
            return False  # another finding stands in its way, or the disk: it stays told
        return True

    @staticmethod
    async def _on(database: SqliteDatabase, function: Callable[[Connection], T]) -> T:
        try:
            return await database.run(function)
        finally:
            await database.close()


def _row_findings(now: float, connection: Connection) -> tuple[list[Finding], int]:
    """Return what is wrong in the database, and how many rows it has; 0 when it is not worth looking at them."""
    found = fsck_database.integrity(connection)
    if not any(finding.check in HOPELESS for finding in found):
        found += fsck_database.tables(connection)
    if any(finding.check in HOPELESS for finding in found):
        return found, 0
    found += fsck_database.values(connection)
    found += fsck_lifecycle.findings(connection, now)
    found += fsck_database.references(connection)
    found += fsck_database.findable(connection)
    found += fsck_database.told(connection)
    # Last: a unique index can be made when what contradicts it is mended.
    found += fsck_database.indexes(connection)
    return found, _rows(connection)


def _rows(connection: Connection) -> int:
    indexes = {terms, build_terms, build_lines, work, work_requesters}  # which only say again what other rows say
    tables = [table for table in schema.metadata.sorted_tables if table not in indexes]
    counted = (select(func.count()).select_from(table) for table in tables)
    return sum(connection.execute(count).scalar_one() for count in counted)


def _repaired(finding: Finding, repair: Callable[[Connection], None], now: float, connection: Connection) -> None:
    repair(connection)
    connection.execute(
        insert(schema.events).values(
            at=now, kind=f"fsck-{finding.check}", subject=one_line(finding.where), detail=finding.mend
        )
    )


def _unreadable(error: StorageUnavailable) -> Finding:
    return Finding(
        "database-unreadable",
        DATABASE,
        str(error),
        "the metaserver cannot start",
        "restore a backup (bin/metaserver backup makes them); nothing else was looked at",
    )


def _is_damage(error: StorageUnavailable, path: Path) -> bool:
    """Return whether the file is empty or SQLite calls it damaged, rather than locked, missing or unreadable."""
    cause = error.__cause__
    emptied = path.exists() and not path.stat().st_size
    return emptied or type(getattr(cause, "orig", cause)) is sqlite3.DatabaseError
