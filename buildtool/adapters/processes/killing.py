"""Signals to what a keeper keeps, whoever of it forks or ends meanwhile. Runs in keepers, by the standard library.

Tested by tests/adapters/processes/test_keepers.py.
"""

from __future__ import annotations

import os
import signal

from buildtool.adapters.processes.procfs import SeenProcess

LONGEST_PAUSE = 0.05
"""Seconds between two looks at what will not end."""


class Killing:
    """The killing of what forks meanwhile: again and again, at once where there was a new process, else with pauses."""

    def __init__(self) -> None:
        self.pause = 0.0
        self._known: set[int] = set()

    def strike(self, found: list[SeenProcess]) -> None:
        """Kill what was found now, and set how long to pause before looking again."""
        met = {seen.pid for seen in found}
        self.pause = 0.0 if met - self._known else min(max(2 * self.pause, 0.001), LONGEST_PAUSE)
        self._known = met
        signal_groups(found, signal.SIGKILL)


class Freezing:
    """A stopping of what forks meanwhile: again and again, until a look finds nothing that runs.

    What waits in the kernel and was told stops before it does anything else.
    """

    def __init__(self) -> None:
        self.pause: float | None = 0.0
        self._told: set[int] = set()

    def strike(self, found: list[SeenProcess]) -> None:
        """Stop what was found and runs."""
        moving = [seen for seen in found if seen.alive and not seen.stopped]
        if all(seen.waits and seen.pid in self._told for seen in moving):
            self.pause = None  # nothing of it can start anything any more
        elif self.pause is not None:
            self.pause = min(max(2 * self.pause, 0.001), LONGEST_PAUSE)
            self._told |= {seen.pid for seen in moving}
            signal_groups(moving, signal.SIGSTOP)


def signal_groups(found: list[SeenProcess], signum: int) -> None:
    """Signal whole groups: the kernel does that at one stroke, so that none escapes by forking.

    All processes of a group are in one session, whose leader is a descendant, and so are descendants themselves.
    """
    own = os.getpgrp()
    for group in {seen.group for seen in found} - {own}:
        quietly(group, signum, whole=True)
    for seen in found:
        if seen.group == own:  # between its fork and its setsid
            quietly(seen.pid, signum, whole=False)


def quietly(target: int, signum: int, *, whole: bool) -> None:
    """Send a signal to a process, or a whole group, that may have ended meanwhile."""
    try:
        (os.killpg if whole else os.kill)(target, signum)
    except (ProcessLookupError, PermissionError):
        return  # it ended while we looked, or became somebody else
