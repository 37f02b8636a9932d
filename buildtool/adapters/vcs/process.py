"""Processes of version control programs: what they say is read with bounds, and their end is seen to."""

from __future__ import annotations

import os
import select
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from attrs import frozen
from twisted.logger import Logger

from buildtool.adapters.runtime.fair_pool import worked_for
from buildtool.adapters.storage.trees import plain_bytes, remove_tree
from buildtool.adapters.vcs.pacing import TransferPace
from buildtool.concurrency.asker import hung_up
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import BuildToolError, MachineFault

log = Logger()

OUT_LIMIT = 8 * 1024 * 1024
"""The most bytes of answer that are kept; what is longer is read line by line or is an error."""

_ERR_LIMIT = 16 * 1024

_TERM_PATIENCE = 3.0
"""Seconds that a process has to end by itself when it is told to."""

_LOOK = 0.5
"""Seconds between two looks whether anybody still waits for the answer."""


@frozen
class ProcessOutput:
    """The end of a process: its exit code, its whole standard output, and the end of its standard error."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """The output as text, without the white space around it."""
        return self.out.decode("utf-8", "replace").strip()


class TimedOut(BuildToolError):
    """A process of version control went on longer than it may."""

    code = "vcs-timed-out"


def read(
    process: subprocess.Popen[bytes],
    program: str,
    limit: float,
    on_line: Callable[[bytes], None] | None = None,
    sink: Callable[[bytes], object] | None = None,
    pace: TransferPace | None = None,
) -> ProcessOutput:
    """Read both streams to their ends with bounded memory, then return how the process ended.

    ``limit`` is in seconds, without those for which it stands still by its ``pace``; ``on_line`` takes the output line
    by line instead of keeping it, ``sink`` as it comes.
    Raises TimedOut, MachineFault for an answer without end, and Unavailable when its askers have left (in a
    ``FairPool``). The process is the caller's to ``end``.
    """
    deadline = time.monotonic() + limit
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, out), (process.stderr, err)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, kept)
        while selector.get_map():
            look = _LOOK if pace is None else pace.step()
            late = deadline + (0.0 if pace is None else pace.rested)
            ready = selector.select(min(look, max(0.0, late - time.monotonic())))
            _check_waited_for(late, ready=bool(ready))
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
            del err[:-_ERR_LIMIT]
            if on_line is not None:
                _take_lines(out, on_line)
            elif sink is not None:
                sink(bytes(out))
                out.clear()
            if len(out) > OUT_LIMIT:
                raise MachineFault(f"{program} answered with more than {OUT_LIMIT} bytes")
    if pace is not None:
        pace.close()
        deadline += pace.rested
    return ProcessOutput(
        _exit_code(process, max(0.1, deadline - time.monotonic())), bytes(out), err.decode("utf-8", "replace")
    )


def _check_waited_for(deadline: float, *, ready: bool) -> None:
    """Raise TimedOut when it is too late, Unavailable when nobody waits any more."""
    waits = worked_for()
    if waits is not None and waits.gone:
        raise hung_up()
    if not ready and time.monotonic() >= deadline:
        raise TimedOut("")


def _exit_code(process: subprocess.Popen[bytes], patience: float) -> int:
    """Wait for the end of a process that has closed its output. Raises TimedOut."""
    if not _has_ended(process, patience):
        raise TimedOut("")
    return process.wait()


def _has_ended(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait so many seconds for the end of a process; return whether it came. Its exit code is still to be taken."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # no Linux, or an old kernel: then it is looked for again and again
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(patience * 1_000))
    finally:
        os.close(descriptor)


def _take_lines(out: bytearray, on_line: Callable[[bytes], None]) -> None:
    *lines, rest = out.split(b"\n")
    for line in lines:
        on_line(bytes(line))
    out[:] = rest


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its helpers: TERM, so that it takes its lock files away, then KILL."""
    if process.returncode is None:
        signal_group(process.pid, signal.SIGTERM)
        _has_ended(process, _TERM_PATIENCE)
        # Also when it has ended: a helper may not have. Until its exit code is taken nobody else has its number.
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
    streams: tuple[IO[bytes] | None, ...] = (process.stdout, process.stderr)
    for stream in streams:
        if stream is not None:
            stream.close()


def signal_group(pid: int, signum: signal.Signals) -> None:
    """Send a signal to the whole process group that ``pid`` leads, if it is still there."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):
        return  # it has ended meanwhile


class VcsProgram:
    """A program whose runs are processes that end with this one where they obey. All methods block, in any thread."""

    def __init__(self, name: str, missing: Callable[[str], BuildToolError]) -> None:
        """``missing`` makes the error for a machine on which what was to be run is not installed.

        ``downloading`` may be set: the bucket by which processes fetch.
        """
        self._name = name
        self._missing = missing
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._paces: dict[int, TransferPace] = {}
        self.downloading: TokenBucket | None = None
        self._closed = False

    def close(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End every process that runs and start no more: for the program's own end. KILL leaves none."""
        with self._lock:
            self._closed = True
            running = tuple(self._running)
        if running:
            log.warn("cut off: {name} ({count} running)", name=self._name, count=len(running))
        for pid in running:
            signal_group(pid, signum)

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process, which must be given to ``end``. Its environment is the one that is given, whole.

        Raises what ``missing`` makes, and MachineFault if it cannot be run for another reason.
        """
        with self._lock:
            if self._closed:
                raise MachineFault("the program is shutting down")
            try:
                process = subprocess.Popen(
                    words,
                    cwd=cwd,
                    env=environment,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                if isinstance(error, FileNotFoundError) and error.filename == words[0]:
                    raise self._missing(words[0]) from error
                where = "" if cwd is None else f" in {cwd}"
                raise MachineFault(f"{words[0]} cannot be run{where}: {error.strerror}") from error
            self._running.add(process.pid)
            return process

    def pace(self, process: subprocess.Popen[bytes]) -> TransferPace | None:
        """Return the pace for ``read`` of a process that was started, None where it may fetch as fast as it can."""
        if self.downloading is None or self.downloading.rate is None:
            return None
        return self._paces.setdefault(process.pid, TransferPace(self.downloading, process.pid))

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a process, and wait until it is gone."""
        pace = self._paces.pop(process.pid, None)
        if pace is not None:
            pace.close()
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
        end(process)
        with self._lock:
            self._running.discard(process.pid)

    def write_own(self, path: Path, content: bytes) -> None:
        """Write a file of settings unless unchanged: a build, the same user, could alter it. Raises MachineFault."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with self._lock:
            with suppress(OSError):
                if plain_bytes(path) == content:
                    return
            try:
                path.parent.mkdir(exist_ok=True)
                for one in (path, fresh):
                    remove_tree(one)
                fresh.write_bytes(content)
                fresh.replace(path)
            except OSError as error:
                raise MachineFault(f"cannot write {path}: {error.strerror}") from error
