"""What every shell needs from outside: the time, and threads for what blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """The wall time, for display, expiry of kept things and tickets. Timers use the reactor's monotonic clock."""

    def wall(self) -> float:
        """Return seconds since the epoch."""


class Executor(Protocol):
    """A pool of threads for blocking functions, away from the reactor."""

    async def run(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, or raise what it raises."""
