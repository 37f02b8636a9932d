"""Whether a version that was started holds: it has to be ready in time, and to stay so for a while.

Times are in seconds of a clock that nobody sets.
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve, frozen

LAPSE = 20.0
"""Seconds for which what was ready may be away: a proxy that reloads, a disk that is slow."""


class WatchVerdict(Enum):
    """The outcome of watching so far."""

    WAIT = "wait"
    HELD = "held"
    LOST = "lost"


@frozen
class VersionWatch:
    """A version that is watched since ``began``: ready in ``within`` seconds, and then for ``lasting`` seconds.

    ``ready`` is when it was ready first, ``away`` since when it is not any more. ``same`` is by what the processes are
    told from others that are started in their place, and ``why`` what was wrong at the last look, in words.
    """

    began: float
    within: float
    lasting: float
    ready: float | None = None
    away: float | None = None
    same: str = ""
    why: str = ""
    died: bool = False

    def seen(self, now: float, why: str, same: str) -> VersionWatch:
        """Return the watch after a look at ``now`` seconds, at which it was ready unless there is a ``why``."""
        if self.ready is None:
            return evolve(self, why=why) if why else evolve(self, ready=now, same=same, why="")
        if same and self.same and same != self.same:
            return evolve(self, died=True, why="a process of it ended, and another one was started")
        if why:
            return evolve(self, away=now if self.away is None else self.away, why=why, same=self.same or same)
        return evolve(self, away=None, why="", same=self.same or same)

    def verdict(self, now: float) -> WatchVerdict:
        """Return what is known of it at ``now`` seconds."""
        if self.died:
            return WatchVerdict.LOST
        if self.ready is None:
            return WatchVerdict.LOST if now - self.began >= self.within else WatchVerdict.WAIT
        if self.away is not None:
            return WatchVerdict.LOST if now - self.away >= LAPSE else WatchVerdict.WAIT
        return WatchVerdict.HELD if now - self.ready >= self.lasting else WatchVerdict.WAIT

    @property
    def words(self) -> str:
        """Why it does not hold."""
        if self.ready is None:
            return f"it was not ready within {self.within:g} s: {self.why or 'it did not answer'}"
        return f"it was ready, and then not any more: {self.why}"
