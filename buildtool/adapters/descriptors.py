"""How many files and connections this program may have open at once: many systems begin with too few for a farm."""

from __future__ import annotations

import resource


def allow_open(count: int) -> int:
    """Raise this program's own limit to ``count``, as far as the system lets, and return what it is then.

    A limit that is higher already stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft == resource.RLIM_INFINITY:
        return count
    if soft >= most:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError):  # macOS has a limit besides this one, which is not told here
        return soft
    return most
