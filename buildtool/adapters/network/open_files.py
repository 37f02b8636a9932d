"""How many files and connections this program may have open at once: many systems begin with too few for a farm."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

log = Logger()

SPARE = 16
"""With how few that can still be opened the operator is told: a question of git or a backup takes some at once."""

REMEMBERED = 60.0
"""Seconds for which it is told that a connection found none."""

_REFUSED = ("EMFILE encountered", "Could not accept new connection")
"""How Twisted says it, under the name of whichever class of port it was."""

OPEN_FILES = 4_096
"""Files and connections at once of a metaserver: what its ports bound, pages, and room for files."""

ALL_PORTS = 2_800
"""Connections that all ports of a metaserver hold together, where the system allows it."""

LEAST = 4
"""Connections that a port holds whatever the system allows."""


def allow_open(count: int) -> int:
    """Raise this program's own limit to ``count`` as far as the system lets, never lower it; return what it is."""
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


def crowded() -> str:
    """Return in words that hardly any file or connection can be opened any more, or "" while there are enough."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    try:
        taken = len(os.listdir("/dev/fd"))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return ""
        taken = limit
    if limit - taken > SPARE:
        return ""
    return f"{taken} of {limit} files and connections are open, further ones are refused: raise ulimit -n"


@implementer(ILogObserver)
@define(eq=False)
class RefusedConnections:
    """A watch for connections that found no descriptor and were closed at once; says so once a minute."""

    now: Callable[[], float]
    _last: float | None = field(default=None, init=False)

    def watch(self) -> None:
        """Start to listen."""
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self)

    def problems(self) -> tuple[str, ...]:
        """Return that it happened within the last minute, if it did."""
        return (_NO_MORE,) if self._lately() else ()

    def _lately(self) -> bool:
        return self._last is not None and self.now() - self._last < REMEMBERED

    def __call__(self, event: LogEvent) -> None:
        if str(event.get("log_format", "")).startswith(_REFUSED):
            told, self._last = self._lately(), self.now()
            if not told:
                log.error("trouble: {line}", line=_NO_MORE)


_NO_MORE = "connections are closed at once, since no more files and connections can be open: raise ulimit -n"


def room_for(connections: int) -> int:
    """Return how many of a port's connections this program may have open, files and the other ports considered.

    Where the system allows few, a port that is full makes room for newcomers; one that has no descriptors left cannot
    even do that.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    free = soft - max(32, soft // 4)
    return min(connections, max(LEAST, connections * free // ALL_PORTS))
