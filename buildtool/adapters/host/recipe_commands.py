"""A recipe's commands as real processes, in a sandbox where there is one, and within limits.

Tested by tests/ports/test_commands.py and tests/adapters/host/limits/test_limits.py.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.limits.watching import LimitWatch, resource_limits, within_disk
from buildtool.adapters.network.build_proxy import BuildProxy
from buildtool.adapters.processes.child import Spawn
from buildtool.adapters.processes.command import UMASK
from buildtool.adapters.processes.runner import CommandLine, Processes, RunningProcess
from buildtool.adapters.processes.sandbox.bubblewrap import SYSTEM
from buildtool.adapters.processes.sandbox.sandboxes import Sandbox, Sandboxes
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import MachineFault, Unavailable
from buildtool.model.guest.limits import BuildLimits, ExceededLimit, limits_for
from buildtool.ports.buildserver import CommandEnd, OpenNetwork, SlotPlace
from buildtool.ports.common import Executor
from buildtool.project.fetching import NamedHost

KILL_AFTER = 5.0
"""Seconds that a command which was told to go has, before it is killed."""


@define(eq=False)
class BuildBounds:
    """The bounds of builds that begin from now on: ``limits`` of each, ``builds`` at once, ``groups`` that keep them.

    ``machine`` is how many bytes of memory there are, None where nothing tells. ``kept`` are the bytes of the disk that
    its owner keeps from all of them.
    """

    limits: BuildLimits
    builds: int = 1
    groups: ControlGroups = field(factory=ControlGroups)
    machine: int | None = None
    kept: int = 0

    def allow(self, memory: int | None) -> None:
        """Set how many bytes all builds together may use, None for the usual share of the machine's."""
        self.limits = evolve(self.limits, memory=limits_for(self.machine, self.builds, said=memory).memory)


@frozen
class RecipeCommands:
    """The ``ports.Commands`` of a build server; without ``sandboxes`` nothing but the account bounds a build.

    ``downloading`` bounds how many bytes a second come to commands that may use the network. With ``ahead``, the next
    sandbox of a slot is made as soon as one has ended. ``umask`` are the rights that what commands make lacks;
    ``roots`` are the files of other systems, by their names.
    """

    processes: Processes
    pool: Executor
    clock: IReactorTime
    sandboxes: Sandboxes | None = None
    bounds: BuildBounds | None = None
    downloading: TokenBucket | None = None
    ahead: bool = False
    umask: int = UMASK
    roots: Mapping[str, Path] = field(factory=dict)

    async def enclose(self, slot: int, tree: Path, place: SlotPlace, root: str = "") -> CommandRunner:
        """Return a runner in a sandbox made for this Attempt alone. Raises MachineFault."""
        if root and (self.sandboxes is None or root not in self.roots):
            raise MachineFault(f"cannot build in {root}: it is not here any more, or there is no sandbox for it")
        if self.sandboxes is None:
            runner = CommandRunner(self.processes, self.pool, self.clock)
            runner.umask = self.umask
            return runner
        sandboxes, files = self.sandboxes, self.roots.get(root)
        try:
            sandbox, watch = await self.pool.run(lambda: self._made(sandboxes, slot, tree, place, files))
        except OSError as error:
            raise MachineFault(f"cannot make the sandbox: {_words(error)}") from error
        # What a root has at a path is not looked at for who wrote a recipe: it is not what this machine has there.
        system = map(Path, SYSTEM) if files is None else ()
        sees = (tree, place.home, place.temporary, *sandboxes.readable, *system)
        runner = CommandRunner(self.processes, self.pool, self.clock, sandbox, watch, sees, self.downloading)
        runner.umask = self.umask
        if self.ahead:
            runner.after = partial(sandboxes.make_ahead, slot)
        return runner

    def _made(
        self, sandboxes: Sandboxes, slot: int, tree: Path, place: SlotPlace, root: Path | None
    ) -> tuple[Sandbox, LimitWatch | None]:
        """Make a sandbox, and the watch over what is used in it. Blocks. Raises OSError."""
        bounds = self.bounds
        if bounds is None:
            return sandboxes.make(slot, tree, place, root=root), None
        limits = within_disk(bounds.limits, tree, bounds.builds, bounds.kept)
        group = bounds.groups.make(slot, limits)
        files, freezer = ((), None) if group is None else (group.processes, group.freezer)
        try:
            sandbox = sandboxes.make(slot, tree, place, resource_limits(limits, group), files, freezer, root)
        except BaseException:
            if group is not None:
                group.remove()
            raise
        return sandbox, LimitWatch(limits, group, sandbox.pid, (tree, place.home, place.temporary))


def _words(error: OSError) -> str:
    """Return what the system said, with the file that it said it of."""
    said = error.strerror or str(error)
    return said if error.filename is None else f"{os.fsdecode(error.filename)}: {said}"


class CommandRunner:
    """The ``ports.EnclosedCommands`` of one Attempt; ``after`` is called in a thread once its sandbox has ended.

    ``umask`` are the rights that what its commands make lacks.
    """

    _log = Logger()
    after: Callable[[], None] | None = None
    umask = UMASK

    def __init__(
        self,
        processes: Processes,
        pool: Executor,
        clock: IReactorTime,
        sandbox: Sandbox | None = None,
        watch: LimitWatch | None = None,
        sees: tuple[Path, ...] | None = None,
        downloading: TokenBucket | None = None,
    ) -> None:
        self._processes = processes
        self._pool = pool
        self._clock = clock
        self._sandbox = sandbox
        self._watch = watch
        self._sees = sees
        self._downloading = downloading
        self._running: RunningProcess | None = None
        self._next: IDelayedCall | None = None

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], Awaitable[None]],
        time_limit: float,
        silence_limit: float,
        terminal: bool = False,
    ) -> RunningProcess:
        spawn: Spawn | None = None if self._sandbox is None else self._sandbox.start
        self._running = running = self._processes.start(
            CommandLine(tuple(argv), cwd, environment, self._sees, self.umask, terminal),
            on_output=on_output,
            time_limit=time_limit,
            silence_limit=silence_limit,
            kill_after=KILL_AFTER,
            spawn=spawn,
        )
        if self._watch is not None and self._next is None:
            self._look_later(self._watch)
        return running

    def _look_later(self, watch: LimitWatch) -> None:
        self._next = self._clock.callLater(watch.pause, lambda: Deferred.fromCoroutine(self._look(watch)))

    async def _look(self, watch: LimitWatch) -> None:
        exceeded = await self._pool.run(watch.look)
        if self._next is None:
            return  # the Attempt is over
        if exceeded is not None and self._running is not None:
            self._running.kill(exceeded.words())
        else:
            self._look_later(watch)

    async def open_network(self, hosts: Sequence[NamedHost], note: Callable[[str], None]) -> OpenNetwork:
        """Open a way to some hosts; without a sandbox nothing keeps commands from any. Raises MachineFault."""
        if self._sandbox is None:
            return UnboundedNetwork()
        try:
            listening = await self._pool.run(self._sandbox.listen)
            return BuildProxy(self._clock, listening, hosts, note, self._downloading)
        except OSError as error:
            raise MachineFault(f"cannot open the sandbox's network: {error.strerror or error}") from error

    def exceeded(self, ended: CommandEnd) -> ExceededLimit | None:
        """Return the limit by which a command ended, if it was one."""
        return None if self._watch is None else self._watch.judge(ended)

    async def end(self) -> None:
        """End the sandbox; what ran in it is gone when this returns. Raises MachineFault."""
        sandbox, self._sandbox = self._sandbox, None
        coming, self._next = self._next, None
        if coming is not None and coming.active():
            coming.cancel()
        if sandbox is None:
            return
        try:
            await self._pool.run(lambda: self._ended(sandbox))
        except OSError as error:
            raise MachineFault(f"cannot end the sandbox: {error.strerror or error}") from error
        if self.after is not None:
            Deferred.fromCoroutine(self._pool.run(self.after)).addErrback(self._not_ahead)

    def _not_ahead(self, failure: Failure) -> None:
        """Log why no sandbox was made ahead: the next Attempt makes its own, or says why it cannot."""
        failure.trap(OSError, Unavailable)
        self._log.info("no sandbox was made ahead: {why}", why=failure.getErrorMessage())

    def _ended(self, sandbox: Sandbox) -> None:
        sandbox.end()
        if self._watch is not None and self._watch.group is not None:
            self._watch.group.remove()


class UnboundedNetwork:
    """The network as it is, of a machine without a sandbox."""

    environment: Mapping[str, str] = {}

    async def close(self) -> tuple[int, int]:
        """Close nothing: it was there before, and what went over it is not known."""
        return 0, 0
