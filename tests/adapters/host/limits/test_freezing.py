"""What is frozen stands still with all that it forks, by the kernel where that has control groups, and can end."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from buildtool.adapters.host.limits.control_groups import ControlGroups, SlotGroup
from buildtool.adapters.host.recipe_commands import BuildBounds, CommandRunner, RecipeCommands
from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.freezer import Freezer, thaw_by_name
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.procfs import descendants, look_at
from buildtool.adapters.processes.runner import Processes, RunningProcess
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.adapters.runtime.threads import Threads
from buildtool.errors import MachineFault
from buildtool.model.guest.limits import BuildLimits
from tests.adapters.processes.sandbox.sandboxed import Slot, bubblewrap
from tests.support.packages import require_that

reactor: Any = global_reactor

STORM = "echo > count; for n in 1 2 3 4; do (while :; do (echo >> count) & wait; done) & done; echo begun; wait"
"""A build of which something forks at any time."""


def usable(name: str) -> ControlGroups:
    found = ControlGroups.found(name)
    require_that(
        present="freezer" in found.places, what="no control groups with a freezer",
        remedy="run as root, or as a unit with Delegate=yes",
    )  # fmt: skip
    return found


@pytest.mark.world
class Frozen(TestCase):
    """A build in a sandbox that forks all the time."""

    timeout = 60

    async def begun(self, *, groups: bool) -> tuple[CommandRunner, RunningProcess]:
        self.pool = Threads(reactor, 4, "freezing")
        self.addCleanup(self.pool.stop)
        self.keepers = Keepers(4)
        self.addCleanup(self.keepers.close)
        processes = Processes(reactor, self.keepers)
        self.addCleanup(lambda: Deferred.fromCoroutine(processes.stop_all("the test is over")))
        top = Path(self.mktemp()).resolve()
        slot = Slot(top / "slot").make()
        self.counted = slot.tree / "count"
        self.groups = usable(f"freezing-{os.getpid()}") if groups else ControlGroups()
        self.addCleanup(self.groups.close)
        bounds = BuildBounds(BuildLimits(), 1, self.groups)
        sandboxes = Sandboxes(self.keepers, bubblewrap(), top / "made")
        runner = await RecipeCommands(processes, self.pool, reactor, sandboxes, bounds).enclose(
            0, slot.tree, slot.place
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(runner.end()))
        said: Deferred[None] = Deferred()

        async def hear(_: bytes) -> None:
            if not said.called:
                said.callback(None)

        running = runner.start(
            ["sh", "-c", STORM],
            slot.tree,
            {"PATH": "/usr/bin:/bin"},
            on_output=hear,
            time_limit=50.0,
            silence_limit=50.0,
        )
        await said
        await self.until(lambda: self.counted.stat().st_size > 1)
        return runner, running

    async def until(self, holds: Any) -> None:
        """Wait until something holds; the test's own time limit bounds that."""
        while not holds():
            await deferLater(reactor, 0.01)

    def is_frozen(self) -> bool:
        place = self.groups.places["freezer"] / "slot-0"
        if self.groups.unified:
            return "frozen 1" in (place / "cgroup.events").read_text()
        return (place / "freezer.state").read_text() == "FROZEN\n"

    async def frozen(self, running: RunningProcess) -> int:
        """Freeze, and return how much the build had counted by then."""
        running.freeze()
        await self.until(self.is_frozen)
        return self.counted.stat().st_size

    async def test_the_kernel_freezes_it_whole_without_a_signal_and_it_goes_on(self) -> None:
        _, running = await self.begun(groups=True)
        counted = await self.frozen(running)
        stopped = [seen for seen in descendants(os.getpid()) if seen.stopped]
        await deferLater(reactor, 0.05)
        assert (self.counted.stat().st_size, stopped) == (counted, [])
        running.thaw()
        await self.until(lambda: self.counted.stat().st_size > counted)
        running.stop("seen")
        assert (await running.ended).cause == "stopped"

    async def test_without_control_groups_signals_stop_it_as_well(self) -> None:
        _, running = await self.begun(groups=False)
        running.freeze()
        sizes = [-1, self.counted.stat().st_size]
        while sizes[-1] != sizes[-2]:
            await deferLater(reactor, 0.1)
            sizes.append(self.counted.stat().st_size)
        running.thaw()
        await self.until(lambda: self.counted.stat().st_size > sizes[-1])
        running.stop("seen")
        assert (await running.ended).cause == "stopped"

    async def test_what_is_frozen_can_be_stopped_and_does_not_run_for_that(self) -> None:
        runner, running = await self.begun(groups=True)
        counted = await self.frozen(running)
        running.stop("its owner wants the machine")
        assert (await running.ended).cause == "stopped"
        assert self.counted.stat().st_size == counted
        await runner.end()
        assert not (self.groups.places["freezer"] / "slot-0").exists()

    async def test_a_keeper_that_is_killed_leaves_nothing_frozen(self) -> None:
        runner, running = await self.begun(groups=True)
        await self.frozen(running)
        sandbox = runner._sandbox
        assert sandbox is not None
        inside = descendants(sandbox.pid)
        os.kill(sandbox.pid, signal.SIGKILL)
        await running.ended
        assert [seen.pid for seen in inside if look_at(seen.pid) is not None] == []
        with pytest.raises(MachineFault, match="cannot end the sandbox"):
            await runner.end()


@pytest.mark.world
@pytest.mark.parametrize("frozen", [True, False])
def test_a_sandbox_that_is_ended_while_something_runs_is_gone_and_what_was_frozen_does_not_run_again(
    tmp_path: Path, frozen: bool
) -> None:
    groups, keepers, slot = usable(f"ended-{os.getpid()}"), Keepers(5), Slot(tmp_path / "slot").make()
    group = groups.make(0, BuildLimits())
    assert group is not None
    assert group.freezer is not None
    made = Sandboxes(keepers, bubblewrap(), tmp_path / "made")
    try:
        sandbox = made.make(0, slot.tree, slot.place, {}, group.processes, group.freezer)
        outside, inside = os.pipe()
        command = CommandLine(("sh", "-c", STORM), slot.tree, {"PATH": "/usr/bin:/bin"})
        child = sandbox.start(command, inside)
        os.close(inside)
        assert os.read(outside, 10) == b"begun\n"
        while not (slot.tree / "count").exists():
            os.sched_yield()
        if frozen:
            child.freeze()
        while frozen and group.freezer.read_text() not in ("FROZEN\n", "1\n"):
            os.sched_yield()
        counted = (slot.tree / "count").stat().st_size
        sandbox.end()
        assert (slot.tree / "count").stat().st_size == counted or not frozen
        assert look_at(sandbox.pid) is None, "its keeper is gone as well"
        group.remove()
        assert not group.places["freezer"].exists()
    finally:
        os.close(outside)
        keepers.close()
        groups.close()


@pytest.mark.world
def test_what_a_killed_build_server_left_frozen_is_killed_at_the_next_start() -> None:
    groups = usable(f"left-{os.getpid()}")
    group = groups.make(1, BuildLimits())
    assert group is not None
    freezer = group.freezer
    assert freezer is not None
    left = subprocess.Popen(["sleep", "600"])
    try:
        for file in group.processes:
            file.write_text(str(left.pid))
        Freezer(str(freezer)).freeze()
        for descriptor in groups.held:  # as the system does when a program is killed
            os.close(descriptor)
        ControlGroups.found("another").close()
        assert left.wait(20) == -signal.SIGKILL
    finally:
        thaw_by_name(str(freezer))
        left.kill()
        left.wait()
        ControlGroups.found("another").close()
    assert not freezer.exists()


def test_version_2_is_told_by_numbers_and_each_only_what_it_was_told(tmp_path: Path) -> None:
    file = tmp_path / "cgroup.freeze"
    file.write_text("")
    assert SlotGroup({"freezer": tmp_path}, unified=True).freezer == file
    assert SlotGroup({"freezer": tmp_path}, unified=False).freezer is None
    freezer = Freezer(str(file))
    assert not freezer.thaw()
    assert file.read_text() == "", "what was not frozen is not touched"
    assert freezer.freeze()
    assert file.read_text() == "1"
    assert freezer.thaw()
    assert file.read_text() == "10"
    freezer.close()
    thaw_by_name(str(tmp_path / "gone"))


def test_a_freezer_that_refuses_leaves_it_to_signals() -> None:
    freezer = Freezer("/dev/full")
    assert not freezer.freeze()
    assert not freezer.frozen
    freezer.close()
