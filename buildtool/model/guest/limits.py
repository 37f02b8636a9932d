"""The limits of one build, and whose fault it is when one is exceeded. Tested by tests/model/guest/test_limits.py."""

from __future__ import annotations

import enum

from attrs import frozen

from buildtool.model.records import AttemptEnd
from buildtool.model.text import size_words

MIB = 1 << 20

PROCESSES = 4096
"""Processes and threads that one build may have at once: more than any compiler starts, and no machine falls over."""

FILE_SIZE = 64 << 30
"""Bytes that one file of a build may have."""

FILES = 2_000_000
"""Files and directories that one build may have: Linux's own sources have 90,000."""

MEMORY_SHARE = 0.9
"""The part of a machine's memory that its builds may use together, unless its owner says otherwise."""


class Limited(enum.Enum):
    """A thing of which a build may use so much."""

    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"
    FILES = "files"
    FILE_SIZE = "size of a file"


ENDS: dict[Limited, AttemptEnd] = {
    Limited.MEMORY: AttemptEnd.LIMITED,
    Limited.DISK: AttemptEnd.LIMITED,
    Limited.PROCESSES: AttemptEnd.FAILED,
    Limited.FILES: AttemptEnd.FAILED,
    Limited.FILE_SIZE: AttemptEnd.FAILED,
}
"""How an Attempt ends that exceeded one: another machine may have more memory and disk, the rest is as everywhere."""


@frozen
class BuildLimits:
    """The limits of one build on this machine: ``memory`` and ``disk`` in bytes, None for none; ``cpus`` processors."""

    memory: int | None = None
    disk: int | None = None
    processes: int = PROCESSES
    files: int = FILES
    file_size: int = FILE_SIZE
    cpus: float | None = None

    def of(self, what: Limited) -> int | None:
        """Return the limit of one thing, in its own unit (bytes, or how many), None for none."""
        limits = {
            Limited.MEMORY: self.memory,
            Limited.DISK: self.disk,
            Limited.PROCESSES: self.processes,
            Limited.FILES: self.files,
            Limited.FILE_SIZE: self.file_size,
        }
        return limits[what]


@frozen
class ExceededLimit:
    """A limit that a build exceeded, with the most that it was seen to use (``peak``), in bytes or how many."""

    what: Limited
    limit: int
    peak: int

    @property
    def end(self) -> AttemptEnd:
        """How the Attempt ends."""
        return ENDS[self.what]

    def words(self) -> str:
        """Return what was exceeded, for people: the limit, its value and the peak."""
        if self.what is Limited.FILE_SIZE:
            return f"it wrote a file of more than {size_words(self.limit)}, which no build may"
        whose = "on this machine a build may use" if self.end is AttemptEnd.LIMITED else "a build may have"
        limit, peak = self._amount(self.limit), self._amount(self.peak)
        return f"it exceeded the limit of {self.what.value}: {whose} {limit}, its peak was {peak}"

    def _amount(self, number: int) -> str:
        return size_words(number) if self.what in (Limited.MEMORY, Limited.DISK) else f"{number} {self.what.value}"


def limits_for(memory: int | None, builds: int, *, said: int | None = None, disk: int | None = None) -> BuildLimits:
    """Return the limits of each of ``builds`` at once, on a machine with so many bytes of ``memory`` for all of them.

    ``said`` is what its owner wants all builds to use at most, ``disk`` what one may write; both in bytes.
    """
    together = said if said is not None else None if memory is None else int(memory * MEMORY_SHARE)
    return BuildLimits(memory=None if together is None else max(MIB, together // max(1, builds)), disk=disk)
