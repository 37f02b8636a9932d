"""How gently commands use a machine that is lent: their priority, and whether disks serve everybody else first.

Both are set for a command's process group right after its start, and inherited by what it starts. Keepers stay as they
are, so that they can freeze and end a command however busy the machine is.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

from attrs import define
from twisted.logger import Logger

from buildtool.adapters.processes.child import Child, Spawn
from buildtool.adapters.processes.procfs import descendants

log = Logger()

_IOPRIO_SET = {
    "x86_64": 251, "i686": 289, "i386": 289, "aarch64": 30, "riscv64": 30, "armv7l": 314, "ppc64le": 273, "ppc64": 273,
    "s390x": 282,
}  # fmt: skip
"""The number of the system call, by architecture: the C library does not have it."""

_GROUP = 2
_IDLE = 3 << 13


@define(eq=False)
class Gentleness:
    """The wishes for commands that start from now on; ``nice`` is added to the priority that this program has.

    All commands together run on ``cpus`` processors at most, None for all that there are.
    """

    nice: int = 0
    io_idle: bool = False
    cpus: int | None = None

    def spawning(self, spawn: Spawn) -> Spawn:
        """Return what starts commands as ``spawn`` does, and makes them gentle."""

        def gently(*order: object) -> Child:
            child = spawn(*order)  # type: ignore[arg-type]
            self.apply(child.pid)
            return child

        return gently

    def apply(self, group: int) -> None:
        """Set the priorities of a process group, as far as it is still there."""
        try:
            if self.nice:
                own = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PGRP, group, min(19, own + self.nice))
            if self.io_idle:
                _set_idle(group)
            if self.cpus is not None and hasattr(os, "sched_setaffinity"):
                some = sorted(os.sched_getaffinity(0))[-self.cpus :]  # a system does its own work on the first
                for pid in (group, *(seen.pid for seen in descendants(group))):
                    os.sched_setaffinity(pid, some)
        except (ProcessLookupError, PermissionError):
            return  # it has ended
        except OSError as error:
            log.warn("a command does not run as gently as it should: {why}", why=error.strerror or str(error))


def can_io_idle() -> bool:
    """Return whether this system has an idle class for disks."""
    return sys.platform == "linux" and platform.machine() in _IOPRIO_SET


def _set_idle(group: int) -> None:
    if not can_io_idle():
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(_IOPRIO_SET[platform.machine()], _GROUP, group, _IDLE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
