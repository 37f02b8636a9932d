"""A recipe's commands as real processes, in a sandbox where there is one. Tested by tests/ports/test_commands.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from buildtool.adapters.processes.child import Spawn
from buildtool.adapters.processes.runner import CommandLine, Processes, RunningProcess
from buildtool.adapters.processes.sandbox.sandboxes import Sandbox, Sandboxes
from buildtool.errors import MachineFault
from buildtool.ports.buildserver import SlotPlace
from buildtool.ports.common import Executor

KILL_AFTER = 5.0
"""Seconds that a command which was told to go has, before it is killed."""


class RecipeCommands:
    """The ``ports.Commands`` of a build server; without ``sandboxes`` nothing but the account bounds a build."""

    def __init__(self, processes: Processes, pool: Executor, sandboxes: Sandboxes | None = None) -> None:
        self._processes = processes
        self._pool = pool
        self._sandboxes = sandboxes

    async def enclose(self, slot: int, tree: Path, place: SlotPlace) -> CommandRunner:
        """Return a runner in a sandbox made for this Attempt alone. Raises MachineFault."""
        sandboxes = self._sandboxes
        if sandboxes is None:
            return CommandRunner(self._processes, self._pool)
        try:
            return CommandRunner(
                self._processes, self._pool, await self._pool.run(lambda: sandboxes.make(slot, tree, place))
            )
        except OSError as error:
            raise MachineFault(f"cannot make the sandbox: {error.strerror or error}") from error


class CommandRunner:
    """The ``ports.EnclosedCommands`` of one Attempt."""

    def __init__(self, processes: Processes, pool: Executor, sandbox: Sandbox | None = None) -> None:
        self._processes = processes
        self._pool = pool
        self._sandbox = sandbox

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], Awaitable[None]],
        time_limit: float,
        silence_limit: float,
    ) -> RunningProcess:
        spawn: Spawn | None = None if self._sandbox is None else self._sandbox.start
        return self._processes.start(
            CommandLine(tuple(argv), cwd, environment),
            on_output=on_output,
            time_limit=time_limit,
            silence_limit=silence_limit,
            kill_after=KILL_AFTER,
            spawn=spawn,
        )

    async def end(self) -> None:
        """End the sandbox; what ran in it is gone when this returns. Raises MachineFault."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is None:
            return
        try:
            await self._pool.run(sandbox.end)
        except OSError as error:
            raise MachineFault(f"cannot end the sandbox: {error.strerror or error}") from error
