"""The thread that watches one command from its start until nothing of it is left.

It sleeps in one ``poll`` on three descriptors: the command's output, the news of its processes (its keeper's connection
or a pidfd; where there is neither a second thread waits), and a bell that the reactor's thread rings for ``stop`` and
for "the last piece of output was taken". So nothing is polled by time while a command runs, and at most one piece of
output is in memory: a command whose output nobody takes is held up by its full pipe.
"""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from twisted.python.failure import Failure

from buildtool.adapters.processes.child import Child, Spawn
from buildtool.adapters.processes.command import (
    Cause,
    CommandLimits,
    CommandLine,
    CommandResult,
    not_started,
    signal_name,
)

CHUNK = 64 * 1024
"""The most bytes of output that are handed over at once."""

UNKILLABLE = 30.0
"""Seconds after KILL until processes that the kernel will not end (a dead disk) are given up and reported."""

TAKING_LIMIT = 30.0
"""Seconds that a consumer has, once the processes are gone, to take the output that is left."""

DRAIN_LIMIT = 1024 * 1024
"""Bytes still read once the group is gone: the most a pipe holds, so that a process that left cannot go on for ever."""


class Bell:
    """A descriptor that becomes readable when rung, from any thread; ringing a closed bell does nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write, False)
        self._open = True

    def ring(self) -> None:
        """Make the descriptor readable."""
        with self._lock:
            if self._open:
                try:
                    os.write(self._write, b"!")
                except BlockingIOError:
                    return  # thousands of rings are pending already: it will be heard

    def clear(self) -> None:
        """Make the bell unreadable again."""
        try:
            while os.read(self.fd, 512):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close the descriptors."""
        with self._lock:
            self._open = False
            os.close(self.fd)
            os.close(self._write)


class Line:
    """The line between the reactor's thread and the watching thread.

    Each attribute is set by a single assignment, followed by a ring where the other thread may be asleep.
    """

    def __init__(self) -> None:
        self.bell = Bell()
        self.stop_reason: str | None = None
        self.hurry = False
        self.busy = False
        self.frozen = False
        self.failure: Failure | None = None

    def freeze(self, *, frozen: bool) -> None:
        """Ask for the command to be stopped where it is, or to go on."""
        if self.frozen != frozen:
            self.frozen = frozen
            self.bell.ring()

    def stop(self, reason: str) -> None:
        """Ask for the command's end; the first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.bell.ring()

    def kill(self, reason: str) -> None:
        """Ask for the command's end without any delay; the first reason counts."""
        self.hurry = True
        self.stop(reason)
        self.bell.ring()

    def taken(self, failure: Failure | None = None) -> None:
        """Record that the last piece of output was taken, or that it could not be."""
        if failure is not None:
            self.failure = failure
            self.stop(f"its output could not be taken: {failure.getErrorMessage()}")
        self.busy = False
        self.bell.ring()


def supervise(
    command: CommandLine,
    limits: CommandLimits,
    line: Line,
    hand_over: Callable[[bytes], None],
    spawn: Spawn,
) -> CommandResult:
    """Run a command to its end (blocking), giving each piece of output to ``hand_over``; ``line`` is closed then."""
    began = time.monotonic()
    with ExitStack() as closing:
        closing.callback(line.bell.close)
        if line.stop_reason is not None:
            return CommandResult(None, None, "stopped", 0.0, line.stop_reason, processor=0.0)
        try:
            pipe, outlet = os.pipe()
            closing.callback(os.close, pipe)
            try:
                child = spawn(command, outlet, line.bell.ring)
            finally:
                os.close(outlet)  # the command has it now: when all its holders are gone, the output ends
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return not_started(command, error, time.monotonic() - began)
        closing.callback(child.close)
        try:
            output = pipe if child.screen is None else child.screen
            return _Watch(line, limits, child, output, began).live(hand_over)
        except BaseException:
            child.send(signal.SIGKILL)  # nobody would watch it any more
            raise


def _read(output: int) -> bytes:
    """Return the next output, empty at its end."""
    try:
        return os.read(output, CHUNK)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""  # so a terminal says that nobody has its other end


class _Watch:
    """The watching thread's own state from the command's start until its group is gone."""

    def __init__(
        self,
        line: Line,
        limits: CommandLimits,
        child: Child,
        pipe: int,
        began: float,
    ) -> None:
        self._line = line
        self._limits = limits
        self._child = child
        self._pipe = pipe
        self._began = began
        self._cause: Cause = "exited"
        self._detail = ""
        self._last_output = began
        self._frozen_at: float | None = None
        self._rested = 0.0  # seconds in which it was frozen
        self._was_busy = False
        self._writers = True  # somebody may still hold the pipe's other end
        self._readable = True  # the pipe may hold something
        self._drained = 0
        self._kill_at = math.inf  # finite once TERM was sent
        self._killed_at: float | None = None
        self._gone_at: float | None = None
        self._pause = 0.001

    def live(self, hand_over: Callable[[bytes], None]) -> CommandResult:
        while True:
            now = time.monotonic()
            self._freeze_or_thaw(now)
            self._judge(now)
            self._escalate(now)
            self._look_for_group(now)
            if self._over(now):
                return self._ended(now)
            readable = self._wait(now)
            if readable:
                chunk = _read(self._pipe)
                if chunk:
                    self._last_output = time.monotonic()
                    self._drained += len(chunk) if self._gone_at is not None else 0
                    self._line.busy = self._was_busy = True
                    hand_over(chunk)
                else:
                    self._writers = self._readable = False

    def _freeze_or_thaw(self, now: float) -> None:
        """Take note of what was asked for; the limits stand still while the command is frozen."""
        if self._line.frozen and self._frozen_at is None and self._going_on:
            self._child.freeze()
            self._frozen_at = now
        elif self._frozen_at is not None and not (self._line.frozen and self._going_on):
            self._rested += now - self._frozen_at
            self._last_output += now - self._frozen_at
            self._frozen_at = None
            if self._going_on:
                self._child.thaw()

    @property
    def _going_on(self) -> bool:
        """Whether the command runs, and was not told to end."""
        return self._child.returncode is None and self._kill_at == math.inf

    def _judge(self, now: float) -> None:
        """Notice what ends the command before its own end: ``stop``, then the limits."""
        if self._was_busy and not self._line.busy:
            self._was_busy = False
            self._last_output = now
        if not self._going_on:
            return
        if self._line.stop_reason is not None:
            self._end("stopped", self._line.stop_reason, now)
        elif self._frozen_at is not None:
            return
        elif now >= self._time_ends():
            self._end("time limit", f"ran longer than its limit of {self._limits.time:g} s", now)
        elif now >= self._silence_ends():
            self._end("silence limit", f"wrote nothing for {self._limits.silence:g} s", now)

    def _time_ends(self) -> float:
        return self._began + self._rested + self._limits.time

    def _silence_ends(self) -> float:
        return math.inf if self._was_busy else self._last_output + self._limits.silence

    def _end(self, cause: Cause, detail: str, now: float) -> None:
        self._cause, self._detail = cause, detail
        self._terminate(now)

    def _terminate(self, now: float) -> None:
        """Send TERM; what is frozen is killed at once, since it could heed TERM only by running again."""
        if self._frozen_at is None:
            self._child.send(signal.SIGTERM)
            self._kill_at = now + self._limits.kill_after
        else:
            self._kill_at = now

    def _escalate(self, now: float) -> None:
        if (
            (now >= self._kill_at or (self._line.hurry and self._kill_at != math.inf))
            and self._killed_at is None
            and self._gone_at is None
        ):
            self._child.send(signal.SIGKILL)
            self._killed_at = now
            self._pause = 0.001

    def _look_for_group(self, now: float) -> None:
        """After the program's own end, see to it that nothing of its group is left."""
        if self._child.returncode is None or self._gone_at is not None:
            return
        # A normal end whose pipe is closed as well needs no look at the other processes of the machine.
        thorough = self._kill_at != math.inf or self._writers_left()
        if self._child.gone(thorough=thorough):
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
            self._detail = f"{self._detail}; {self._child.describe()} could not be killed".lstrip("; ")
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
        poller.register(self._line.bell.fd, select.POLLIN)
        news = self._child.news
        if news is not None:
            poller.register(news, select.POLLIN)
        wants_output = self._readable and not self._was_busy
        if wants_output:
            poller.register(self._pipe, select.POLLIN)
        due = self._due(now)
        wait_ms = None if due == math.inf else max(0, math.ceil((due - now) * 1000))
        events = {fd for fd, _ in poller.poll(wait_ms)}
        if self._line.bell.fd in events:
            self._line.bell.clear()
        if news in events:
            self._child.hear()
        if self._pipe in events:
            return True
        if wants_output and self._gone_at is not None:
            self._readable = False  # whoever wrote is gone, and all of it was read
        return False

    def _due(self, now: float) -> float:
        """Return when to look again even if nothing happens."""
        if self._gone_at is not None:
            return self._gone_at + TAKING_LIMIT if self._was_busy else now
        if self._child.returncode is not None and self._child.news is None:
            # Nothing tells when a group is empty: look often at first, since most end at once when told to.
            self._pause = min(self._pause * 2, 0.05)
            return now + self._pause
        if self._killed_at is not None:
            return self._killed_at + UNKILLABLE
        if self._kill_at != math.inf:
            return self._kill_at
        if self._frozen_at is not None:
            return math.inf
        return min(self._time_ends(), self._silence_ends())

    def _ended(self, now: float) -> CommandResult:
        status = self._child.returncode
        code = status if status is not None and status >= 0 else None
        signum = -status if status is not None and status < 0 else None
        said = self._detail
        if self._cause == "exited" and self._child.lost:
            self._cause, said = "sandbox ended", "ended the sandbox that it ran in"
        elif self._cause == "exited":
            how = f"exited with code {code}" if signum is None else f"was ended by {signal_name(signum)}"
            said = f"{how}; {said}" if said else how
        return CommandResult(
            code, signum, self._cause, now - self._began - self._rested, said, processor=self._child.processor
        )
