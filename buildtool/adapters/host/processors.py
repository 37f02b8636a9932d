"""How much of the machine's processors and memory this process may use: affinity, and the limits of control groups.

A donor lends part of a machine by ``taskset``, a cpuset, a container or a quota of a service; a recipe that is told of
more only gets in its own way. Both versions of control groups are looked at, and every group up to the root, each of
which may have a limit of its own. The functions called ``parse_...`` are pure.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

from attrs import frozen

ROOT = Path("/")

_UNLIMITED = 1 << 60
"""Bytes from which on a limit of memory is none: version 1 says "no limit" by the largest number of pages."""


def usable_processors(root: Path = ROOT) -> int:
    """Return on how many processors this process can run at once, at least 1; a part of one counts as one.

    ``root`` is where ``proc`` and what it names are looked for.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in group_places("cpu", root) if (quota := _quota(group)) is not None]
    return max(1, math.ceil(min([float(affinity), *quotas])))


def memory_limit(root: Path = ROOT) -> int | None:
    """Return how many bytes of memory the control groups of this process leave it, None when they set no limit."""
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    limits = (parse_limit(_read(group / name)) for group in group_places("memory", root) for name in names)
    return min((limit for limit in limits if limit is not None), default=None)


def parse_limit(text: str) -> int | None:
    """Return a limit in bytes; ``max``, what is no number, and what is more than there can be is none."""
    number = text.strip()
    return int(number) if _is_number(number) and int(number) < _UNLIMITED else None


def parse_quota(text: str) -> float | None:
    """Return how many processors a quota and a period (``150000 100000``) are; ``max`` and ``-1`` are no limit."""
    words = text.split()
    if len(words) != 2 or not all(map(_is_number, words)) or int(words[1]) == 0:  # noqa: PLR2004 - both
        return None
    return int(words[0]) / int(words[1])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20  # noqa: PLR2004 - digits of 2 to the 64th


@frozen
class Mount:
    """A mounted hierarchy of control groups: where it is, which of its groups is seen there, and what it controls."""

    place: PurePosixPath
    top: PurePosixPath
    controllers: frozenset[str]


def parse_mounts(text: str) -> list[Mount]:
    """Return the hierarchies that ``/proc/self/mountinfo`` tells of; ``controllers`` are empty for version 2."""
    found = []
    for line in text.splitlines():
        front, _, back = line.partition(" - ")
        fields, kind = front.split(), back.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):  # noqa: PLR2004 - see proc(5)
            continue
        controllers = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset[str]()
        found.append(Mount(PurePosixPath(_plain(fields[4])), PurePosixPath(_plain(fields[3])), controllers))
    return found


def parse_groups(text: str) -> list[tuple[frozenset[str], PurePosixPath]]:
    """Return controllers and path of each group that ``/proc/self/cgroup`` tells of; none is the one of version 2."""
    found = []
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if colon and number.isdecimal() and path.startswith("/"):
            found.append((frozenset(name for name in names.split(",") if name), PurePosixPath(path)))
    return found


def group_places(controller: str, root: Path = ROOT) -> tuple[Path, ...]:
    """Return the directory of each control group that this process is in, from its own up to the highest in sight."""
    return _places(root, controller, _read(root / "proc/self/mountinfo"), _read(root / "proc/self/cgroup"))


@lru_cache(maxsize=8)
def _places(root: Path, controller: str, mountinfo: str, cgroup: str) -> tuple[Path, ...]:
    """Return the directories that these texts of the kernel tell of: understood once, they are read for each build."""
    return tuple(_all_places(root, controller, parse_mounts(mountinfo), cgroup))


def _all_places(root: Path, controller: str, mounts: list[Mount], cgroup: str) -> Iterator[Path]:
    for controllers, path in parse_groups(cgroup):
        if controllers and controller not in controllers:
            continue
        for mount in mounts:
            if (controller in mount.controllers) if controllers else not mount.controllers:
                yield from _upwards(root, mount, path)


def _upwards(root: Path, mount: Mount, path: PurePosixPath) -> Iterator[Path]:
    # In a container a group may be named as the host sees it, of which only a part is mounted.
    below = path.relative_to(mount.top) if path.is_relative_to(mount.top) else PurePosixPath()
    place = root / mount.place.relative_to("/")
    parts = [part for part in below.parts if part not in ("/", "..")]
    for count in range(len(parts), -1, -1):
        yield place.joinpath(*parts[:count])


def _quota(group: Path) -> float | None:
    second = _read(group / "cpu.max")
    if second:
        return parse_quota(second)
    return parse_quota(f"{_read(group / 'cpu.cfs_quota_us')} {_read(group / 'cpu.cfs_period_us')}")


def _plain(text: str) -> str:
    """Return a path of ``mountinfo`` with its blanks as they are."""
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _read(place: Path) -> str:
    try:
        # Most of what is looked for is not there: a path's own method takes longer than the system to say so.
        with open(place, encoding="utf-8", errors="surrogateescape") as stream:  # noqa: PTH123
            return stream.read()
    except OSError:
        return ""
