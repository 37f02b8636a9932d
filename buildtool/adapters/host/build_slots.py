"""A build server's own files: what each slot has besides its sources, and the archives made of what was built."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from twisted.logger import Logger

from buildtool.adapters.host.detectors import DETECTORS, Machine
from buildtool.adapters.processes.process_group import end_leftovers
from buildtool.adapters.storage.archive.measuring import measure_archive
from buildtool.adapters.storage.archive.packing import Packed, make_zip
from buildtool.adapters.storage.private_directories import make_private
from buildtool.adapters.storage.trees import make_plain_directory, remove_tree
from buildtool.errors import MachineFault
from buildtool.model.binaries.judging import MeasuredFile
from buildtool.model.platforms import Value
from buildtool.ports.buildserver import Halt, SlotPlace
from buildtool.ports.common import Executor

T = TypeVar("T")

CHANGING = ("disk", "memory")
"""What is detected anew each time; the rest of a machine stays as it is while the program runs."""


class BuildSlots:
    """The ``ports.SlotFiles`` below ``directory``, which belongs to this program alone."""

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        pool: Executor,
        machine: Mapping[str, Value],
        seed: Callable[[Mapping[str, str], Path, Callable[[], None]], object] | None = None,
    ) -> None:
        """``machine`` is what was detected at the start.

        ``seed`` puts into a home what the caches of compilers begin with, among the tools that it is given.
        """
        self._seed = seed
        self._directory = directory
        self._pool = pool
        self._machine = machine
        self._making = Lock()

    async def clear_all(self, halt: Halt | None = None) -> None:
        """End and delete what an earlier run of the program left behind when it was killed.

        Raises MachineFault, and Halted soon after ``halt`` was asked for.
        """
        halted = halt if halt is not None else Halt()

        def clear() -> list[int]:
            ended = end_leftovers(self._directory)
            remove_tree(self._directory, halted.check)
            return ended

        ended = await self._do("clean", self._directory, clear)
        if ended:
            self._log.warn("{count} processes of builds before the last crash were ended", count=len(ended))

    async def prepare(self, slot: int, halt: Halt, tools: Mapping[str, str] | None = None) -> SlotPlace:
        top = self._directory / f"slot-{slot:d}"
        place = SlotPlace(home=top / "home", temporary=top / "tmp", output=top / "output")

        def make() -> SlotPlace:
            self._own(self._directory)
            remove_tree(top, halt.check)
            make_private([top, place.home, place.temporary, place.output])
            if self._seed is not None and tools:
                self._seed(tools, place.home, halt.check)
            return place

        return await self._do("prepare", top, make)

    async def pack(self, root: Path, names: Sequence[str], output: Path, limit: int, halt: Halt) -> Packed:
        def make() -> Packed:
            place = output.parent
            if self._directory in place.parents:
                # A build may have done anything to what it was given: that is no fault of the machine's.
                self._own(self._directory, place.parent, place)
                if any(place.iterdir()):
                    remove_tree(place, halt.check)
                    make_private([place])
            return make_zip(root, names, output, limit, halt.check)

        return await self._do("pack", output, make)

    async def measure(self, archive: Path, halt: Halt) -> tuple[MeasuredFile, ...]:
        """Return what the files in an archive that was packed here need. Raises MachineFault, Halted."""
        return await self._do("read", archive, partial(measure_archive, archive, halt.check))

    async def clear(self, slot: int, halt: Halt) -> None:
        top = self._directory / f"slot-{slot:d}"

        def clean() -> None:
            self._own(self._directory)
            remove_tree(top, halt.check)

        await self._do("clean", top, clean)

    async def machine(self) -> Mapping[str, Value]:
        now = await self._pool.run(lambda: changing(Machine(self._directory)))
        return {**self._machine, **now}

    def _own(self, *directories: Path) -> None:
        """Make each a directory of our own that we may write in, whatever a build has put in its place."""
        with self._making:  # or what one build's slot has just got would be taken for what another build left
            for directory in directories:
                if directory.is_symlink() or not directory.is_dir():
                    remove_tree(directory)
                make_private([directory])
                make_plain_directory(directory, stat.S_IRWXU)

    async def _do(self, what: str, directory: Path, act: Callable[[], T]) -> T:
        try:
            return await self._pool.run(act)
        except OSError as error:
            raise MachineFault(f"cannot {what} {directory}: {error.strerror or error}") from error


def changing(machine: Machine) -> dict[str, Value]:
    """Return free disk and memory as they are now, as far as the machine tells."""
    found = {name: DETECTORS[name](machine) for name in CHANGING}
    return {name: value for name, value in found.items() if value is not None}
