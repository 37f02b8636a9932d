"""Commands as real processes: each in a session of its own, watched by a thread of its own, never by the reactor.

The watching thread sleeps in one ``poll`` on three descriptors: the command's output, its exit (a pidfd where the
system has them, else a second thread that waits), and a bell that the reactor's thread rings for ``stop`` and for
"the last piece of output was taken". So nothing is polled by time while a command runs, and at most one piece of
output is in memory: a command whose output nobody takes is held up by its full pipe.
"""

from __future__ import annotations

import errno
import inspect
import math
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from buildtool.adapters.groups import Group

CHUNK = 64 * 1024
"""The most bytes of output that are handed over at once."""

UNKILLABLE = 30.0
"""Seconds after KILL until processes that the kernel will not end (a dead disk) are given up and reported."""

TAKING_LIMIT = 30.0
"""Seconds that a consumer has, once the processes are gone, to take the output that is left."""

DRAIN_LIMIT = 1024 * 1024
"""Bytes still read once the group is gone: the most a pipe holds, so that a process that left cannot go on for ever."""

OutputConsumer = Callable[[bytes], Awaitable[None] | None]
"""Called in the reactor's thread with each piece of output, one at a time; the next waits for what it returns."""

Cause = Literal["exited", "time limit", "silence limit", "stopped", "not started"]


def _check_argv(_instance: object, _attribute: object, argv: tuple[str, ...]) -> None:
    if not argv or not argv[0]:
        raise ValueError("a command line needs a program")


@frozen
class CommandLine:
    """A program with its arguments, the directory it runs in, and its whole environment: nothing is inherited."""

    argv: tuple[str, ...] = field(validator=_check_argv)
    cwd: Path
    environment: Mapping[str, str]


@frozen
class Ended:
    """How a command ended, after ``seconds``. Its process group is gone by then.

    ``code`` or ``signal`` say how the program itself ended (both None if it never ran, or could not be killed);
    ``cause`` says why: of itself, a limit, ``stop``, or because it could not be started. ``detail`` is one line.
    """

    code: int | None
    signal: int | None
    cause: Cause
    seconds: float
    detail: str

    @property
    def succeeded(self) -> bool:
        """True if the program ended of itself with exit code 0."""
        return self.cause == "exited" and self.code == 0

    @property
    def killed_from_outside(self) -> bool:
        """True if SIGKILL ended it and it was not ours: on most systems, the kernel was short of memory.

        Exit code 137 is what a shell makes of a child that SIGKILL ended.
        """
        return self.cause == "exited" and (self.signal == signal.SIGKILL or self.code == 128 + signal.SIGKILL)


class Running:
    """A command that was started. ``ended`` fires once, with Ended, when its process group is gone.

    ``ended`` fails only with the exception that the consumer of the output raised; the command is stopped then.
    Cancelling ``ended`` stops the command too, but does not wait for its end.
    """

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop = stop
        self.ended: Deferred[Ended] = Deferred(lambda _: stop("cancelled"))

    def stop(self, reason: str) -> None:
        """End the command: TERM to its whole group now, KILL to what is left after ``kill_after``. May be repeated."""
        self._stop(reason)


class Processes:
    """Starts commands and knows all that run. Call its methods in the reactor's thread."""

    def __init__(self, reactor: IReactorFromThreads, *, use_pidfd: bool = True) -> None:
        """``use_pidfd=False`` waits for exits in a thread even where the system has pidfds."""
        self._reactor = reactor
        self._use_pidfd = use_pidfd and hasattr(os, "pidfd_open")
        self._running: set[Running] = set()
        self._waiting: list[Deferred[None]] = []

    def start(
        self,
        command: CommandLine,
        *,
        on_output: OutputConsumer,
        time_limit: float | None = None,
        silence_limit: float | None = None,
        kill_after: float = 5.0,
    ) -> Running:
        """Start ``command`` and return its handle at once; limits are in seconds of monotonic time.

        Standard output and error arrive in one stream, in order. ``silence_limit`` bounds the time without output;
        it rests while ``on_output`` is busy. A command that cannot be started ends with the cause "not started".
        """
        watch = _Watch(command, time_limit, silence_limit, kill_after, self._use_pidfd)
        running = Running(watch.stop)
        self._running.add(running)

        def taken(failure: Failure | None) -> None:
            watch.taken(failure)

        def deliver(chunk: bytes) -> None:
            Deferred.fromCoroutine(_hand_over(on_output, chunk)).addCallbacks(lambda _: taken(None), taken)

        def finished(ended: Ended, failure: Failure | None) -> None:
            self._running.discard(running)
            if not running.ended.called:
                if failure is None:
                    running.ended.callback(ended)
                else:
                    running.ended.errback(failure)
            if not self._running:
                waiting, self._waiting = self._waiting, []
                for waiter in waiting:
                    waiter.callback(None)

        def supervise() -> None:
            ended = watch.supervise(lambda chunk: self._reactor.callFromThread(deliver, chunk))
            self._reactor.callFromThread(finished, ended, watch.failure)

        # A daemon thread: the interpreter must be able to exit when the reactor was torn down under a command.
        threading.Thread(target=supervise, name=f"watch {command.argv[0]}", daemon=True).start()
        return running

    async def run(
        self,
        command: CommandLine,
        *,
        on_output: OutputConsumer,
        time_limit: float | None = None,
        silence_limit: float | None = None,
        kill_after: float = 5.0,
    ) -> Ended:
        """Start ``command`` as ``start`` does and return how it ended. Cancelling stops it."""
        running = self.start(
            command,
            on_output=on_output,
            time_limit=time_limit,
            silence_limit=silence_limit,
            kill_after=kill_after,
        )
        return await running.ended

    async def stop_all(self, reason: str) -> None:
        """Stop everything that runs, and return when all of it is gone: for the program's own end."""
        for running in tuple(self._running):
            running.stop(reason)
        if self._running:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter


async def _hand_over(consumer: OutputConsumer, chunk: bytes) -> None:
    result = consumer(chunk)
    if inspect.isawaitable(result):
        await result


class _Bell:
    """A descriptor that becomes readable when rung, from any thread; ringing a closed bell does nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write, False)
        self._open = True

    def ring(self) -> None:
        with self._lock:
            if self._open:
                try:
                    os.write(self._write, b"!")
                except BlockingIOError:
                    return  # thousands of rings are pending already: it will be heard

    def clear(self) -> None:
        try:
            while os.read(self.fd, 512):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        with self._lock:
            self._open = False
            os.close(self.fd)
            os.close(self._write)


class _Watch:
    """One command from start to end. ``supervise`` runs in the watching thread, all else in the reactor's."""

    def __init__(
        self,
        command: CommandLine,
        time_limit: float | None,
        silence_limit: float | None,
        kill_after: float,
        use_pidfd: bool,
    ) -> None:
        self._command = command
        self._time_limit = math.inf if time_limit is None else time_limit
        self._silence_limit = math.inf if silence_limit is None else silence_limit
        self._kill_after = kill_after
        self._use_pidfd = use_pidfd
        self._bell = _Bell()
        self.failure: Failure | None = None
        # Written by one thread and read by the other; each is a single assignment followed by a ring.
        self._stop_reason: str | None = None
        self._busy = False

    def stop(self, reason: str) -> None:
        if self._stop_reason is None:
            self._stop_reason = reason
            self._bell.ring()

    def taken(self, failure: Failure | None) -> None:
        if failure is not None:
            self.failure = failure
            self.stop(f"its output could not be taken: {failure.getErrorMessage()}")
        self._busy = False
        self._bell.ring()

    def supervise(self, hand_over: Callable[[bytes], None]) -> Ended:
        try:
            return self._supervise(hand_over)
        finally:
            self._bell.close()

    def _supervise(self, hand_over: Callable[[bytes], None]) -> Ended:
        self._began = time.monotonic()
        if self._stop_reason is not None:
            return Ended(None, None, "stopped", 0.0, self._stop_reason)
        try:
            process = _popen(self._command)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return Ended(None, None, "not started", time.monotonic() - self._began, why_not_started(self._command, error))
        assert process.stdout is not None
        with process.stdout:
            exit_fd = self._watch_exit(process)
            try:
                return _Life(self, process, exit_fd).live(hand_over)
            finally:
                if exit_fd is not None:
                    os.close(exit_fd)

    def _watch_exit(self, process: subprocess.Popen[bytes]) -> int | None:
        """Return a descriptor that tells of the exit, or None if a thread will ring the bell instead."""
        if self._use_pidfd:
            try:
                return os.pidfd_open(process.pid)
            except OSError:
                pass  # an old kernel, or a sandbox without the call: the thread does as well

        def wait() -> None:
            process.wait()
            self._bell.ring()

        threading.Thread(target=wait, name=f"wait {process.pid}", daemon=True).start()
        return None


class _Life:
    """The watching thread's own state from the command's start until its group is gone."""

    def __init__(self, watch: _Watch, process: subprocess.Popen[bytes], exit_fd: int | None) -> None:
        assert process.stdout is not None
        self._watch = watch
        self._process = process
        self._group = Group(process.pid)
        self._pipe = process.stdout.fileno()
        self._exit_fd = exit_fd
        self._cause: Cause = "exited"
        self._detail = ""
        self._last_output = watch._began
        self._was_busy = False
        self._writers = True  # somebody may still hold the pipe's other end
        self._readable = True  # the pipe may hold something
        self._drained = 0
        self._kill_at = math.inf  # finite once TERM was sent
        self._killed_at: float | None = None
        self._gone_at: float | None = None
        self._pause = 0.001

    def live(self, hand_over: Callable[[bytes], None]) -> Ended:
        while True:
            now = time.monotonic()
            self._judge(now)
            self._escalate(now)
            self._look_for_group(now)
            if self._over(now):
                return self._ended(now)
            readable = self._wait(now)
            if readable:
                chunk = os.read(self._pipe, CHUNK)
                if chunk:
                    self._last_output = time.monotonic()
                    self._drained += len(chunk) if self._gone_at is not None else 0
                    self._watch._busy = self._was_busy = True
                    hand_over(chunk)
                else:
                    self._writers = self._readable = False

    def _judge(self, now: float) -> None:
        """Notice what ends the command before its own end: ``stop``, then the limits."""
        if self._was_busy and not self._watch._busy:
            self._was_busy = False
            self._last_output = now
        if self._process.returncode is not None or self._kill_at != math.inf:
            return
        watch = self._watch
        if watch._stop_reason is not None:
            self._end("stopped", watch._stop_reason, now)
        elif now >= watch._began + watch._time_limit:
            self._end("time limit", f"ran longer than its limit of {watch._time_limit:g} s", now)
        elif now >= self._silence_ends():
            self._end("silence limit", f"wrote nothing for {watch._silence_limit:g} s", now)

    def _silence_ends(self) -> float:
        return math.inf if self._was_busy else self._last_output + self._watch._silence_limit

    def _end(self, cause: Cause, detail: str, now: float) -> None:
        self._cause, self._detail = cause, detail
        self._terminate(now)

    def _terminate(self, now: float) -> None:
        self._group.send(signal.SIGTERM)
        self._kill_at = now + self._watch._kill_after

    def _escalate(self, now: float) -> None:
        if now >= self._kill_at and self._killed_at is None and self._gone_at is None:
            self._group.send(signal.SIGKILL)
            self._killed_at = now
            self._pause = 0.001

    def _look_for_group(self, now: float) -> None:
        """After the program's own end, see to it that nothing of its group is left."""
        if self._process.returncode is None or self._gone_at is not None:
            return
        # A normal end whose pipe is closed as well needs no look at the other processes of the machine.
        thorough = self._kill_at != math.inf or self._writers_left()
        if self._group.gone(thorough=thorough):
            self._gone_at = now
        elif self._kill_at == math.inf:
            self._terminate(now)

    def _writers_left(self) -> bool:
        if not self._writers:
            return False
        poller = select.poll()
        poller.register(self._pipe, 0)
        return not poller.poll(0)  # a hang-up is told unasked

    def _over(self, now: float) -> bool:
        if self._killed_at is not None and self._gone_at is None and now >= self._killed_at + UNKILLABLE:
            self._detail = f"{self._detail}; {self._group.describe()} could not be killed".lstrip("; ")
            return True
        if self._gone_at is None:
            return False
        if self._was_busy:
            if now < self._gone_at + TAKING_LIMIT:
                return False
            self._detail = f"{self._detail}; the end of its output was not taken in time".lstrip("; ")
            return True
        return not self._readable or self._drained >= DRAIN_LIMIT

    def _wait(self, now: float) -> bool:
        """Sleep until something happens or is due; return True if there is output to read."""
        poller = select.poll()
        poller.register(self._watch._bell.fd, select.POLLIN)
        if self._exit_fd is not None and self._process.returncode is None:
            poller.register(self._exit_fd, select.POLLIN)
        wants_output = self._readable and not self._was_busy
        if wants_output:
            poller.register(self._pipe, select.POLLIN)
        due = self._due(now)
        wait_ms = None if due == math.inf else max(0, math.ceil((due - now) * 1000))
        events = {fd for fd, _ in poller.poll(wait_ms)}
        if self._watch._bell.fd in events:
            self._watch._bell.clear()
        if self._exit_fd is not None and self._exit_fd in events:
            self._process.wait()
        if self._pipe in events:
            return True
        if wants_output and self._gone_at is not None:
            self._readable = False  # whoever wrote is gone, and all of it was read
        return False

    def _due(self, now: float) -> float:
        """Return when to look again even if nothing happens."""
        if self._gone_at is not None:
            return self._gone_at + TAKING_LIMIT if self._was_busy else now
        if self._process.returncode is not None:
            # Nothing tells when a group is empty: look often at first, since most end at once when told to.
            self._pause = min(self._pause * 2, 0.05)
            return now + self._pause
        if self._killed_at is not None:
            return self._killed_at + UNKILLABLE
        if self._kill_at != math.inf:
            return self._kill_at
        return min(self._watch._began + self._watch._time_limit, self._silence_ends())

    def _ended(self, now: float) -> Ended:
        status = self._process.returncode
        code = status if status is not None and status >= 0 else None
        signum = -status if status is not None and status < 0 else None
        said = self._detail
        if self._cause == "exited":
            how = f"exited with code {code}" if signum is None else f"was ended by {_signal_name(signum)}"
            said = f"{how}; {said}" if said else how
        return Ended(code, signum, self._cause, now - self._watch._began, said)


def _popen(command: CommandLine) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command.argv,
        cwd=command.cwd,
        env=dict(command.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
        umask=0o022,
    )


def why_not_started(command: CommandLine, error: Exception) -> str:
    """Return the one line that says why ``command`` could not be started."""
    program = command.argv[0]
    if not isinstance(error, OSError):
        return f"cannot start {program!r}: {error}"
    if not command.cwd.is_dir():
        return f"cannot start {program!r}: its directory {str(command.cwd)!r} does not exist"
    if isinstance(error, FileNotFoundError):
        if "/" not in program:
            path = command.environment.get("PATH", os.defpath)
            return f"cannot start {program!r}: no such program in PATH={path}"
        if (command.cwd / program).exists():
            return f"cannot start {program!r}: the interpreter that it names is missing"
        return f"cannot start {program!r}: no such file"
    if error.errno == errno.ENOEXEC:
        return f"cannot start {program!r}: not a program of this machine (a script needs a #! line)"
    return f"cannot start {program!r}: {error.strerror or error}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal has no name
