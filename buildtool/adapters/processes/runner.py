"""Commands as real processes: each in a session of its own, watched by a thread of its own, never by the reactor.

On Linux each has a keeper as well, to which falls whatever leaves it (``keeper``).
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from buildtool.adapters.processes.child import Direct, Spawn
from buildtool.adapters.processes.command import CommandLimits, CommandLine, CommandResult, not_started
from buildtool.adapters.processes.gentleness import Gentleness
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.watcher import CHUNK, Line, supervise
from buildtool.concurrency.signal import Signal

__all__ = ["CHUNK", "CommandLine", "CommandResult", "OutputConsumer", "Processes", "RunningProcess"]

OutputConsumer = Callable[[bytes], Awaitable[None] | None]
"""Called in the reactor's thread with each piece of output, one at a time; the next waits for what it returns."""


class RunningProcess:
    """A command that was started. ``ended`` fires once, with Ended, when nothing of it is left.

    ``ended`` fails only with the exception that the consumer of the output raised; the command is stopped then.
    Cancelling ``ended`` stops the command too, but does not wait for its end.
    """

    def __init__(self, line: Line | None = None) -> None:
        """``line`` leads to the thread that watches it, None for one that could not be started."""
        self._line = line
        self.ended: Deferred[CommandResult] = Deferred(lambda _: self.stop("cancelled"))

    def stop(self, reason: str) -> None:
        """End the command: TERM to it and all that it started now, KILL to what is left after ``kill_after``.

        May be repeated.
        """
        if self._line is not None:
            self._line.stop(reason)

    def kill(self, reason: str) -> None:
        """End the command as ``stop`` does, but at once: it does harm."""
        if self._line is not None:
            self._line.kill(reason)

    def freeze(self) -> None:
        """Stop the command where it is, with all that it started; its limits stand still. May be repeated."""
        if self._line is not None:
            self._line.freeze(frozen=True)

    def thaw(self) -> None:
        """Resume what was frozen. May be repeated."""
        if self._line is not None:
            self._line.freeze(frozen=False)


class Processes:
    """A starter of commands, which knows all that run. Call its methods in the reactor's thread."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        keepers: Keepers | None = None,
        *,
        use_pidfd: bool = True,
        gentleness: Gentleness | None = None,
    ) -> None:
        """With ``keepers`` nothing escapes a command; without, what opens a session of its own lives on.

        ``use_pidfd=False`` waits for exits in a thread even where the system has pidfds. ``gentleness`` may change.
        """
        self._gentleness = gentleness or Gentleness()
        self._reactor = reactor
        self._spawn: Spawn = partial(Direct, use_pidfd=use_pidfd) if keepers is None else keepers.start
        self._running: set[RunningProcess] = set()
        self._idle = Signal()

    def start(
        self,
        command: CommandLine,
        *,
        on_output: OutputConsumer,
        time_limit: float | None = None,
        silence_limit: float | None = None,
        kill_after: float = 5.0,
        spawn: Spawn | None = None,
    ) -> RunningProcess:
        """Start ``command`` and return its handle at once; limits are in seconds of monotonic time.

        ``spawn`` starts it where something else does than these processes' own keepers: a sandbox.

        Standard output and error arrive in one stream, in order. ``silence_limit`` bounds the time without output;
        it rests while ``on_output`` is busy. A command that cannot be started ends with the cause "not started".
        """
        limits = CommandLimits(
            math.inf if time_limit is None else time_limit,
            math.inf if silence_limit is None else silence_limit,
            kill_after,
        )
        try:
            return self._start(command, limits, on_output, self._gentleness.spawning(spawn or self._spawn))
        except (OSError, RuntimeError) as error:  # no descriptors, or no threads, are left
            running = RunningProcess()
            running.ended.callback(not_started(command, error, 0.0))
            return running

    def _start(
        self, command: CommandLine, limits: CommandLimits, on_output: OutputConsumer, spawn: Spawn
    ) -> RunningProcess:
        line = Line()
        running = RunningProcess(line)

        def deliver(chunk: bytes) -> None:
            Deferred.fromCoroutine(_hand_over(on_output, chunk)).addCallbacks(lambda _: line.taken(), line.taken)

        def hand_over(chunk: bytes) -> None:
            self._reactor.callFromThread(deliver, chunk)

        def watch() -> None:
            outcome: CommandResult | Failure
            try:
                outcome = supervise(command, limits, line, hand_over, spawn)
            except Exception:  # noqa: BLE001 - whoever waits for the end gets it
                outcome = Failure()
            self._reactor.callFromThread(self._finished, running, line.failure or outcome)

        # A daemon thread: the interpreter must be able to exit when the reactor was torn down under a command.
        threading.Thread(target=watch, name=f"watch {command.argv[0]}", daemon=True).start()
        self._running.add(running)
        return running

    def _finished(self, running: RunningProcess, outcome: CommandResult | Failure) -> None:
        self._running.discard(running)
        if not running.ended.called:  # it was cancelled otherwise
            running.ended.callback(outcome)
        if not self._running:
            self._idle.notify()

    async def stop_all(self, reason: str) -> None:
        """Stop everything that runs, and return when all of it is gone: for the program's own end."""
        for running in tuple(self._running):
            running.stop(reason)
        if self._running:
            await self._idle.wait()


async def _hand_over(consumer: OutputConsumer, chunk: bytes) -> None:
    result = consumer(chunk)
    if inspect.isawaitable(result):
        await result
