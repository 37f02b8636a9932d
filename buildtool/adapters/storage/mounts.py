"""Mounts that a build left behind: what is laid out or deleted must never reach through one into something else.

A bind mount within one file system has the same device on both sides, so it is only the kernel's table that tells.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_DETACH, _NO_FOLLOW = 2, 8
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
"""Of what the kernel's table escapes nothing."""

_PLACE = 4


def detach_mounts(path: Path, *, itself: bool) -> None:
    """Take away whatever is mounted below ``path``, or on ``itself`` too. Blocks.

    Raises OSError, naming the place, for what this user may not unmount: nothing of the tree may be touched then.
    """
    try:
        table = _TABLE.read_bytes()
    except FileNotFoundError:
        return  # not Linux
    name = os.fsencode(path.name)
    if _PLAIN.issuperset(name) and b"/" + name not in table:
        return  # a place below would have the name in it, as it is; to find where a path leads takes longer
    for place in reversed(mounted(table, os.fsencode(Path(os.path.realpath(path.parent)) / path.name), itself=itself)):
        _detach(place)


def mounted(table: bytes, top: bytes, *, itself: bool) -> list[bytes]:
    """Return the places of mounts below ``top`` according to the kernel's table, in the order of their mounting."""
    found = []
    for line in table.splitlines():
        words = line.split(b" ")
        if len(words) > _PLACE:
            place = _ESCAPED.sub(lambda one: bytes([int(one[1], 8)]), words[_PLACE])
            if place.startswith(top.rstrip(b"/") + b"/") or (itself and place == top):
                found.append(place)
    return found


def _detach(place: bytes) -> None:
    unmount = ctypes.CDLL(None, use_errno=True).umount2
    if unmount(place, _DETACH | _NO_FOLLOW) != 0 and ctypes.get_errno() not in {errno.EINVAL, errno.ENOENT}:
        why = os.strerror(ctypes.get_errno())
        raise OSError(errno.EBUSY, f"something is mounted there, and cannot be unmounted ({why})", os.fsdecode(place))
