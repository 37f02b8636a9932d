"""How many processors others use: what the machine does, less what this program and its descendants do."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from attrs import define, field, frozen

from buildtool.adapters.processes.procfs import descendants

WINDOW = 30.0
"""Seconds over which the load is averaged: a job of a moment is no owner."""

LEAST = 2.0
"""Seconds between two samples that are compared."""

_IDLE = (3, 4)
"""Which fields of the first line of ``/proc/stat`` are time in which nothing was done: idle and waiting for disks."""

_USED_FIELDS = 8
"""User, nice, system, idle, iowait, irq, softirq and steal; those of guests are in the first two."""


@frozen
class LoadSample:
    """The seconds of processors used since the start by the machine, and by this program, at a monotonic time."""

    at: float
    machine: float
    ours: float


def parse_machine(text: str, ticks: int) -> float | None:
    """Return how many seconds of processors were used, by what ``/proc/stat`` says; None where it says nothing."""
    words = text.split("\n", 1)[0].split()
    if len(words) <= max(_IDLE) + 1 or words[0] != "cpu" or not all(word.isdigit() for word in words[1:]):
        return None
    return sum(int(word) for place, word in enumerate(words[1 : _USED_FIELDS + 1]) if place not in _IDLE) / ticks


def parse_process(text: str, ticks: int) -> float:
    """Return how many seconds of processors a process used with the children that it waited for."""
    fields = text[text.rfind(")") + 2 :].split()
    return sum(int(word) for word in fields[11:15]) / ticks


@define(eq=False)
class OthersLoad:
    """A meter of what others use, fed with samples; ``proc`` is where ``/proc`` is."""

    proc: Path = Path("/proc")
    _samples: deque[LoadSample] = field(factory=deque, init=False)

    def told(self) -> bool:
        """Return whether this machine tells what it does."""
        return self._machine() is not None

    def processors(self, now: float) -> float | None:
        """Return how many processors others used lately, at monotonic time ``now`` in seconds; None at first."""
        if not self._samples or now - self._samples[-1].at >= LEAST:
            machine = self._machine()
            if machine is None:
                return None
            self.add(LoadSample(now, machine, self._ours()))
        return self.mean()

    def add(self, sample: LoadSample) -> None:
        """Add a sample, and forget those that are too old."""
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= sample.at - WINDOW:  # noqa: PLR2004 - what is compared
            self._samples.popleft()

    def mean(self) -> float | None:
        """Return the mean number of processors that others used between first and last sample; None for one sample."""
        if len(self._samples) < 2:  # noqa: PLR2004 - what is compared
            return None
        first, last = self._samples[0], self._samples[-1]
        used = (last.machine - first.machine) - (last.ours - first.ours)
        return max(0.0, used / max(0.001, last.at - first.at))

    def _machine(self) -> float | None:
        try:
            text = (self.proc / "stat").read_text("ascii", "replace")
        except OSError:
            return None
        return parse_machine(text, _ticks())

    def _ours(self) -> float:
        """Return what this program and all that descends from it used, those among them that have ended."""
        own = os.getpid()
        return sum(self._used(pid) for pid in (own, *(seen.pid for seen in descendants(own))))

    def _used(self, pid: int) -> float:
        try:
            text = (self.proc / str(pid) / "stat").read_text("utf-8", "replace")
        except OSError:
            return 0.0  # it ended, and its parent has its time
        return parse_process(text, _ticks())


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")
