"""A command that asks for a terminal has one of its own, at which nobody sits; nobody else has any."""

from pathlib import Path
from typing import cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from buildtool.adapters.processes.command import CommandLine, CommandResult
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.runner import Processes
from tests.adapters.processes.test_runner import PATH, Collected

pytestmark = pytest.mark.world


class Terminals(TestCase):
    """With keepers."""

    timeout = 60

    def processes(self) -> Processes:
        keepers = Keepers.where_possible(1)
        if keepers is not None:
            self.addCleanup(keepers.close)
        return Processes(cast("IReactorFromThreads", reactor), keepers)

    def setUp(self) -> None:
        self.started = self.processes()
        self.output = Collected()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.started.stop_all("the test is over")))

    async def shell(self, script: str, *, terminal: bool = True) -> CommandResult:
        command = CommandLine(("sh", "-c", script), Path("/"), {"PATH": PATH}, terminal=terminal)
        return await self.started.start(command, on_output=self.output, silence_limit=30).ended

    async def test_it_has_a_sane_size_and_all_three_of_the_command_s_descriptors_lead_to_it(self) -> None:
        ended = await self.shell("test -t 0 && test -t 1 && test -t 2 && stty size && echo said > /dev/tty")
        self.assertEqual((ended.code, self.output.text), (0, b"24 80\nsaid\n"))

    async def test_without_it_there_is_none_and_none_can_be_reached(self) -> None:
        ended = await self.shell("for n in 0 1 2; do test -t $n && echo $n; done; : > /dev/tty", terminal=False)
        self.assertNotEqual(ended.code, 0)
        self.assertFalse(self.output.text[:1].isdigit())

    async def test_nobody_types_what_reads_from_it_finds_its_end(self) -> None:
        ended = await self.shell("cat; read -r line || echo over")
        self.assertEqual((ended.code, self.output.text), (0, b"over\n"))

    async def test_what_is_written_arrives_as_it_was_all_of_it_and_in_order(self) -> None:
        ended = await self.shell(
            "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf '\\t\\033[1m\\r\\n'"
        )
        lines = b"".join(b"line %d\n" % number for number in range(20000))
        self.assertEqual(ended.code, 0)
        self.assertTrue(self.output.text == lines + b"\t\x1b[1m\r\n")

    async def test_what_closes_it_and_opens_it_again_is_read_on(self) -> None:
        ended = await self.shell(
            "echo before; exec </dev/null >/dev/null 2>&1; sleep 0.1; { seq 20000; echo after; } > /dev/tty"
        )
        self.assertEqual((ended.code, self.output.text[:7], self.output.text[-6:]), (0, b"before\n", b"after\n"))

    async def test_a_command_that_is_not_there_is_told_as_without_a_terminal(self) -> None:
        command = CommandLine(("no-such-program",), Path("/"), {"PATH": PATH}, terminal=True)
        ended = await self.started.start(command, on_output=self.output).ended
        self.assertEqual(ended.cause, "not started")
        self.assertIn("no such program", ended.detail)

    async def test_what_is_left_when_the_command_ends_is_ended_though_it_is_deaf_to_the_hang_up(self) -> None:
        heard = "d=$(mktemp -d); (trap '' HUP; : > $d/deaf; exec sleep 600) & until [ -e $d/deaf ]; do sleep 0.05; done"
        ended = await self.shell(f"{heard}; rm -r $d; echo begun")
        self.assertEqual((ended.code, self.output.text), (0, b"begun\n"))

    async def test_one_that_waits_for_a_key_is_ended_by_its_limit(self) -> None:
        command = CommandLine(("sh", "-c", "stty -icanon min 1; read -r key"), Path("/"), {"PATH": PATH}, terminal=True)
        ended = await self.started.start(command, on_output=self.output, silence_limit=0.5).ended
        self.assertEqual(ended.cause, "silence limit")


class TerminalsWithoutKeepers(Terminals):
    """Where the system has no subreapers."""

    def processes(self) -> Processes:
        return Processes(cast("IReactorFromThreads", reactor))
