"""Memory that is free goes back to the system: the C library keeps it otherwise, after every burst a little more."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

STATM = Path("/proc/self/statm")

GROWN = 8 * 1024 * 1024
"""Bytes by which the program has to have grown since the last time before it is worth looking for free memory."""


def resident() -> int:
    """Return how many bytes of this program are in memory, 0 where the system does not say."""
    try:
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def trim() -> bool:
    """Give free memory back; return whether this C library can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # not the GNU C library
        return False
    return True


@define
class GivingBack:
    """``look`` gives memory back when the program has grown. ``size`` and ``give`` are there for tests."""

    size: Callable[[], int] = resident
    give: Callable[[], bool] = trim
    _least: int = field(default=0, init=False)

    def look(self) -> bool:
        """Give free memory back if the program has grown by ``GROWN`` since it was smallest; say whether it did."""
        now = self.size()
        if not self._least:
            self._least = now
        if now - self._least < GROWN:
            self._least = min(self._least, now)
            return False
        if self.give():
            self._least = self.size()
        return True
