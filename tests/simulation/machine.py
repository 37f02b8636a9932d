"""A computer: what is on its disk outlives the programs that run on it, as far as it was synced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from tests.simulation.clock import Life
from tests.simulation.disk import Crashed, Fault, Operation, SimulatedDisk
from tests.simulation.faults import Faults

T = TypeVar("T")

WRITES = frozenset({"append", "sync", "sync_directory", "rename", "link", "truncate"})


@define(eq=False)
class Machine:
    """One computer of the farm. ``failed`` is called when the power goes in the middle of a write."""

    name: str
    faults: Faults
    failed: Callable[[], None] = lambda: None
    fails_soon: bool = False
    disk: SimulatedDisk = field(init=False)
    slowly: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.disk = SimulatedDisk(self.faults.rng, fault=self._fault, slow=self._slow)
        self.disk.make_directory(self.directory)
        self.disk.sync_directory(self.directory.parent)

    @property
    def directory(self) -> Path:
        """Where its program keeps everything."""
        return Path(f"/{self.name}")

    def executor(self, life: Life) -> Inside:
        """Return where a program's blocking functions run."""
        return Inside(self, life)

    def power_cut(self) -> None:
        """Go down, and come up with what was synced and what chance left of the rest."""
        before = self.disk.counts["torn write"] + self.disk.counts["lost name"]
        self.disk.crash()
        self.faults.count("torn_write", self.disk.counts["torn write"] + self.disk.counts["lost name"] - before)

    def killed(self) -> None:
        """The program has ended: its files are closed."""
        self.disk.stop()

    def read(self, path: Path) -> bytes | None:
        """Return what a file holds now, None when there is none; nothing goes wrong here."""
        try:
            return self.disk.files(path.parent).get(f"{path.parent}/{path.name}")
        except FileNotFoundError:
            return None

    def lose(self, path: Path) -> None:
        """Delete a file behind the program's back."""
        on, self.faults.on = self.faults.on, False
        self.disk.unlink(path)
        self.disk.sync_directory(path.parent)
        self.faults.on = on

    def _fault(self, operation: Operation) -> Fault | None:
        faults = self.faults
        if not faults.on:
            return None
        if operation.name in WRITES:
            if faults.happens("full_disk"):
                return Fault.FULL
            if faults.happens("failed_write"):
                return Fault.ERROR
        if faults.happens("slow_disk"):
            return Fault.SLOW
        return None

    def _slow(self, _operation: Operation) -> None:
        self.slowly += self.faults.rng.uniform(0.5, 15.0)


class Inside:
    """An Executor whose functions take virtual time."""

    def __init__(self, machine: Machine, life: Life) -> None:
        self._machine = machine
        self._life = life

    async def run(self, function: Callable[[], T]) -> T:
        machine, life = self._machine, self._life
        await life.pause(0.001)
        if machine.fails_soon:
            machine.disk.crash_at = machine.disk.operations + machine.faults.rng.randrange(12)
        machine.slowly = 0.0
        try:
            return function()
        except Crashed:
            machine.failed()
            await Deferred[None]()  # for ever: this life has ended
            raise
        finally:
            if not life.ended:
                machine.disk.crash_at = None
                await life.pause(0.0002 + machine.slowly)
