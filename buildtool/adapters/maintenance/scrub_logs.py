"""The scrubber of finished logs: each is read to its end, slowly, and one that cannot be is moved to quarantine.

Nothing is built again for a log; its page says from then on that there is none. The end of it is in the database.

Tested by tests/adapters/maintenance/test_scrub_artifacts.py.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from attrs import define
from twisted.logger import Logger

from buildtool.adapters.maintenance.scrub_artifacts import OVERHEAD, PIECE, REST, rate
from buildtool.adapters.storage.filesystem import on_disk
from buildtool.adapters.storage.log_index.file import index_of
from buildtool.adapters.storage.quarantine import move
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import Damaged, NotFound, StorageUnavailable
from buildtool.ports.common import Executor
from buildtool.ports.pages import LogReader

log = Logger()

_FINISHED = re.compile(r"([1-9][0-9]{0,17})-([0-9]{1,9})\.log\.zst")


@define(eq=False)
class LogScrub:
    """The reader of finished logs of the state directory ``directory``. ``round_`` is what a ``PeriodicTask`` does."""

    directory: Path
    logs: LogReader
    executor: Executor

    async def round_(self, task: PeriodicTask) -> float:
        """Read all finished logs. Raises StorageUnavailable, CancelledError."""
        began = task.timers.seconds()
        names, size = await on_disk(self.executor, "look at the logs", self._finished)
        speed = rate(len(names), size)
        for name in names:
            await task.rest(OVERHEAD / speed)
            await self._read(task, name, speed)
        return max(60.0, began + REST - task.timers.seconds())

    async def _read(self, task: PeriodicTask, name: str, speed: float) -> None:
        found = _FINISHED.fullmatch(name)
        if found is None:
            return
        build_id, epoch = int(found[1]), int(found[2])
        try:
            length, position = (await self.logs.state(build_id, epoch)).length, 0
            while position < length:
                piece = await self.logs.read(build_id, epoch, position, PIECE)
                if not piece:
                    raise Damaged(f"it ends at byte {position} of {length}")  # noqa: TRY301 - as the store would say it
                position += len(piece)
                await task.rest(len(piece) / speed)
        except NotFound:
            return
        except StorageUnavailable as error:
            log.warn("the log of build {build}.{epoch}: {why}", build=build_id, epoch=epoch, why=error)
        except Damaged as error:
            log.error(
                "the log of build {build}.{epoch} goes to quarantine: {why}", build=build_id, epoch=epoch, why=error
            )
            await self._quarantine(name)

    async def _quarantine(self, name: str) -> None:
        def act() -> None:
            with suppress(FileNotFoundError):
                log = self.directory / "logs" / name
                move(self.directory, log)
                index_of(log).unlink(missing_ok=True)

        await on_disk(self.executor, "move a damaged log away", act)

    def _finished(self) -> tuple[list[str], int]:
        """Return the names of all finished logs, and how many bytes they have together."""
        names, size = [], 0
        with os.scandir(self.directory / "logs") as entries:
            for entry in entries:
                if _FINISHED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
                    size += entry.stat(follow_symlinks=False).st_size
        return sorted(names), size
