"""The watch over what one build uses, while its commands run: what no control group counts is looked at.

Tested by tests/adapters/host/limits/test_limits.py.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from attrs import define, evolve, field

from buildtool.adapters.host.limits.control_groups import ControlGroups, SlotGroup
from buildtool.adapters.host.limits.disk_use import DiskFree, DiskUse, disk_free, disk_use
from buildtool.adapters.processes.procfs import descendants, resident_bytes
from buildtool.model.guest.limits import MIB, BuildLimits, ExceededLimit, Limited
from buildtool.ports.buildserver import CommandEnd

FIRST = 0.05
"""Seconds until the first look, which takes what is there as the sources: a build that is shorter costs none."""

INTERVAL = 0.5
"""Seconds between two looks at least."""

SHARE = 0.05
"""The part of its time that the watch looks: a tree with many files is looked at less often."""

_FULL_SHARE = 0.25
"""The same when the disk has lost more than the build may have."""

_KEPT = 0.9
"""The part of what is free on the disk at its start that a machine's builds may fill."""


def within_disk(limits: BuildLimits, place: Path, builds: int, kept: int = 0) -> BuildLimits:
    """Return limits that one of ``builds`` at once cannot exceed before the disk of ``place`` is full.

    ``kept`` are the bytes that its owner wants to stay free: they are not what builds may write.
    """
    free = disk_free(place)
    size = max(MIB, int(max(0, free.size - kept) * _KEPT) // max(1, builds))
    files = int(free.files * _KEPT) // max(1, builds) if free.files else limits.files
    return evolve(
        limits,
        disk=size if limits.disk is None else min(limits.disk, size),
        files=min(limits.files, files),
        file_size=min(limits.file_size, size),
    )


def memory_of_builds(groups: ControlGroups) -> int:
    """Return how many bytes of memory all builds use now, as control groups count them, else processes. Blocks."""
    counted = groups.memory_used()
    return resident_bytes(descendants(os.getpid())) if counted is None else counted


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
    _before: DiskUse | None = None
    _free: DiskFree | None = None
    _looked: tuple[float, float] = (0.0, 0.0)

    def look(self) -> ExceededLimit | None:
        """Return the limit that was exceeded, if one was by now; set how long to pause before the next look."""
        began, free = time.monotonic(), disk_free(self.directories[0])
        first = self._free = self._free or free
        lost = DiskFree(first.size - free.size, first.files - free.files)
        # Who has many files is looked at less often, but not while the disk becomes full.
        much = self.limits.disk is not None and lost.size > self.limits.disk
        last, took = self._looked
        if began >= last + took / (_FULL_SHARE if much else SHARE):
            self._look_at_all(lost, first)
            self._looked = (began, time.monotonic() - began)
        self._see_groups()
        self.pause = INTERVAL
        return self.exceeded

    def _look_at_all(self, lost: DiskFree, first: DiskFree) -> None:
        """Record what the build uses; ``first`` is what was free when it began, ``lost`` is less now, by whomever."""
        processes = descendants(self.keeper)
        used = disk_use(self.directories, (seen.pid for seen in processes))
        if self._uncounted("memory"):
            self._see(Limited.MEMORY, resident_bytes(processes) + used.memory)
        before = self._before = self._before or used
        size, files = used.size - before.size, used.files - before.files
        # What is out of sight is measured by what the disk has less, and nobody may fill all of that.
        if not used.whole or lost.size > first.size * _KEPT:
            size, files = max(size, lost.size), max(files, lost.files)
        self._see(Limited.DISK, size)
        self._see(Limited.FILES, files)

    def judge(self, ended: CommandEnd) -> ExceededLimit | None:
        """Return the limit by which a command ended that did not succeed, if there is one."""
        if self.exceeded is None and not ended.succeeded:
            if signal.SIGXFSZ in (getattr(ended, "signal", None), (ended.code or 0) - 128):
                # Where this machine has room for no larger one, it is its disk that was too small.
                size, disk = self.limits.file_size, self.limits.disk
                what = Limited.DISK if disk is not None and size >= disk else Limited.FILE_SIZE
                self.exceeded = ExceededLimit(what, size, size)
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
