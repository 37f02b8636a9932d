"""A process group and its session: signalling them, and knowing when nothing of them is left.

A build's own tools open further groups inside its session (``timeout`` and shells with job control do), which a
signal to the first group alone would miss. Where there is a ``/proc``, the whole session is looked through;
elsewhere (macOS) the group has to do. A process that starts a session of its own has left, and is pursued only where
there are keepers (``keeper``); what outlived a crash of the program and its keepers is found by its environment and its
mark at the next start.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from buildtool.adapters.processes.procfs import WORKS, SeenProcess, all_pids, environment_of, look_at, mark_of

FREEZING = 0.2
"""Seconds in which it is looked again for processes that are not stopped yet."""


class ProcessGroup:
    """The processes of the session that the process ``leader`` started."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to every process of the group and session; those that are gone already do not matter."""
        _quietly(os.killpg, self._leader, signum)
        for seen in _session(self._leader):
            if seen.group != self._leader:
                _quietly(os.kill, seen.pid, signum)

    def freeze(self) -> None:
        """Stop every process of the group and session; look again until none is found that runs, at most a moment.

        What waits in the kernel stops before it does anything else.
        """
        until = time.monotonic() + FREEZING
        self.send(signal.SIGSTOP)
        while not all(seen.stopped or seen.waits for seen in _session(self._leader)) and time.monotonic() < until:
            time.sleep(0.002)
            self.send(signal.SIGSTOP)

    def gone(self, *, thorough: bool) -> bool:
        """Return whether nothing is left, once the leader itself was waited for.

        Processes that may not be signalled, and those that are dead and wait for their parent, count as gone.
        ``thorough`` looks through the session too, which costs a walk through all processes of the machine.
        """
        try:
            os.killpg(self._leader, 0)
        except (ProcessLookupError, PermissionError):
            return not (thorough and _session(self._leader))
        return WORKS and not _session(self._leader)

    def describe(self) -> str:
        """Return the names of what is left, for a message."""
        left = sorted({self._leader, *(seen.pid for seen in _session(self._leader))})
        return f"process {', '.join(str(pid) for pid in left[:5])}"


def _quietly(send: Callable[[int, int], None], target: int, signum: signal.Signals) -> None:
    try:
        send(target, signum)
    except (ProcessLookupError, PermissionError):
        return


def _session(leader: int) -> list[SeenProcess]:
    """Return everything alive in the session or group of ``leader``, as far as ``/proc`` tells."""
    found = map(look_at, all_pids())
    return [seen for seen in found if seen is not None and seen.alive and leader in (seen.group, seen.session)]


def mark_for(below: Path) -> int:
    """Return the mark that commands with a HOME below the directory ``below`` bear, a number of 48 bits.

    It stands in a limit of theirs that has no effect, is inherited by all that they start, and outlives what daemons
    do to get rid of their past: a session of their own, a cleared environment, another directory, closed files.
    """
    return int.from_bytes(hashlib.sha256(os.fsencode(below)).digest()[:6], "big")


def end_leftovers(below: Path, patience: float = 3.0) -> list[int]:
    """Kill the processes whose HOME is below the directory ``below`` or that bear its mark; return their ids. Blocks.

    Looks again until none is left, ``patience`` seconds long, since each may have started others meanwhile. Where
    there is no ``/proc`` none is found.
    """
    ended: dict[int, None] = {}
    until = time.monotonic() + patience
    while found := _living_of(below):
        for pid in found:
            ended[pid] = None
            _quietly(os.kill, pid, signal.SIGKILL)
        if time.monotonic() >= until:
            break
        time.sleep(0.01)
    return list(ended)


def _living_of(below: Path) -> list[int]:
    home, mark = b"HOME=" + os.fsencode(below) + b"/", mark_for(below)
    return [pid for pid in all_pids() if pid != os.getpid() and (mark_of(pid) == mark or _lives_at(pid, home))]


def _lives_at(pid: int, home: bytes) -> bool:
    return any(entry.startswith(home) for entry in environment_of(pid))
