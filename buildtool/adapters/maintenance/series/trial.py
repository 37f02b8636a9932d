"""A restore that is tried: a backup is put into a directory that goes again, and read there to the last byte."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from attrs import define, field

from buildtool.adapters.maintenance.backup import Backup, BackupContents, held
from buildtool.adapters.maintenance.fsck import Fsck
from buildtool.adapters.maintenance.fsck_files import Progress, silent
from buildtool.adapters.maintenance.series.directory import BackupMark, scratch
from buildtool.adapters.maintenance.series.sealing import MOST_BYTES, SEALED
from buildtool.adapters.storage.filesystem import RealDisk, read_whole
from buildtool.errors import BuildToolError, StorageUnavailable

_TOLD = 3
"""How many findings are told of one backup."""


@define
class TrialRestore:
    """A try to restore the backup at ``backup``, whose file says ``mark`` and in which there should be ``expected``."""

    backup: Path
    mark: BackupMark
    expected: BackupContents
    now: float
    progress: Progress = field(default=silent)

    async def run(self) -> tuple[str, ...]:
        """Restore, look at all of it, and remove it again; return what is wrong, nothing if it is as it was made.

        Raises StorageUnavailable where there is no room to try it, which says nothing of the backup.
        """
        try:
            with scratch(self.backup.parent, self.backup.name) as place:
                return (*await self._restored(place), *self._sealed())
        except (BuildToolError, OSError) as error:
            if _no_room(error):
                raise StorageUnavailable(
                    f"the backup {self.backup} is made, but there is no room beside it to try a restore"
                ) from error
            return (str(error),)

    async def _restored(self, place: Path) -> list[str]:
        # That which makes backups also puts them back: what its database names, compared with its digest where copied.
        contents = await Backup(self.backup, place).run()
        with held(place):  # another backup beside it would take it for one that was left half made
            report = await Fsck(place, self.now, self.progress).run(repair=False)
        wrong = [
            f"{there} {what} of {should}"
            for what, there, should in (
                ("artifacts", contents.artifacts, self.expected.artifacts),
                ("bytes of artifacts", contents.artifact_bytes, self.expected.artifact_bytes),
                ("logs", contents.logs, self.expected.logs),
                ("artifacts that fsck read", report.artifacts, self.expected.artifacts),
                ("logs that fsck read", report.logs, self.expected.logs),
            )
            if there != should
        ]
        told = [finding.line for finding in report.findings if not finding.mended]
        return [*wrong, *told[:_TOLD], *([f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else [])]

    def _sealed(self) -> list[str]:
        """Return what is wrong with what is encrypted: nobody here can open it, but its bytes are known."""
        if not self.mark.sealed:
            return []
        data = read_whole(RealDisk(), self.backup / SEALED, 2 * MOST_BYTES)
        return [] if hashlib.sha256(data).hexdigest() == self.mark.sealed else [f"{SEALED} is not what was written"]


def _no_room(error: BaseException) -> bool:
    """Return whether an error is, or comes from, a disk that is full."""
    causes = (error, error.__cause__)
    return any(isinstance(one, OSError) and one.errno in {errno.ENOSPC, errno.EDQUOT} for one in causes)
