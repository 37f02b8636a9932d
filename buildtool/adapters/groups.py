"""A process group and its session: signalling them, and knowing when nothing of them is left.

A build's own tools open further groups inside its session (``timeout`` and shells with job control do), which a
signal to the first group alone would miss. Where there is a ``/proc``, the whole session is looked through;
elsewhere (macOS) the group has to do. A process that starts a session of its own has left, and is not pursued while
the program runs; what outlived a crash of the program is found by its environment at the next start.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
_DEAD = frozenset("ZXx")


class Group:
    """The processes of the session that the process ``leader`` started."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to every process of the group and session; those that are gone already do not matter."""
        _quietly(os.killpg, self._leader, signum)
        for pid, group in _session(self._leader):
            if group != self._leader:
                _quietly(os.kill, pid, signum)

    def gone(self, *, thorough: bool) -> bool:
        """Say whether nothing is left, once the leader itself was waited for.

        Processes that may not be signalled, and those that are dead and wait for their parent, count as gone.
        ``thorough`` looks through the session too, which costs a walk through all processes of the machine.
        """
        try:
            os.killpg(self._leader, 0)
        except (ProcessLookupError, PermissionError):
            return not (thorough and _session(self._leader))
        return _PROC_WORKS and not _session(self._leader)

    def describe(self) -> str:
        """Name what is left, for a message."""
        left = sorted({self._leader, *(pid for pid, _ in _session(self._leader))})
        return f"process {', '.join(str(pid) for pid in left[:5])}"


def _quietly(send: Callable[[int, int], None], target: int, signum: signal.Signals) -> None:
    try:
        send(target, signum)
    except (ProcessLookupError, PermissionError):
        return


def _session(leader: int) -> list[tuple[int, int]]:
    """Return (process, group) of everything alive in the session or group of ``leader``, as far as ``/proc`` tells."""
    if not _PROC_WORKS:
        return []
    found = []
    for name in os.listdir(_PROC):
        if not name.isdigit():
            continue
        try:
            stat = (_PROC / name / "stat").read_bytes()
        except OSError:
            continue  # it ended while we looked
        # The second field is the program's name in parentheses and may hold anything, a ")" too.
        state, _parent, group, session = stat[stat.rindex(b")") + 2 :].split(b" ", 4)[:4]
        if leader in (int(group), int(session)) and state.decode("ascii") not in _DEAD:
            found.append((int(name), int(group)))
    return found


def end_leftovers(below: Path, patience: float = 3.0) -> list[int]:
    """Kill the processes whose HOME is somewhere below the directory ``below``, and return their ids. Blocks.

    Looks again until none is left, ``patience`` seconds long, since each may have started others meanwhile. Where
    there is no ``/proc`` none is found.
    """
    wanted = b"HOME=" + os.fsencode(below) + b"/"
    ended: dict[int, None] = {}
    until = time.monotonic() + patience
    while found := _living_at(wanted):
        for pid in found:
            ended[pid] = None
            _quietly(os.kill, pid, signal.SIGKILL)
        if time.monotonic() >= until:
            break
        time.sleep(0.01)
    return list(ended)


def _living_at(home: bytes) -> list[int]:
    if not _PROC_WORKS:
        return []
    found = []
    for name in os.listdir(_PROC):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = (_PROC / name / "environ").read_bytes()  # empty for what is dead and waits for its parent
        except OSError:
            continue  # somebody else's, or it ended while we looked
        if any(entry.startswith(home) for entry in environment.split(b"\0")):
            found.append(int(name))
    return found


_PROC_WORKS = (_PROC / "self" / "stat").exists()
