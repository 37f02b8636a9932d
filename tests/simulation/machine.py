"""A computer: what is on its disk outlives the programs that run on it, as far as it was synced."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from tests.simulation.clock import Life
from tests.simulation.faults import Faults

T = TypeVar("T")


@define(eq=False)
class Machine:
    """One computer of the farm."""

    name: str
    faults: Faults
    directory: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="simulated-")))

    def executor(self, life: Life) -> Disk:
        """Return where a program's blocking functions run."""
        return Disk(life, self.faults)


class Disk:
    """An Executor whose functions take virtual time, and fail as disks do."""

    def __init__(self, life: Life, faults: Faults) -> None:
        self._life = life
        self._faults = faults

    async def run(self, function: Callable[[], T]) -> T:
        faults = self._faults
        slow = faults.happens("slow_disk")
        await self._life.pause(faults.rng.uniform(0.5, 15.0) if slow else 0.001)
        if faults.happens("full_disk"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        result = function()
        await self._life.pause(0.0002)
        return result
