"""What a sandbox may have of what the whole machine shares, set from within it.

Runs in the keeper, with the standard library alone. Tested by tests/adapters/processes/sandbox/test_box.py.
"""

from __future__ import annotations

import resource
from contextlib import suppress

from buildtool.adapters.processes import procfs

SHARED_MEMORY = 64 * 1024 * 1024
"""Bytes of ``/dev/shm``, as containers have it, and of all segments of shared memory together."""

_SHARE_OF_WATCHES = 4


def limit(what: int, most: int) -> None:
    """Set the most of a resource that this process may have, no more than it may have now."""
    _, hard = resource.getrlimit(what)
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (least, least))


def bound_memory() -> None:
    """Set what segments of shared memory the sandbox may have, which stay when no process has them any more."""
    with suppress(OSError), open(f"{procfs.PROC}/sys/kernel/shmall", "wb") as file:  # noqa: PTH123 - older kernels
        file.write(b"%d" % (SHARED_MEMORY // resource.getpagesize()))


def share_watches() -> None:
    """Set how many watches over files a build may have, so that most are left to its account's own programs.

    What a user namespace has counts for the account above it, too, which runs out of them otherwise.
    """
    for name in ("instances", "watches"):
        with suppress(OSError, ValueError):  # a kernel without such watches, or without a limit for a namespace
            with open(f"{procfs.PROC}/sys/fs/inotify/max_user_{name}", "rb") as file:  # noqa: PTH123
                most = int(file.read())
            with open(f"{procfs.PROC}/sys/user/max_inotify_{name}", "wb") as file:  # noqa: PTH123
                file.write(b"%d" % (most // _SHARE_OF_WATCHES))
