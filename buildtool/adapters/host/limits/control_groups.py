"""Control groups of a build server's own, one a build: version 2 where it was delegated, version 1 for root.

Which there are is tried at the start: a group is made, and written to. Nothing is believed of ``/proc/mounts``.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import field, frozen
from twisted.logger import Logger

from buildtool.adapters.host.processors import ROOT, group_places
from buildtool.adapters.processes.freezer import VERSION_1, VERSION_2, thaw_by_name
from buildtool.model.guest.limits import BuildLimits

_NAME = "buildtool"
_OWN = "buildtool-server"
_PERIOD = 100_000
_CONTROLLERS = ("memory", "pids", "cpu", "freezer")
_PROCESSES = "cgroup.procs"
_THREADS = "tasks"
"""Where a process of version 1 with one thread writes itself: to move one that may have more, the kernel first waits
until nothing on the machine forks, which takes 13 ms unless it has just done so."""


@frozen
class SlotGroup:
    """The control groups of one build: a directory for each controller, all the same one in version 2."""

    places: Mapping[str, Path]
    unified: bool

    @property
    def processes(self) -> tuple[Path, ...]:
        """The files that a process with one thread writes itself into."""
        name = _PROCESSES if self.unified else _THREADS
        return tuple(dict.fromkeys(place / name for place in self.places.values()))

    @property
    def freezer(self) -> Path | None:
        """The file by which all processes in it are stopped, None where there is none."""
        place = self.places.get("freezer")
        path = None if place is None else place / (VERSION_2 if self.unified else VERSION_1)
        return path if path is not None and path.exists() else None

    def limit(self, limits: BuildLimits) -> None:
        """Set the limits. Raises OSError."""
        memory, pids, cpu = (self.places.get(name) for name in ("memory", "pids", "cpu"))
        if memory is not None and limits.memory is not None:
            _write(memory / ("memory.max" if self.unified else "memory.limit_in_bytes"), limits.memory)
            with suppress(OSError):  # a kernel that does not count swap has none of these files
                _write(memory / ("memory.swap.max" if self.unified else "memory.memsw.limit_in_bytes"),
                       0 if self.unified else limits.memory)  # fmt: skip
            if self.unified:
                _write(memory / "memory.oom.group", 1)
        if pids is not None:
            _write(pids / "pids.max", limits.processes)
        if cpu is not None and limits.cpus is not None:
            quota = int(limits.cpus * _PERIOD)
            if self.unified:
                _write(cpu / "cpu.max", f"{quota} {_PERIOD}")
            else:
                _write(cpu / "cpu.cfs_quota_us", quota)

    def memory_peak(self) -> int | None:
        """Return the most bytes of memory that were used, None where that is not counted."""
        place = self.places.get("memory")
        return (
            None if place is None else _number(place / ("memory.peak" if self.unified else "memory.max_usage_in_bytes"))
        )

    def memory_kills(self) -> int:
        """Return how many processes were killed since the memory was used up."""
        place = self.places.get("memory")
        return (
            0
            if place is None
            else _counted(place / ("memory.events" if self.unified else "memory.oom_control"), "oom_kill")
        )

    def process_refusals(self) -> int:
        """Return how often a process could not be started since there were too many."""
        place = self.places.get("pids")
        return 0 if place is None else _counted(place / "pids.events", "max")

    def remove(self) -> None:
        """Remove the groups; one that is not empty yet is left for the next start."""
        for place in dict.fromkeys(self.places.values()):
            with suppress(OSError):
                place.rmdir()


@frozen
class ControlGroups:
    """The control groups below which those of builds are made; ``places`` is empty where there are none.

    Each is held by a lock on its directory, which ends with the process: ``held`` are their descriptors.
    """

    places: Mapping[str, Path] = field(factory=dict)
    unified: bool = False
    held: tuple[int, ...] = ()

    _log = Logger()

    @classmethod
    def found(cls, name: str, root: Path = ROOT) -> ControlGroups:
        """Return those that can be used, in a new group with ``name`` in its own; those that nothing holds are removed.

        Two build servers of a machine may have one name, in two farms. ``root`` is where ``proc`` and ``sys`` are
        looked for. Blocks.
        """
        name = f"{name}-{secrets.token_hex(4)}"
        return cls._unified(name, root) or cls._apart(name, root)

    @classmethod
    def _apart(cls, name: str, root: Path) -> ControlGroups:
        """Return the usable controllers of version 1, of which each has a hierarchy of its own."""
        usable, held = {}, []
        for controller in _CONTROLLERS:
            for own in group_places(controller, root)[:1]:
                if (own / "cgroup.controllers").is_file():
                    continue
                place = own / f"{_NAME}-{name}"
                descriptor = _taken(place)
                if descriptor is not None:
                    usable[controller] = place
                    held.append(descriptor)
        return cls(usable, held=tuple(held))

    @classmethod
    def _unified(cls, name: str, root: Path) -> ControlGroups | None:
        """Return the group of version 2 that was delegated to this process, None if none was.

        Only leaves may have processes, so this one moves into a leaf beside those of the builds.
        """
        own = next(iter(group_places("", root)), None)
        if own is None or not (own / "cgroup.controllers").is_file():
            return None
        there = set(_read(own / "cgroup.controllers").split()) & {"memory", "pids", "cpu"}
        if not {"memory", "pids"} <= there:
            return None
        try:
            if _read(own / _PROCESSES).split() != [str(os.getpid())]:
                return None  # it is not ours alone: a session's, say
            (own / _OWN).mkdir(exist_ok=True)
            _write(own / _OWN / _PROCESSES, os.getpid())
            _write(own / "cgroup.subtree_control", " ".join(f"+{one}" for one in sorted(there)))
            place = own / f"{_NAME}-{name}"
            descriptor = _taken(place)
            if descriptor is None:
                return None
            _write(place / "cgroup.subtree_control", " ".join(f"+{one}" for one in sorted(there)))
        except OSError:
            return None
        return cls(dict.fromkeys((*sorted(there), "freezer"), place), unified=True, held=(descriptor,))

    def make(self, slot: int, limits: BuildLimits) -> SlotGroup | None:
        """Make the group of a slot's build, with its limits; None where there are no control groups. Raises OSError."""
        if not self.places:
            return None
        # To move a process into a group of the scheduler waits for others that run, a millisecond and more.
        wanted = {one for one in self.places if one != "cpu" or limits.cpus is not None or self.unified}
        places = {one: place / f"slot-{slot:d}" for one, place in self.places.items() if one in wanted}
        group = SlotGroup(places, self.unified)
        group.remove()
        for place in dict.fromkeys(group.places.values()):
            place.mkdir(exist_ok=True)
            _thaw(place)  # it may be one that could not be removed
        group.limit(limits)
        return group

    def memory_used(self) -> int | None:
        """Return how many bytes of memory all builds have that are not given back at once; None if none are counted."""
        place = self.places.get("memory")
        if place is None:
            return None
        used = _number(place / ("memory.current" if self.unified else "memory.usage_in_bytes"))
        given_back = _counted(place / "memory.stat", "inactive_file" if self.unified else "total_inactive_file")
        return None if used is None else max(0, used - given_back)

    def hold_back(self, memory: int | None) -> None:
        """Limit builds to so many bytes together, beyond which the kernel takes what it can; None for no limit.

        Nothing is killed: version 2 takes it at once and slows down what asks for more, version 1 takes it when others
        want it. Blocks. Raises OSError.
        """
        place = self.places.get("memory")
        if place is not None and self.unified:
            _write(place / "memory.high", "max" if memory is None else memory)
        elif place is not None:
            _write(place / "memory.soft_limit_in_bytes", -1 if memory is None else memory)

    def words(self) -> str:
        """Return which there are, for people."""
        if not self.places:
            return "no control groups: memory and disk of builds are looked at twice a second"
        version = "version 2" if self.unified else "version 1"
        return f"control groups, {version}: {', '.join(self.places)}"

    def close(self) -> None:
        """Remove the groups."""
        for place in dict.fromkeys(self.places.values()):
            _emptied(place)
        for descriptor in self.held:
            os.close(descriptor)


def _taken(place: Path) -> int | None:
    """Make a group, beside which nothing is left of programs that have ended; return what holds it.

    None where none can be made, nor groups in it, or no process can be put into it.
    """
    try:
        with _alone(place.parent):
            for left in place.parent.glob(f"{_NAME}-*/"):
                _sweep(left)
            place.mkdir()
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return None
    try:
        (place / "tried").mkdir()
        (place / "tried").rmdir()
        if os.access(place / _PROCESSES, os.W_OK):
            return descriptor
    except OSError:
        pass
    _emptied(place)
    os.close(descriptor)
    return None


@contextmanager
def _alone(own: Path) -> Iterator[None]:
    """Keep others from making groups in one, so that none is swept away before it is held. Raises OSError."""
    descriptor = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(place: Path) -> None:
    """Remove a group, with those in it, unless a process holds it."""
    with suppress(OSError):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for inner in place.glob("*/"):
                _kill(inner)
            _emptied(place)
        finally:
            os.close(descriptor)


def _thaw(place: Path) -> None:
    for name in (VERSION_1, VERSION_2):
        thaw_by_name(str(place / name))


def _kill(place: Path) -> None:
    """Kill what a build server that was killed left in a group; what is frozen dies once it is thawed."""
    for word in _read(place / _PROCESSES).split():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(word), signal.SIGKILL)
    _thaw(place)


def _emptied(place: Path) -> None:
    """Remove a group with those in it, as far as there is nothing in them."""
    with suppress(OSError):
        for inner in place.iterdir():
            if inner.is_dir():
                with suppress(OSError):
                    inner.rmdir()
        place.rmdir()


def _write(path: Path, value: object) -> None:
    path.write_text(str(value), encoding="ascii")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _counted(path: Path, name: str) -> int:
    """Return a number from a file of lines such as ``oom_kill 1``."""
    rows: Sequence[list[str]] = [line.split() for line in _read(path).splitlines()]
    return next((int(row[1]) for row in rows if len(row) == len(("name", "count")) and row[0] == name), 0)
