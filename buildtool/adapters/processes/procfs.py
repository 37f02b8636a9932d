"""What Linux's ``/proc`` says of processes: who is whose child, which group and session, which mark.

Imports nothing but the standard library, since the keepers of commands do without anything else. Whoever ends while
we look is left out. The children of a process stand in a file of their own where the kernel has it; elsewhere all
processes of the machine are looked through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

PROC = "/proc"
WORKS = os.path.exists(f"{PROC}/self/stat")  # noqa: PTH110 - pathlib would double the time that a keeper takes to start

_DEAD = frozenset((b"Z", b"X", b"x"))
_STOPPED = frozenset((b"T", b"t"))
_MARK_LINE = b"Max file locks"


class SeenProcess(NamedTuple):
    """A process as it was a moment ago. ``alive`` is False for one that only waits for its parent to notice.

    ``stopped`` is True for one that does nothing until it is continued, ``waits`` for one that waits for a disk, or for
    a child that it has lent its memory (``vfork``), and heeds no signal before that.
    """

    pid: int
    alive: bool
    parent: int
    group: int
    session: int
    stopped: bool = False
    waits: bool = False


def look_at(pid: int) -> SeenProcess | None:
    """Return what ``/proc`` says of one process, None if there is no such process."""
    stat = _read(f"{PROC}/{pid}/stat")
    if stat is None:
        return None
    # The second field is the program's name in parentheses and may hold anything, a ")" too.
    state, parent, group, session = stat[stat.rindex(b")") + 2 :].split(b" ", 4)[:4]
    standing = (state in _STOPPED, state == b"D")
    return SeenProcess(pid, state not in _DEAD, int(parent), int(group), int(session), *standing)


def all_pids() -> Iterator[int]:
    """Yield the ids of all processes of the machine, none where there is no ``/proc``."""
    if WORKS:
        yield from (int(name) for name in os.listdir(PROC) if name.isdigit())


def descendants(*roots: int) -> list[SeenProcess]:
    """Return the descendants of ``roots``, without these, parents first.

    Also those that look dead: a process whose first thread ended looks so while its other threads go on.
    """
    found: list[SeenProcess] = []
    waiting, known = list(roots), set(roots)
    children = _children_of if _CHILDREN_FILE else _looked_up()
    while waiting:
        parent = waiting.pop(0)
        for seen in children(parent):
            if seen.pid not in known:
                known.add(seen.pid)
                waiting.append(seen.pid)
                found.append(seen)
    return found


def resident_bytes(processes: Iterable[SeenProcess]) -> int:
    """Return how many bytes of memory processes have now; what several share is counted for each."""
    pages = 0
    for seen in processes:
        words = (_read(f"{PROC}/{seen.pid}/statm") or b"").split()
        pages += int(words[1]) if len(words) > 1 else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class ProcessorTally:
    """A count of what one process after the other started by a keeper used of processors."""

    def __init__(self) -> None:
        self._counted = 0

    def since(self, keeper: int) -> float | None:
        """Return the seconds that all which the process ``keeper`` started used since the last call.

        None where that is not known. What has ended was counted by the process that waited for it, in hundredths.
        """
        own = _ticks(keeper)
        if own is None:
            return None
        by_now = sum(own[2:]) + sum(sum(_ticks(seen.pid) or ()) for seen in descendants(keeper))
        used, self._counted = by_now - self._counted, by_now
        return max(0, used) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> tuple[int, ...] | None:
    """Return the times of a process in its programs and in the kernel, and those of what it has waited for."""
    stat = _read(f"{PROC}/{pid}/stat")
    return None if stat is None else tuple(map(int, stat[stat.rindex(b")") + 2 :].split(b" ")[11:15]))


def mark_of(pid: int) -> int | None:
    """Return the mark that a process was given (see ``mark_for``), None if it has none."""
    limits = _read(f"{PROC}/{pid}/limits") or b""
    for line in limits.splitlines():
        if line.startswith(_MARK_LINE):
            hard = line[len(_MARK_LINE) :].split()[1:2]
            return int(hard[0]) if hard and hard[0].isdigit() else None
    return None


def environment_of(pid: int) -> tuple[bytes, ...]:
    """Return the environment that a process was started with: nothing if it is dead, or another user's."""
    return tuple((_read(f"{PROC}/{pid}/environ") or b"").split(b"\0"))


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - see WORKS
            return file.read()
    except OSError:
        return None  # it ended while we looked, or is somebody else's


def _children_of(parent: int) -> list[SeenProcess]:
    try:
        threads = os.listdir(f"{PROC}/{parent}/task")
    except OSError:
        return []
    pids = [int(pid) for thread in threads for pid in (_read(f"{PROC}/{parent}/task/{thread}/children") or b"").split()]
    # An id may have been given to somebody else since: only a child of this parent counts.
    return [seen for seen in map(look_at, pids) if seen is not None and seen.parent == parent]


def _looked_up() -> Callable[[int], list[SeenProcess]]:
    families: dict[int, list[SeenProcess]] = {}
    for pid in all_pids():
        seen = look_at(pid)
        if seen is not None:
            families.setdefault(seen.parent, []).append(seen)
    return lambda parent: families.get(parent, [])


_CHILDREN_FILE = WORKS and os.path.exists(f"{PROC}/self/task/{os.getpid()}/children")  # noqa: PTH110 - see WORKS
