"""How fast git and svn fetch: neither can be told a rate, so they stand still for moments after too much has come.

What came is what the kernel counts for the TCP connections of the process and its helpers, whichever those are: git's
own, curl's, ssh's. While they stand still the other side finds no room to send more: therefore their connections get
small buffers. Stops are short, so that nobody takes the connection for dead, and the processes go on if this program
dies.

The test is tests/adapters/vcs/test_pacing.py; docs/adr/0062-fetching-by-halts.md has the reasons.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import define, field
from twisted.logger import Logger

from buildtool.adapters.processes.procfs import descendants
from buildtool.concurrency.token_bucket import TokenBucket

log = Logger()

LONGEST_STOP = 0.8
"""Seconds that processes stand still at once: no server and no helper is impatient enough to notice."""

SLICE = 0.004
"""Seconds between two looks after a stop, and while a process is young: then much may come at once."""

CALM = 0.05
"""Seconds between two looks while nothing came too fast."""

YOUNG = 1.0
"""Seconds for which a process is young."""

LEAST_BUFFER, MOST_BUFFER = 16 * 1024, 256 * 1024
"""Bytes of a connection's buffer for what comes; an eighth of a second's share, between these."""

_PIDFD_GETFD = 438
_RECEIVED_AT = 128
"""Where ``struct tcp_info`` of Linux 4.1 and newer has the bytes that came, and their order were acknowledged."""

_kernel = ctypes.CDLL(None, use_errno=True)
_refused: set[str] = set()


class TransferPace:
    """The pace of one process and its helpers, which lead a group of their own; call it in the thread that reads it.

    ``rested`` is for how many seconds it stood still.
    """

    def __init__(self, bucket: TokenBucket, pid: int) -> None:
        self.rested = 0.0
        self._bucket = bucket
        self._pid = pid
        self._born = time.monotonic()
        self._tally = _Tally(pid)
        self._stopped_at: float | None = None
        self._until = 0.0
        self._guard: subprocess.Popen[bytes] | None = None

    def step(self) -> float:
        """Take in what came, stop the process or let it go on; return in how many seconds to call this again."""
        now = time.monotonic()
        if self._stopped_at is not None:
            if now < self._until:
                return self._until - now
            self._go_on()
            return SLICE
        rate = self._bucket.rate
        if rate is None:
            return CALM
        came = self._tally.came(int(min(MOST_BUFFER, max(LEAST_BUFFER, rate / 8))))
        owed = self._bucket.owe(came)
        if owed > 0 and self._tally.seen:
            self._halt(now)
            self._until = now + min(owed, LONGEST_STOP)
            return self._until - now
        return SLICE if now - self._born < YOUNG else CALM

    def close(self) -> None:
        """Stop the halts: the process goes on, whatever came."""
        if self._stopped_at is not None:
            self._go_on()
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.wait()
            if guard.stdin is not None:
                guard.stdin.close()

    def _halt(self, now: float) -> None:
        if self._guard is None:
            self._guard = _guard(self._pid)
        self._signal(signal.SIGSTOP)
        self._stopped_at = now

    def _go_on(self) -> None:
        if self._stopped_at is not None:
            self.rested += time.monotonic() - self._stopped_at
        self._stopped_at = None
        self._signal(signal.SIGCONT)

    def _signal(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signum)


def _guard(group: int) -> subprocess.Popen[bytes]:
    """Start what lets a process group go on once this program is gone: it notices by the end of its input."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s CONT -- "-$1"', "sh", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@define
class _Tally:
    """What came over the TCP connections of a process and all that it started."""

    pid: int
    seen: bool = False
    _of: dict[str, int] = field(factory=dict)

    def came(self, buffer: int) -> int:
        """Return how many bytes came since the last call; new connections get a buffer of so many bytes."""
        total = 0
        for name, connection in _connections(self.pid):
            with connection, suppress(OSError, struct.error):
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                (received,) = struct.unpack_from("=Q", info, _RECEIVED_AT)
                if name not in self._of:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                total += max(0, received - self._of.get(name, 0))
                self._of[name] = received
                self.seen = True
        return total


def _connections(pid: int) -> Iterator[tuple[str, socket.socket]]:
    """Yield the TCP connections of a process and its descendants, each with a name; they are the caller's to close."""
    for one in (pid, *(seen.pid for seen in descendants(pid))):
        try:
            handle = os.pidfd_open(one)
        except (AttributeError, OSError) as error:
            _note_refused(error)
            continue
        try:
            for number in os.listdir(f"/proc/{one}/fd"):
                name = _target(one, number)
                found = _taken(handle, int(number)) if name.startswith("socket:") else None
                if found is not None:
                    yield name, found
        except OSError:
            continue  # it has ended meanwhile
        finally:
            os.close(handle)


def _target(pid: int, number: str) -> str:
    """Return what a process has open under a number in the words of the kernel, "" where that is closed meanwhile."""
    try:
        return str(Path(f"/proc/{pid}/fd/{number}").readlink())
    except OSError:
        return ""


def _taken(handle: int, number: int) -> socket.socket | None:
    """Return what a process has open under a number, None where that is no TCP connection."""
    own = _kernel.syscall(_PIDFD_GETFD, handle, number, 0)
    if own < 0:
        _note_refused(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
        return None
    found = socket.socket(fileno=own)
    if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
        return found
    found.close()
    return None


def _note_refused(error: AttributeError | OSError) -> None:
    """Log once why the rate does not hold here; who just ended is no reason."""
    if isinstance(error, ProcessLookupError) or getattr(error, "errno", None) == 9:  # noqa: PLR2004 - EBADF
        return
    if not _refused:
        _refused.add("")
        log.warn(
            "the download rate does not bound what git and svn fetch: this system does not show their connections "
            "({error})",
            error=error,
        )
