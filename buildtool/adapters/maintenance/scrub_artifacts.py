"""The scrubber reads every artifact again, slowly, and finds those whose bytes have changed on the disk.

All are read within a week, at a bounded rate; how far it has come is kept in the file ``scrub``, so that a restart goes
on from there. What is damaged goes to quarantine and is withdrawn: whoever asks for it next has it built again.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import partial

from attrs import define, field
from sqlalchemy import Connection, bindparam, func, select
from twisted.logger import Logger

from buildtool.adapters.sql import schema
from buildtool.adapters.sql.database import Database
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.artifacts import DIGEST, stored_path
from buildtool.adapters.storage.filesystem import OpenMode, on_disk, opened, read_whole
from buildtool.concurrency.periodic import PeriodicTask

log = Logger()

PERIOD = 3.5 * 86_400.0
"""Seconds in which all are to be read; half a week, so that restarts and pauses leave all within a week."""

REST = 86_400.0
"""Seconds between the beginnings of two rounds, when one takes less."""

SLOWEST = 256 * 1024
FASTEST = 32 * 1024 * 1024
"""Bounds of the rate, in bytes a second."""

PIECE = 256 * 1024
"""Bytes that are read at once."""

OVERHEAD = 64 * 1024
"""What opening a file counts for, in bytes read."""

NOTED_EVERY = 50
"""After how many artifacts the place is noted."""

Damaged = Callable[[str, str], Awaitable[object]]
"""Hears of the digest of a damaged file, and what is wrong with it."""

_NEXT = (
    select(schema.artifacts.c.id, schema.artifacts.c.digest)
    .where(schema.GIVEN_OUT, schema.artifacts.c.id > bindparam("after"))
    .order_by(schema.artifacts.c.id)
    .limit(NOTED_EVERY)
)
_ALL = select(func.count(), func.coalesce(func.sum(schema.artifacts.c.size), 0)).where(schema.GIVEN_OUT)


def rate(count: int, size: int) -> float:
    """Return at how many bytes a second ``count`` artifacts of ``size`` bytes together are read."""
    return min(FASTEST, max(SLOWEST, (size + count * OVERHEAD) / PERIOD))


@define(eq=False)
class ArtifactScrub:
    """The reader of all artifacts, a piece at a time. ``round_`` is what a ``PeriodicTask`` does."""

    database: Database
    removal: ArtifactRemoval
    damaged: Damaged
    _after: int | None = field(default=None, init=False)

    async def round_(self, task: PeriodicTask) -> float:
        """Read all that are left of a round. Raises StorageUnavailable, CancelledError."""
        began = task.timers.seconds()
        if self._after is None:
            self._after = await self._run(self._noted, "see how far the artifacts were read")
        speed = rate(*await self.database.run(_all))
        while found := await self.database.run(partial(_next, self._after)):
            for key, digest in found:
                await self._read(task, digest, speed)
                self._after = key
            await self._run(partial(self._note, self._after), "note how far the artifacts were read")
        self._after = 0
        await self._run(partial(self._note, 0), "note how far the artifacts were read")
        return max(60.0, began + REST - task.timers.seconds())

    async def _read(self, task: PeriodicTask, digest: str, speed: float) -> None:
        """Read one artifact, and tell when it is damaged; one that is not there is the sweep's to find."""
        if not DIGEST.fullmatch(digest):
            return
        await task.rest(OVERHEAD / speed)
        disk, path = self.removal.disk, stored_path(self.removal.directory, digest)
        try:
            file = await self.removal.executor.run(partial(disk.open, path, OpenMode.READ))
        except OSError:
            return
        hasher, position = hashlib.sha256(), 0
        try:
            while piece := await self.removal.executor.run(partial(disk.pread, file, PIECE, position)):
                hasher.update(piece)
                position += len(piece)
                await task.rest(len(piece) / speed)
            what = "" if hasher.hexdigest() == digest else "its bytes differ from their digest"
        except OSError as error:
            what = f"it cannot be read: {error.strerror}" if error.errno == errno.EIO else ""
        finally:
            disk.close(file)
        if what:
            await self.damaged(digest, what)

    async def _run(self, act: Callable[[], int], purpose: str) -> int:
        return await on_disk(self.removal.executor, purpose, act)

    # --- below: run in threads -------------------------------------------------------------------------

    def _noted(self) -> int:
        """Return after which artifact to go on; 0 to begin anew."""
        disk = self.removal.disk
        try:
            return max(0, int(json.loads(read_whole(disk, self.removal.directory / "scrub", 100))["after"]))
        except FileNotFoundError:
            return 0
        except (ValueError, TypeError, LookupError):
            return 0  # half written: it costs reading some once more

    def _note(self, after: int) -> int:
        disk = self.removal.disk
        with opened(disk, self.removal.directory / "scrub", OpenMode.EMPTY) as file:
            disk.append(file, json.dumps({"after": after}).encode() + b"\n")
        return after


def _all(connection: Connection) -> tuple[int, int]:
    count, size = connection.execute(_ALL).one()
    return int(count), int(size)


def _next(after: int, connection: Connection) -> list[tuple[int, str]]:
    return [(int(key), str(digest)) for key, digest in connection.execute(_NEXT, {"after": after})]
