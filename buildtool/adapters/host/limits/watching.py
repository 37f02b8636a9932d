"""The watch over what one build uses, while its commands run: what no control group counts is looked at.

Tested by tests/adapters/host/limits/test_limits.py.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, evolve, field, frozen

from buildtool.adapters.host.limits.control_groups import SlotGroup
from buildtool.adapters.processes.procfs import descendants, resident_bytes
from buildtool.model.guest.limits import BuildLimits, ExceededLimit, Limited
from buildtool.ports.buildserver import CommandEnd

FIRST = 0.05
"""Seconds until the first look, which takes what is there as the sources: a build that is shorter costs none."""

INTERVAL = 0.5
"""Seconds between two looks at least."""

SHARE = 0.05
"""The part of its time that the watch looks: a tree with many files is looked at less often."""

_BLOCK = 512
_KEPT = 0.9
"""The part of what is free on the disk at its start that a machine's builds may fill."""


@frozen
class DiskUse:
    """The bytes and files below some directories."""

    size: int
    files: int


def disk_use(directories: Sequence[Path]) -> DiskUse:
    """Return what directories take of the disk; what has another name elsewhere is not theirs. Blocks."""
    size = files = 0
    for found in _entries(directories):
        files += 1
        if found.st_nlink == 1 or not stat.S_ISREG(found.st_mode):
            size += found.st_blocks * _BLOCK
    return DiskUse(size, files)


def _entries(directories: Sequence[Path]) -> Iterator[os.stat_result]:
    waiting = [str(one) for one in directories]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it was removed meanwhile


def within_disk(limits: BuildLimits, place: Path, builds: int) -> BuildLimits:
    """Return limits that one of ``builds`` at once cannot exceed before the disk of ``place`` is full."""
    found = os.statvfs(place)
    size = int(found.f_bavail * found.f_frsize * _KEPT) // max(1, builds)
    files = int(found.f_favail * _KEPT) // max(1, builds) if found.f_files else limits.files
    return evolve(
        limits,
        disk=size if limits.disk is None else min(limits.disk, size),
        files=min(limits.files, files),
        file_size=min(limits.file_size, size),
    )


@define
class LimitWatch:
    """The watch over one build. ``look`` blocks and is called in a thread, ``judge`` when a command has ended.

    ``keeper`` is the process above all of the build's; ``directories`` are what it writes in; ``pause``
    is how many seconds to wait until the next look.
    """

    limits: BuildLimits
    group: SlotGroup | None
    keeper: int
    directories: tuple[Path, ...]
    peaks: dict[Limited, int] = field(factory=dict)
    exceeded: ExceededLimit | None = None
    pause: float = FIRST
    before: DiskUse | None = None

    def look(self) -> ExceededLimit | None:
        """Return the limit that was exceeded, if one was by now; set how long to pause before the next look."""
        began = time.monotonic()
        if self._uncounted("memory"):
            self._see(Limited.MEMORY, resident_bytes(descendants(self.keeper)))
        used = disk_use(self.directories)
        before = self.before = self.before or used
        self._see(Limited.DISK, used.size - before.size)
        self._see(Limited.FILES, used.files - before.files)
        self._see_groups()
        self.pause = max(INTERVAL, (time.monotonic() - began) / SHARE)
        return self.exceeded

    def judge(self, ended: CommandEnd) -> ExceededLimit | None:
        """Return the limit by which a command ended that did not succeed, if there is one."""
        if self.exceeded is None and not ended.succeeded:
            if signal.SIGXFSZ in (getattr(ended, "signal", None), (ended.code or 0) - 128):
                self.exceeded = ExceededLimit(Limited.FILE_SIZE, self.limits.file_size, self.limits.file_size)
            self._see_groups()
        return self.exceeded

    def _see_groups(self) -> None:
        group = self.group
        if group is None or self.exceeded is not None:
            return
        if group.memory_kills() and self.limits.memory is not None:
            peak = group.memory_peak()
            self.exceeded = ExceededLimit(Limited.MEMORY, self.limits.memory, peak or self.limits.memory)
        elif group.process_refusals():
            self.exceeded = ExceededLimit(Limited.PROCESSES, self.limits.processes, self.limits.processes)

    def _uncounted(self, controller: str) -> bool:
        return self.group is None or controller not in self.group.places

    def _see(self, what: Limited, used: int) -> None:
        self.peaks[what] = peak = max(used, self.peaks.get(what, 0))
        limit = self.limits.of(what)
        if self.exceeded is None and limit is not None and used > limit:
            self.exceeded = ExceededLimit(what, limit, peak)


def resource_limits(limits: BuildLimits, group: SlotGroup | None) -> dict[str, int]:
    """Return the limits that a process has by itself, by the name that Python has for them."""
    found = {"RLIMIT_FSIZE": limits.file_size, "RLIMIT_CORE": 0}
    if group is None or "pids" not in group.places:
        found["RLIMIT_NPROC"] = limits.processes
    return found
