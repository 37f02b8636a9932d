"""What a build uses up ends it, and no other: by control groups where there are any, and without them too."""

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.recipe_commands import BuildBounds, CommandRunner, RecipeCommands
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.runner import Processes
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.adapters.runtime.threads import Threads
from buildtool.model.guest.limits import MIB, BuildLimits, ExceededLimit, Limited
from buildtool.model.records import AttemptEnd
from buildtool.ports.buildserver import CommandEnd
from tests.adapters.processes.sandbox.sandboxed import Slot, bubblewrap
from tests.support.packages import require_that

reactor: Any = global_reactor

EATER = "x = []\nwhile True: x.append(bytearray(b'x' * 4000000))"
FORKS = "for n in $(seq 200); do sleep 60 & done; wait"


@pytest.mark.world
class Limits(TestCase):
    """Builds that take too much, in sandboxes with small limits."""

    timeout = 60

    def setUp(self) -> None:
        self.pool = Threads(reactor, 4, "limits")
        self.addCleanup(self.pool.stop)
        self.keepers = Keepers(2)
        self.addCleanup(self.keepers.close)
        self.processes = Processes(reactor, self.keepers)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.processes.stop_all("the test is over")))
        self.top = Path(self.mktemp()).resolve()
        self.sandboxes = Sandboxes(self.keepers, bubblewrap(), self.top / "made")
        self.slots = 0

    async def runner(self, limits: BuildLimits, groups: ControlGroups | None = None) -> CommandRunner:
        self.slots += 1
        slot = Slot(self.top / f"slot-{self.slots}").make()
        bounds = BuildBounds(limits, 1, groups or ControlGroups())
        commands = RecipeCommands(self.processes, self.pool, reactor, self.sandboxes, bounds)
        self.tree = slot.tree
        runner = await commands.enclose(self.slots, slot.tree, slot.place)
        self.addCleanup(lambda: Deferred.fromCoroutine(runner.end()))
        return runner

    async def run_in(self, runner: CommandRunner, *argv: str) -> tuple[CommandEnd, ExceededLimit | None]:
        async def hear(_: bytes) -> None:
            """Take what is said."""

        ended = await runner.start(
            argv, self.tree, {"PATH": "/usr/bin:/bin"}, on_output=hear, time_limit=50.0, silence_limit=50.0
        ).ended
        return ended, runner.exceeded(ended)

    def groups(self) -> ControlGroups:
        found = ControlGroups.found(f"limits-{os.getpid()}")
        self.addCleanup(found.close)
        require_that(
            present="memory" in found.places, what="no control groups to use",
            remedy="run as root, or as a unit with Delegate=yes",
        )  # fmt: skip
        return found

    async def test_memory_is_limited_by_the_kernel_or_by_looking(self) -> None:
        for groups in (self.groups(), None):
            runner = await self.runner(BuildLimits(memory=60 * MIB), groups)
            ended, over = await self.run_in(runner, "python3", "-c", EATER)
            assert not ended.succeeded
            assert over is not None
            assert (over.what, over.end, over.limit) == (Limited.MEMORY, AttemptEnd.LIMITED, 60 * MIB)
            assert over.peak >= 50 * MIB
            await runner.end()

    async def test_processes_are_limited_by_the_kernel_either_way(self) -> None:
        runner = await self.runner(BuildLimits(processes=30), self.groups())
        ended, over = await self.run_in(runner, "sh", "-c", FORKS)
        assert not ended.succeeded
        assert over == ExceededLimit(Limited.PROCESSES, 30, 30)
        assert over.end is AttemptEnd.FAILED
        alone = await self.runner(BuildLimits(processes=30))
        ended, _ = await self.run_in(alone, "sh", "-c", FORKS)
        assert not ended.succeeded

    async def test_disk_and_files_are_limited_by_looking(self) -> None:
        for limits, script, what in (
            (BuildLimits(disk=20 * MIB), "while :; do head -c 1000000 /dev/zero >> big; done", Limited.DISK),
            (BuildLimits(files=300), "i=0; while :; do : > f$i; i=$((i+1)); done", Limited.FILES),
        ):
            runner = await self.runner(limits)
            ended, over = await self.run_in(runner, "sh", "-c", f"sleep 0.2; {script}")
            assert over is not None
            assert (over.what, over.limit) == (what, limits.of(what))
            assert over.peak > over.limit
            assert ended.cause == "stopped"
            assert ended.seconds < 30
            await runner.end()

    async def test_a_file_that_is_too_large_is_told_apart_from_other_failures(self) -> None:
        runner = await self.runner(BuildLimits(file_size=MIB))
        ended, over = await self.run_in(runner, "truncate", "-s", "1T", "sparse")
        assert over is not None or ended.code == 1
        ended, over = await self.run_in(runner, "sh", "-c", "head -c 3000000 /dev/zero > big")
        assert over == ExceededLimit(Limited.FILE_SIZE, MIB, MIB)
        ended, over = await self.run_in(await self.runner(BuildLimits(file_size=MIB)), "false")
        assert over is None

    async def test_who_stays_within_its_limits_is_left_alone(self) -> None:
        runner = await self.runner(BuildLimits(memory=200 * MIB, disk=20 * MIB), self.groups())
        ended, over = await self.run_in(runner, "sh", "-c", "head -c 1000000 /dev/zero > it; sleep 0.7")
        assert ended.succeeded
        assert over is None

    async def test_what_is_frozen_in_a_sandbox_stands_still_with_all_that_it_started_and_goes_on(self) -> None:
        runner = await self.runner(BuildLimits())
        counted = self.tree / "count"
        begun: Deferred[None] = Deferred()

        async def hear(_: bytes) -> None:
            begun.callback(None)

        counting = "(setsid sh -c 'while :; do echo >> count; done' &) ; echo begun; exec sleep 600"
        running = runner.start(
            ["sh", "-c", counting], self.tree, {"PATH": "/usr/bin:/bin"}, on_output=hear, time_limit=50.0,
            silence_limit=50.0,
        )  # fmt: skip
        await begun
        await self.grown(counted, 0)
        running.freeze()
        sizes = [-1, counted.stat().st_size]
        while sizes[-1] != sizes[-2]:
            await deferLater(reactor, 0.1)
            sizes.append(counted.stat().st_size)
        assert len(sizes) < 20, "it is stopped within two seconds"
        running.thaw()
        await self.grown(counted, sizes[-1])
        running.stop("seen")
        assert (await running.ended).cause == "stopped"

    async def grown(self, path: Path, beyond: int) -> None:
        """Wait until a file is larger; the test's own time limit bounds that."""
        while not path.exists() or path.stat().st_size <= beyond:
            await deferLater(reactor, 0.02)
