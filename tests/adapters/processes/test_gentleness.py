"""How gently commands run: by priority, idle disks and processors, as their own processes see it."""

import os
import sys
from pathlib import Path
from typing import cast

import pytest
from attrs import define
from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.gentleness import Gentleness, can_io_idle
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.runner import Processes

SAY = """
import os, sys
os.read(0, 1)
while not os.path.exists(sys.argv[1]): pass
child = os.fork()
if child == 0:
    print(os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@define(eq=False)
class Waited(Gentleness):
    """One of which a command knows by a file that it was applied."""

    go: Path = Path("/")

    def apply(self, group: int) -> None:
        super().apply(group)
        self.go.touch()


@pytest.mark.skipif(not can_io_idle(), reason="what is looked at is of Linux")
class Commands(TestCase):
    async def said(self, gentleness: Gentleness) -> list[int]:
        """Return the priority, and on how many processors, of what a command started."""
        keepers = Keepers.where_possible(mark_for(Path("/gentle")))
        if keepers is not None:
            self.addCleanup(keepers.close)
        go = Path(self.mktemp()).absolute()
        go.parent.mkdir(parents=True, exist_ok=True)
        waited = Waited(gentleness.nice, gentleness.io_idle, gentleness.cpus, go)
        processes = Processes(cast("IReactorFromThreads", reactor), keepers, gentleness=waited)
        output: list[bytes] = []
        command = CommandLine((sys.executable, "-S", "-c", SAY, str(go)), Path("/"), {})
        await processes.start(command, on_output=output.append, time_limit=60).ended
        return [int(word) for word in b"".join(output).split()]

    async def test_whatever_a_command_starts_is_as_gentle_as_it(self) -> None:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        self.assertEqual(await self.said(Gentleness(nice=5, io_idle=True, cpus=1)), [min(19, own + 5), 1])

    async def test_without_wishes_nothing_is_changed(self) -> None:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        self.assertEqual(await self.said(Gentleness()), [own, len(os.sched_getaffinity(0))])
