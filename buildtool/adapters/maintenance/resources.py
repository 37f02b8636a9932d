"""What the metaserver takes of its machine: descriptors, memory, processor time, and disk.

Tested by tests/e2e/test_monitoring.py.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from attrs import field, frozen

from buildtool.adapters.runtime.memory import resident
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.errors import StorageUnavailable
from buildtool.ports.common import Executor
from buildtool.ports.resources import ResourceUse

WRITTEN_AHEAD = "-wal"


@frozen(eq=False)
class ResourceReader:
    """The ``ports.ResourceSource`` of this program. What may wait for a disk is read by ``executor``.

    ``began`` is wall time, in seconds.
    """

    directory: Path
    executor: Executor
    began: float = field(factory=time.time)

    async def read(self) -> ResourceUse:
        """Return what is taken now. Raises StorageUnavailable where the disk does not say."""
        try:
            return await self.executor.run(self._read)
        except OSError as error:
            raise StorageUnavailable(f"the state directory cannot be looked at: {error.strerror}") from error

    def _read(self) -> ResourceUse:
        disk = os.statvfs(self.directory)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return ResourceUse(
            descriptors=len(os.listdir("/dev/fd")),
            descriptors_most=None if most == resource.RLIM_INFINITY else most,
            memory=resident(),
            processor=usage.ru_utime + usage.ru_stime,
            started=self.began,
            database=sum(_size(self.directory / f"{DATABASE}{end}") for end in ("", WRITTEN_AHEAD)),
            free=disk.f_bavail * disk.f_frsize,
            disk=disk.f_blocks * disk.f_frsize,
        )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0  # the database's log is gone after an orderly end
