"""Artifact files are published, taken away and put into quarantine one at a time for each digest.

So what looks after the files behind everybody's back never takes one that is just being published again.

Tested by tests/adapters/maintenance/test_purging.py.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path

from attrs import define, field

from buildtool.adapters.storage.artifacts import stored_path
from buildtool.adapters.storage.filesystem import Disk, OpenMode, RealDisk, hashed, on_disk, opened
from buildtool.adapters.storage.quarantine import move
from buildtool.concurrency.keyed_lock import KeyedLocks
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import ArtifactFiles


@define(eq=False)
class ArtifactRemoval:
    """The ``ports.ArtifactFiles`` over the store of the state directory ``directory``.

    ``orphans`` are digests whose files no row named when the sweep saw them, and since when (monotonic seconds). Who
    publishes one gives it a fresh term: its row will come.
    """

    directory: Path
    store: ArtifactFiles
    executor: Executor
    disk: Disk = field(factory=RealDisk)
    orphans: dict[str, float] = field(factory=dict, init=False)
    _locks: KeyedLocks = field(factory=KeyedLocks, init=False)

    async def absent(self, files: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        return await self.store.absent(files)

    async def publish(self, build_id: int, epoch: int, digest: str, size: int) -> None:
        async with self._locks.held(digest):
            self.orphans.pop(digest, None)
            await self.store.publish(build_id, epoch, digest, size)

    async def discard(self, build_id: int, epoch: int) -> None:
        await self.store.discard(build_id, epoch)

    async def remove_orphan(self, digest: str) -> bool:
        """Delete the file of an orphan that was not published meanwhile; say so. Raises StorageUnavailable."""
        async with self._locks.held(digest):
            if self.orphans.pop(digest, None) is None:
                return False
            await on_disk(self.executor, "remove an artifact that no row names", partial(self._remove, digest))
        return True

    async def remove_unless(self, digest: str, named: Callable[[], Awaitable[bool]]) -> bool:
        """Delete the file of a digest unless ``named()`` says that it is needed; return whether there was one.

        Nothing is published under that digest meanwhile. Raises StorageUnavailable.
        """
        async with self._locks.held(digest):
            if await named():
                return False
            self.orphans.pop(digest, None)
            return await on_disk(self.executor, "remove an artifact", partial(self._remove, digest))

    async def quarantine(self, digest: str) -> bool:
        """Move a file away if its bytes do not have its digest; return whether it was so. Raises StorageUnavailable.

        It is read again here: meanwhile a sound one may have come in its place.
        """
        async with self._locks.held(digest):
            return await on_disk(self.executor, "move a damaged artifact away", partial(self._quarantine, digest))

    # --- below: run in threads -------------------------------------------------------------------------

    def _remove(self, digest: str) -> bool:
        path = stored_path(self.directory, digest)
        try:
            self.disk.unlink(path)
        except FileNotFoundError:
            return False
        self.disk.sync_directory(path.parent)
        return True

    def _quarantine(self, digest: str) -> bool:
        path = stored_path(self.directory, digest)
        try:
            with opened(self.disk, path, OpenMode.READ) as file:
                sound = hashed(self.disk, file, self.disk.status(file).size).hexdigest() == digest
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            sound = False  # the disk can no longer read it
        if not sound:
            move(self.directory, path, self.disk)
        return not sound
