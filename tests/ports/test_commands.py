"""``Commands``: processes, what the simulation has in their place, and the build server's fake begin and end alike."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import TestCase

from buildtool.adapters.host.recipe_commands import CommandRunner
from buildtool.adapters.processes.runner import Processes
from buildtool.ports.buildserver import CommandEnd, EnclosedCommands, Obstacle, RunningCommand
from buildtool.project.fetching import NamedHost
from tests.fakes_build import FAILED, FakeCommands, ending
from tests.simulation.builders import Enclosed, Workbench
from tests.simulation.clock import Life, VirtualTime
from tests.simulation.fetching import Fetching
from tests.simulation.limits import Limits
from tests.simulation.projects import Truth

if TYPE_CHECKING:
    Base = TestCase
else:
    Base = object

LONG = 600.0
reactor: Any = global_reactor


class CommandsContract(ABC, Base):
    """What holds of every command. Whatever runs says something first."""

    timeout = 20
    commands: EnclosedCommands

    def setUp(self) -> None:
        self.heard: list[bytes] = []

    @abstractmethod
    def succeeds(self) -> list[str]:
        """Return the words of a command that succeeds."""

    @abstractmethod
    def fails(self) -> list[str]:
        """Return the words of one that exits with code 2."""

    @abstractmethod
    def goes_on(self) -> list[str]:
        """Return the words of one that runs until it is told to go."""

    @abstractmethod
    def is_not_there(self) -> list[str]:
        """Return the words of one that cannot be started."""

    async def hear(self, output: bytes) -> None:
        self.heard.append(output)

    def start(self, argv: list[str], on_output: Callable[[bytes], Awaitable[None]] | None = None) -> RunningCommand:
        return self.commands.start(
            argv, Path("/"), {"PATH": "/usr/bin:/bin"}, on_output=on_output or self.hear, time_limit=LONG,
            silence_limit=LONG,
        )  # fmt: skip

    async def ended(self, running: RunningCommand) -> CommandEnd:
        end = await running.ended
        assert "\n" not in end.detail
        assert end.seconds >= 0
        return end

    async def test_what_succeeds_and_what_fails_is_told_apart_by_its_code(self) -> None:
        for argv, code in ((self.succeeds(), 0), (self.fails(), 2)):
            end = await self.ended(self.start(argv))
            assert (end.cause, end.code, end.succeeded, end.obstacle) == ("exited", code, code == 0, None)
            assert f"code {code}" in end.detail
            assert not end.killed_from_outside
            assert self.heard
            self.heard.clear()

    async def test_the_end_comes_once_all_output_was_taken(self) -> None:
        taking: Deferred[None] = Deferred()
        begun: Deferred[None] = Deferred()

        async def slow(output: bytes) -> None:
            begun.callback(None)
            await taking
            self.heard.append(output)

        running = self.start(self.succeeds(), slow)
        waiting = cast("Deferred[CommandEnd]", running.ended)
        await begun
        for _ in range(20):
            await deferLater(reactor, 0.002)
        assert not waiting.called
        taking.callback(None)
        assert (await self.ended(running)).succeeded
        assert self.heard

    async def test_whoever_fails_to_take_output_ends_the_command_and_hears_of_it(self) -> None:
        async def full(output: bytes) -> None:
            raise LookupError("no room")

        for argv in (self.succeeds(), self.fails()):
            with pytest.raises(LookupError, match="no room"):
                await self.start(argv, full).ended

    async def test_what_is_stopped_ends_so_for_the_first_reason_that_was_given(self) -> None:
        begun: Deferred[None] = Deferred()

        async def hear(output: bytes) -> None:
            begun.callback(None)

        running = self.start(self.goes_on(), hear)
        await begun
        running.stop("nobody waits")
        running.stop("the machine is returned")
        end = await self.ended(running)
        assert (end.cause, end.detail, end.succeeded) == ("stopped", "nobody waits", False)
        assert not end.killed_from_outside
        running.stop("after the end this does nothing")

    async def test_what_is_stopped_at_once_ends_too(self) -> None:
        running = self.start(self.goes_on())
        running.stop("nobody waits")
        assert (await self.ended(running)).cause == "stopped"

    async def test_whoever_waits_no_more_ends_the_command(self) -> None:
        running = self.start(self.goes_on())
        waiting = cast("Deferred[CommandEnd]", running.ended)
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting
        running.stop("once more")

    async def test_what_cannot_be_started_says_nothing_and_ends_with_what_was_in_the_way(self) -> None:
        end = await self.ended(self.start(self.is_not_there()))
        assert (end.cause, end.code, end.succeeded) == ("not started", None, False)
        assert isinstance(end.obstacle, Obstacle)
        assert not self.heard

    async def test_a_way_to_hosts_may_be_opened_again_after_it_was_closed(self) -> None:
        for _ in range(2):
            way = await self.commands.open_network([NamedHost("pypi.org")], lambda _: None)
            assert all(isinstance(text, str) for pair in way.environment.items() for text in pair)
            await way.close()

    def test_what_is_no_command_and_no_limit_is_a_mistake_of_the_caller(self) -> None:
        for argv, time_limit, silence_limit in (([], 1.0, 1.0), ([""], 1.0, 1.0), (None, 0.0, 1.0), (None, 1.0, -1.0)):
            words = self.succeeds() if argv is None else argv
            limits = {"time_limit": time_limit, "silence_limit": silence_limit}
            self.assertRaises(ValueError, self.commands.start, words, Path("/"), {}, on_output=self.hear, **limits)


@pytest.mark.world
class RealCommands(CommandsContract, TestCase):
    """Processes."""

    def setUp(self) -> None:
        super().setUp()
        processes = Processes(reactor)
        self.commands = CommandRunner(processes, cast("Any", None), reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(processes.stop_all("the test is over")))

    def succeeds(self) -> list[str]:
        return ["sh", "-c", "echo made"]

    def fails(self) -> list[str]:
        return ["sh", "-c", "echo no; exit 2"]

    def goes_on(self) -> list[str]:
        return ["sh", "-c", "echo begun; exec sleep 600"]

    def is_not_there(self) -> list[str]:
        return ["no-such-program"]


@pytest.mark.world
class SimulatedCommands(CommandsContract, TestCase):
    """What build servers of the simulation run: what becomes of it is drawn, and takes time that passes at once."""

    def setUp(self) -> None:
        super().setUp()
        time = VirtualTime()
        truths = {"red": Truth(False, 1.0), "blue": Truth(True, 1.0), "green": Truth(False, 1e9)}
        self.faults = SimpleNamespace(on=False)
        drawn = SimpleNamespace(random=lambda: 0.5, randrange=lambda _: 2)
        limits, fetching = Limits(0), Fetching(0)
        limits.matters = False
        limits.watch, fetching.wrong = cast("Any", SimpleNamespace(projects_fault=set())), list[str]().append
        drawn_of = SimpleNamespace(of=lambda _, one: truths[one])
        parts = {"faults": self.faults, "truths": drawn_of, "limits": limits, "fetching": fetching}
        builder = SimpleNamespace(slowness=1.0, trouble=1.0, name="anna", bounds=limits.of_machine("anna"))
        bench = Workbench(cast("Any", SimpleNamespace(rng=drawn, **parts)), cast("Any", builder), Life(time, "anna"))
        self.commands = Enclosed(bench, (1, 1))
        passing = LoopingCall(lambda: time.step() if (time.next_time() or 0.0) < LONG else None)
        passing.start(0)
        self.addCleanup(passing.stop)

    def succeeds(self) -> list[str]:
        return ["make", "red", "r1"]

    def fails(self) -> list[str]:
        return ["make", "blue", "r1"]

    def goes_on(self) -> list[str]:
        return ["make", "green", "r1"]

    def is_not_there(self) -> list[str]:
        self.faults.on = True
        return self.succeeds()


@pytest.mark.world
class FakedCommands(CommandsContract, TestCase):
    """What the build server's tests run, which end it: here as soon as it is told to go."""

    def setUp(self) -> None:
        super().setUp()
        self.commands = self.fake = FakeCommands(output=b"begun\n")
        obeying = LoopingCall(self.obey)
        obeying.start(0)
        self.addCleanup(obeying.stop)

    def obey(self) -> None:
        for command in self.fake.started:
            if command.stopped:
                command.end(ending(None, "stopped", 1.0, command.stopped[0]))

    def succeeds(self) -> list[str]:
        self.fake.script.append(ending())
        return ["make"]

    def fails(self) -> list[str]:
        self.fake.script.append(FAILED)
        return ["make"]

    def goes_on(self) -> list[str]:
        return ["make"]

    def is_not_there(self) -> list[str]:
        self.fake.script.append(ending(None, "not started", 0.0, "cannot start 'make'", Obstacle(2)))
        return ["make"]
