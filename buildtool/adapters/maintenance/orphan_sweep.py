"""The sweep over artifact files and rows, for what events have missed: files that no row names, rows without a file.

A file is published before its row is committed, and deleted after its artifact was withdrawn, so a crash between the
two leaves one without a row of an artifact that is given out. It is deleted when no such row came for an hour: a build
server that still holds the Attempt delivers again, which gives it a fresh hour. Where that would be most of the files
there are, it is rather the database that is wrong, and nothing is deleted. An artifact whose file is gone is withdrawn,
so that it is built again.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import define, field
from sqlalchemy import Connection, bindparam, select
from twisted.logger import Logger

from buildtool.adapters.sql import rows, schema
from buildtool.adapters.sql.database import Database
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.artifacts import DIGEST, stored_path
from buildtool.adapters.storage.filesystem import exists, on_disk
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.model.records import Artifact

log = Logger()

GRACE = 3_600.0
"""Seconds that a file may be without a row."""

EVERY = 900.0
"""Seconds between two sweeps."""

PAUSE = 0.2
"""Seconds between two looks of a sweep, so that it holds up nobody."""

AT_ONCE = 200
"""How many files or rows one look is about."""

ORPHANS_MOST = 10_000
"""How many files without a row are remembered; further ones wait until these are gone."""

Gone = Callable[[Artifact, str], Awaitable[object]]
"""Withdraws an artifact, with the reason."""

_KNOWN = select(schema.artifacts.c.digest).where(
    schema.artifacts.c.digest.in_(bindparam("digests", expanding=True)), schema.GIVEN_OUT
)
_GIVEN_OUT = (
    select(schema.artifacts)
    .where(schema.GIVEN_OUT, schema.artifacts.c.id > bindparam("after"))
    .order_by(schema.artifacts.c.id)
    .limit(AT_ONCE)
)


@define(eq=False)
class OrphanSweep:
    """A sweep over all files and all rows, a few at a time. ``round_`` is what a ``PeriodicTask`` does."""

    database: Database
    removal: ArtifactRemoval
    gone: Gone
    _empty: bool = field(default=False, init=False)
    _strange: str = field(default="", init=False)

    def problems(self) -> tuple[str, ...]:
        """Return what kept the last sweep from withdrawing or deleting anything."""
        said = "artifacts/ is empty, though there are artifacts: is its disk mounted? nothing is withdrawn for that"
        return tuple(line for line in (said if self._empty else "", self._strange) if line)

    async def round_(self, task: PeriodicTask) -> float:
        """Run one sweep; return the seconds until the next. Raises StorageUnavailable, CancelledError."""
        seen = await self._files(task)
        await self._rows(task, anything=seen)
        return EVERY

    async def _files(self, task: PeriodicTask) -> bool:
        """Look for files without rows; return whether there was any file at all."""
        orphans, still, due, unnamed, count = self.removal.orphans, set[str](), list[str](), 0, 0
        for directory in await self._names(self.removal.directory / "artifacts"):
            digests = [
                name.removesuffix(".zip")
                for name in await self._names(self.removal.directory / "artifacts" / directory)
                if name.endswith(".zip") and DIGEST.fullmatch(name[:-4]) and name.startswith(directory)
            ]
            count += len(digests)
            for start in range(0, len(digests), AT_ONCE):
                found = await self._look(task, digests[start : start + AT_ONCE])
                unnamed += len(found)
                still |= found & orphans.keys()
                due += [digest for digest in sorted(found) if self._is_old(task, digest)]
                await task.rest(PAUSE)
        for digest in orphans.keys() - still:
            orphans.pop(digest, None)
        await self._delete(task, due, unnamed, count)
        return count > 0

    async def _delete(self, task: PeriodicTask, due: Sequence[str], unnamed: int, count: int) -> None:
        """Delete what no row named for long enough, unless no row names most of what is there."""
        self._strange = ""
        if due and 2 * unnamed > count:
            whose = "1 file" if count == 1 else f"{count} files"
            self._strange = (
                f"no row names {unnamed} of the {whose} in artifacts/, so none is deleted: is this the right database? "
                "restore a backup of it, or have bin/metaserver fsck --repair move them to quarantine/"
            )
            return
        for number, digest in enumerate(due, 1):
            if await self.removal.remove_orphan(digest):
                log.warn("artifact file {digest} is deleted: no row named it for an hour", digest=digest)
            if number % AT_ONCE == 0:
                await task.rest(PAUSE)

    async def _look(self, task: PeriodicTask, digests: Sequence[str]) -> set[str]:
        """Look at a few files; return those that are without a row, of which not more are remembered than may be."""
        orphans = self.removal.orphans
        now = task.timers.seconds()
        for digest in digests:  # before the rows are asked: who publishes meanwhile takes it out again
            if digest in orphans or len(orphans) < ORPHANS_MOST:
                orphans.setdefault(digest, now)
        known = await self.database.run(partial(_known, digests))
        for digest in known:
            orphans.pop(digest, None)
        return set(digests) - known

    def _is_old(self, task: PeriodicTask, digest: str) -> bool:
        since = self.removal.orphans.get(digest)
        return since is not None and task.timers.seconds() - since >= GRACE

    async def _rows(self, task: PeriodicTask, *, anything: bool) -> None:
        """Withdraw what has no file. If there is no file at all, a disk is more likely to be missing."""
        after, self._empty = 0, False
        while found := await self.database.run(partial(_given_out, after)):
            if not anything:
                self._empty = True
                return
            absent = await self._absent(found)
            for artifact in absent:
                log.error("artifact {id} ({digest}) has no file", id=artifact.id, digest=artifact.digest)
                await self.gone(artifact, "its file is absent or has another size")
            after = found[-1].id
            await task.rest(PAUSE)

    async def _absent(self, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """Return those that are not there. Raises StorageUnavailable where the disk cannot say so."""
        absent = await self.removal.absent([(artifact.digest, artifact.size) for artifact in artifacts])
        missed = [artifact for artifact in artifacts if (artifact.digest, artifact.size) in absent]
        await on_disk(self.removal.executor, "look at the artifacts", partial(self._check_disk, missed))
        return missed

    def _check_disk(self, missed: Sequence[Artifact]) -> None:
        """Raise OSError where what was not there may be back in a moment."""
        disk, directory = self.removal.disk, self.removal.directory
        if missed and not disk.names(directory / "artifacts"):
            raise OSError(errno.ENODEV, "artifacts/ has become empty: is its disk mounted?")
        for digest in (artifact.digest for artifact in missed if DIGEST.fullmatch(artifact.digest)):
            exists(disk, stored_path(directory, digest))

    async def _names(self, directory: Path) -> list[str]:
        def read() -> list[str]:
            try:
                return sorted(self.removal.disk.names(directory))
            except (FileNotFoundError, NotADirectoryError):
                return []

        return await on_disk(self.removal.executor, "look at the artifacts", read)


def _known(digests: Sequence[str], connection: Connection) -> set[str]:
    return set(connection.execute(_KNOWN, {"digests": list(digests)}).scalars())


def _given_out(after: int, connection: Connection) -> list[Artifact]:
    return [rows.artifact_of(row) for row in connection.execute(_GIVEN_OUT, {"after": after})]
