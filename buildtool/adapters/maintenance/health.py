"""What keeps the metaserver from its work, or needs the operator: looked at twice a minute, told on ``/health``.

Tested by tests/programs/metaserver/test_faults.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import define, field, frozen
from sqlalchemy import Connection
from twisted.logger import Logger

from buildtool.adapters.network.open_files import crowded
from buildtool.adapters.sql.database import Database
from buildtool.adapters.storage import quarantine
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import StorageUnavailable
from buildtool.model.farm.backups import LastBackup
from buildtool.ports.common import Executor

log = Logger()

EVERY = 30.0
"""Seconds between two looks."""

TROUBLED_EVERY = 5.0
"""The same while something is wrong, so that its end is soon told."""

LOW = 256 * 1024 * 1024
"""Bytes of free disk below which the operator is told."""

Source = Callable[[], Iterable[str]]
"""Tells what is wrong with one part of the metaserver, one line each, at once and without waiting."""


@frozen
class HealthState:
    """The problems found: one line for each thing that is wrong, none when all is well; and the last backup."""

    problems: tuple[str, ...] = ()
    backup: LastBackup = field(factory=LastBackup)

    @property
    def ok(self) -> bool:
        """Whether there is nothing for the operator to do."""
        return not self.problems


@define(eq=False)
class HealthCheck:
    """The ``ports.Conditions`` of the metaserver: what ``sources`` say, and what is checked here of disk and database.

    ``needed`` tells which programs have to be in PATH, ``backup`` of the last backup, for which it may read files.
    ``round_`` is what a ``PeriodicTask`` does. What begins and what is over is logged.
    """

    directory: Path
    database: Database
    executor: Executor
    sources: Sequence[Source] = ()
    low: int = LOW
    needed: Callable[[], Iterable[str]] = tuple
    backup: Callable[[], LastBackup] = LastBackup
    looked: HealthState = field(factory=HealthState, init=False)
    _told: frozenset[str] = field(default=frozenset(), init=False)

    def problems(self) -> tuple[str, ...]:
        """Return each problem, as of now where that is known at once, as of the last check elsewhere."""
        lines = (*(line for source in self.sources for line in source()), *self.looked.problems)
        # What one source says with its consequence, another says without.
        return tuple(
            line
            for line in dict.fromkeys(lines)
            if not any(other != line and other.startswith(line) for other in lines)
        )

    def last_backup(self) -> LastBackup:
        """Return what is known of the last good backup, as of the last check."""
        return self.looked.backup

    async def round_(self, _task: PeriodicTask) -> float:
        """Check everything; return the seconds until the next check."""
        wrong = await self._database()
        disk, backup = await self._disk()
        self.looked = HealthState((*wrong, *disk), backup)
        self._tell(frozenset(self.problems()))
        return EVERY if not self._told else TROUBLED_EVERY

    def _tell(self, now: frozenset[str]) -> None:
        for line in sorted(now - self._told):
            log.error("trouble: {line}", line=line)
        for line in sorted(self._told - now):
            log.info("over: {line}", line=line)
        self._told = now

    async def _database(self) -> list[str]:
        try:
            await self.database.run(_write)
        except StorageUnavailable as error:
            return [str(error)]
        return []

    async def _disk(self) -> tuple[list[str], LastBackup]:
        try:
            return await self.executor.run(self._look)
        except OSError as error:
            if crowd := crowded():
                return [crowd], self.looked.backup
            return [f"the state directory cannot be looked at: {error.strerror}"], self.looked.backup

    def _look(self) -> tuple[list[str], LastBackup]:
        found: dict[tuple[int, int], str] = {}
        for name in ("", "artifacts", "incoming", "logs"):
            place = self.directory / name
            if not place.is_dir():
                found[0, len(found)] = f"{name or 'the state directory'} is not there"
                continue
            problem = self._space(place, f"the disk of {name}/" if name else "the disk of the state directory")
            if problem:
                found.setdefault((1, place.stat().st_dev), problem)
        if crowd := crowded():
            found[1, -1] = crowd
        for number, program in enumerate(sorted(self.needed())):
            if shutil.which(program) is None:
                found[1, -2 - number] = f"{program} is not in PATH, and no branch of its repositories can be looked up"
        backup = self.backup()
        if backup.problem:
            found[2, 1] = backup.problem
        waiting = quarantine.count(self.directory)
        if waiting:
            files = "a file waits" if waiting == 1 else f"{waiting} files wait"
            found[2, 0] = f"{files} in quarantine/ for somebody to look at: damage was found, delete what is not needed"
        return [found[key] for key in sorted(found)], backup

    def _space(self, place: Path, what: str) -> str:
        status = os.statvfs(place)
        if status.f_flag & os.ST_RDONLY:
            return f"{what} can only be read"
        free = status.f_bavail * status.f_frsize
        return f"{what} has only {free // 1024**2} MiB left" if free < self.low else ""


def _write(connection: Connection) -> None:
    """Write something that changes nothing: only that tells whether the database takes what is committed."""
    value = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version = {1 - int(value) % 2}")
