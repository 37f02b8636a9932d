"""Memory that is free goes back to the system, and garbage is looked for without keeping everybody waiting.

The C library keeps free memory otherwise, after every burst a little more. And Python looks for garbage among all that
there is whenever that has grown by a quarter, which takes half a microsecond an object and stops all else.
"""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

STATM = Path("/proc/self/statm")

GROWN = 8 * 1024 * 1024
"""Bytes by which the program has to have grown since the last time before it is worth looking for free memory."""

OFTEN = 3
"""After how many looks of Python's own for garbage among what is young all that is not so old is looked through."""

NEVER = 1_000_000_000

AGAIN = 3_600.0
"""Seconds after which all there is is looked through."""


def resident() -> int:
    """Return how many bytes of this program are in memory, 0 where the system does not say."""
    try:
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def trim() -> bool:
    """Return free memory to the system; the result says whether this C library can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # not the GNU C library
        return False
    return True


@define
class MemoryTrim:
    """A check that gives memory back when the program has grown. ``size`` and ``give`` are there for tests."""

    size: Callable[[], int] = resident
    give: Callable[[], bool] = trim
    _least: int = field(default=0, init=False)

    def look(self) -> bool:
        """Return free memory to the system if the program grew by ``GROWN`` since it was smallest; tell whether."""
        now = self.size()
        if not self._least:
            self._least = now
        if now - self._least < GROWN:
            self._least = min(self._least, now)
            return False
        if self.give():
            self._least = self.size()
        return True


@define
class GarbageSearch:
    """A search for garbage among what has come since the last time; what is left then stays, mostly.

    Python itself goes on looking among what is young. What was kept once and is garbage later is found if it is part of
    no cycle, and else after ``AGAIN`` seconds. ``seconds`` reads the monotonic clock.
    """

    seconds: Callable[[], float] = time.monotonic
    _again: float = field(init=False)

    @_again.default
    def _first(self) -> float:
        return self.seconds() + AGAIN

    def begin(self) -> None:
        """Take over from Python, with all that is there now as what stays."""
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, NEVER)
        gc.freeze()

    def look(self) -> bool:
        """Collect garbage if enough has come since the last time; return whether it did."""
        whole = self.seconds() >= self._again
        if not whole and gc.get_count()[2] < OFTEN:
            return False
        if whole:
            self._again = self.seconds() + AGAIN
            gc.unfreeze()
        gc.collect()
        gc.freeze()
        return True
