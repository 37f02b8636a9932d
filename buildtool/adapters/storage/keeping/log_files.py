"""The files of logs, as what forgets them sees them: how much they take, and how they go.

A log that is being read from this process stays for another round: who reads it opens it again for each piece.

Tested by tests/adapters/storage/test_log_files.py.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import define, field

from buildtool.adapters.storage.filesystem import Disk, RealDisk, on_disk
from buildtool.adapters.storage.logs import LogStore
from buildtool.ports.common import Executor

_FILE = re.compile(r"([1-9][0-9]{0,17})-[0-9]{1,9}\.log(?:\.zst|\.idx)?")


@define(eq=False)
class KeptLogFiles:
    """The ``ports.KeptLogs`` of the state directory ``directory``; ``store`` knows what was read lately."""

    directory: Path
    executor: Executor
    store: LogStore | None = None
    disk: Disk = field(factory=RealDisk)
    _files: dict[int, list[str]] = field(factory=dict, init=False)
    _numbers: list[int] = field(factory=list, init=False)
    _read: set[tuple[int, int]] = field(factory=set, init=False)

    async def kept(self) -> Sequence[int]:
        self._files = await on_disk(self.executor, "look at the logs", self._found)
        if self.store is not None:
            self._read, self.store.read_lately = self.store.read_lately, set()
        self._numbers = sorted(self._files)
        return self._numbers

    def between(self, first: int, last: int) -> Sequence[int]:
        return self._numbers[bisect_left(self._numbers, first) : bisect_right(self._numbers, last)]

    async def sizes(self, builds: Collection[int]) -> Mapping[int, int]:
        wanted = {number: self._files.get(number, []) for number in builds}
        return await on_disk(self.executor, "look at the logs", partial(self._sizes, wanted))

    async def remove(self, build: int) -> bool:
        lately = self._read | (self.store.read_lately if self.store is not None else set())
        if any(number == build for number, _ in lately):
            return False
        await on_disk(self.executor, "remove the logs of a build", partial(self._remove, self._files.pop(build, [])))
        return True

    # --- below: run in threads -------------------------------------------------------------------------

    def _found(self) -> dict[int, list[str]]:
        found: defaultdict[int, list[str]] = defaultdict(list)
        try:
            names = self.disk.names(self.directory / "logs")
        except FileNotFoundError:
            return {}
        for name in names:
            if match := _FILE.fullmatch(name):
                found[int(match[1])].append(name)
        return dict(found)

    def _sizes(self, wanted: Mapping[int, Sequence[str]]) -> dict[int, int]:
        return {number: sum(map(self._size, names)) for number, names in wanted.items()}

    def _size(self, name: str) -> int:
        try:
            return self.disk.look(self.directory / "logs" / name).size
        except FileNotFoundError:
            return 0  # compressed meanwhile, or gone

    def _remove(self, names: Sequence[str]) -> None:
        for name in sorted(names, key=lambda one: one.endswith(".idx")):  # an index never outlives its log for long
            try:
                self.disk.unlink(self.directory / "logs" / name)
            except FileNotFoundError:
                continue
