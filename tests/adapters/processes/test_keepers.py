"""Whatever a command starts, however it hides, ends with the command; and only with that one."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from buildtool.adapters.processes import procfs
from buildtool.adapters.processes.command import CommandLine, CommandResult
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import end_leftovers, mark_for
from buildtool.adapters.processes.runner import Processes, RunningProcess
from tests.adapters.processes.test_runner import Collected, alive, python, shell
from tests.support.packages import require_that
from tests.support.signals import LIBRARYS_OWN

DAEMON = r"""
import os, sys
told, tell = os.pipe()
os.set_inheritable(tell, True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for number in range(3):
            os.close(number)
            os.open("/dev/null", os.O_RDWR)
        os.execve(sys.executable, [sys.executable, "-c", HIDDEN, str(tell), *sys.argv[1:]], {})
    os._exit(0)
os.wait()
os.close(tell)
os.write(1, b"pid %d\n" % int(os.read(told, 20)))
"""
"""Starts a daemon by the book (session, second fork, new program, empty environment, no files) and tells its id."""

SLEEPER = r"""
import os, signal, sys
if sys.argv[2:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif sys.argv[2:]:
    fifo = os.open(sys.argv[2], os.O_WRONLY)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.write(int(sys.argv[1]), b"%d" % os.getpid())
os.close(int(sys.argv[1]))
if sys.argv[2:] not in ([], ["deaf"]):
    signal.sigwait({signal.SIGTERM})
    os.write(fifo, b"heard TERM")
    os._exit(0)
while True:
    signal.pause()
"""

LINGER = "import signal; signal.pause()\n"


def daemon(*arguments: str, then: str = "") -> CommandLine:
    """A command that starts a daemon, tells its id and does ``then``."""
    return CommandLine((sys.executable, "-c", f"HIDDEN = {SLEEPER!r}\n{DAEMON}\n{then}", *arguments), Path("/"), {})


def daemon_of(output: Collected) -> int:
    """Return the id that such a command told."""
    return int(output.text.split()[1])


def keeper_of(mark: int) -> int:
    """Return the one keeper: it bears the mark, and the nursery that is its parent does not."""
    found = [seen for seen in map(procfs.look_at, bearers(mark)) if seen is not None]
    (keeper,) = [seen.pid for seen in found if procfs.mark_of(seen.parent) != mark]
    return keeper


def bearers(mark: int) -> list[int]:
    """Return what is alive and bears a mark, keepers included."""
    return [pid for pid in procfs.all_pids() if procfs.mark_of(pid) == mark and alive(pid)]


class Kept(TestCase):
    timeout = 20

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.place = Path(directory.name)
        self.mark = mark_for(self.place)
        self.keepers = self.start_keepers()
        self.addCleanup(self.keepers.close)
        self.processes = Processes(cast("IReactorFromThreads", reactor), self.keepers)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.processes.stop_all("the test is over")))
        self.output = Collected()

    def start_keepers(self) -> Keepers:
        keepers = Keepers.where_possible(self.mark)
        require_that(present=keepers is not None, what="there are no subreapers", remedy="run this test on Linux")
        assert keepers is not None
        return keepers

    def start(self, command: CommandLine, output: Collected | None = None, kill_after: float = 5.0) -> RunningProcess:
        return self.processes.start(command, on_output=output or self.output, kill_after=kill_after)

    async def run_it(self, command: CommandLine, kill_after: float = 5.0) -> CommandResult:
        return await self.processes.start(command, on_output=self.output, kill_after=kill_after).ended

    async def nothing_left(self) -> None:
        """Wait for the keepers' own ends, which follow their last words, and see that nobody bears the mark."""
        await deferToThread(self.keepers.close)
        self.assertEqual(bearers(self.mark), [])


class Beginnings(Kept):
    def start_keepers(self) -> Keepers:
        """As where whoever started the build server ignores and blocks signals."""
        numbers = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGTTOU, signal.SIGHUP)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
        try:
            return super().start_keepers()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for number, handler in before.items():
                signal.signal(number, handler)

    async def test_a_command_begins_with_plain_signals(self) -> None:
        await self.run_it(shell("grep -E 'Sig(Ign|Blk)' /proc/self/status"))
        names, numbers = self.output.text.split()[::2], [int(n, 16) for n in self.output.text.split()[1::2]]
        self.assertEqual(names, [b"SigBlk:", b"SigIgn:"])
        self.assertEqual([number & ~LIBRARYS_OWN for number in numbers], [0, 0])

    async def test_nobody_but_root_looks_into_a_keeper_and_there_is_little_to_see(self) -> None:
        os.environ["KEPT_SECRET"] = "hunter2"
        self.addCleanup(os.environ.pop, "KEPT_SECRET")
        await deferToThread(self.keepers.close)
        self.keepers = Keepers(self.mark)
        self.addCleanup(self.keepers.close)
        self.processes = Processes(cast("IReactorFromThreads", reactor), self.keepers)
        await self.run_it(shell("stat -c %u /proc/$PPID/environ; cat /proc/$PPID/environ 2> /dev/null"))
        owner, _, seen = self.output.text.partition(b"\n")
        self.assertEqual(owner, b"0")
        self.assertNotIn(b"hunter2", seen)


class Daemons(Kept):
    async def test_a_daemon_by_the_book_is_gone_when_its_command_has_ended(self) -> None:
        ended = await self.run_it(daemon())
        self.assertEqual((ended.code, ended.cause), (0, "exited"))
        self.assertFalse(alive(daemon_of(self.output)))
        await self.nothing_left()

    async def test_a_daemon_is_asked_before_it_is_killed(self) -> None:
        os.mkfifo(self.place / "fifo")
        fifo = os.open(self.place / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, fifo)
        await self.run_it(daemon(str(self.place / "fifo")))
        self.assertEqual(os.read(fifo, 100), b"heard TERM")

    async def test_a_daemon_that_ignores_term_is_killed(self) -> None:
        await self.run_it(daemon("deaf"), kill_after=0.1)
        self.assertFalse(alive(daemon_of(self.output)))

    async def test_stop_ends_the_command_and_the_daemon_that_ignores_term(self) -> None:
        running = self.start(daemon("deaf", then=LINGER), kill_after=0.1)
        await self.output.seen(b"\n")
        running.stop("cancelled")
        ended = await running.ended
        self.assertEqual((ended.cause, ended.signal), ("stopped", signal.SIGTERM))
        self.assertFalse(alive(daemon_of(self.output)))
        await self.nothing_left()

    async def test_the_daemon_of_another_build_lives_on(self) -> None:
        """Two builds at once: each one's daemon ends with its own build."""
        others = Collected()
        other = self.start(daemon(then=LINGER), others)
        running = self.start(daemon(then=LINGER))
        await others.seen(b"\n")
        await self.output.seen(b"\n")
        running.stop("cancelled")
        await running.ended
        self.assertEqual((alive(daemon_of(self.output)), alive(daemon_of(others))), (False, True))
        other.stop("cancelled as well")
        await other.ended
        self.assertFalse(alive(daemon_of(others)))

    async def test_daemons_that_ended_by_themselves_are_not_kept_as_zombies_while_the_command_runs(self) -> None:
        program = (
            "import os\n"
            "told, tell = os.pipe()\n"
            "for _ in range(20):\n"
            "    if os.fork() == 0:\n"
            "        os.fork() and os._exit(0)\n"
            "        os.setsid(); os._exit(0)\n"
            "    os.wait()\n"
            "os.close(tell); os.read(told, 1)\n"
            "print('done', flush=True)\n" + LINGER
        )
        running = self.start(python(program))
        await self.output.seen(b"done")
        keeper = keeper_of(self.mark)
        while len(procfs.descendants(keeper)) > 1:
            await deferToThread(os.sched_yield)
        running.stop("seen")
        await running.ended


class Bursts(Kept):
    async def killed(self, program: str) -> None:
        running = self.start(python(program), kill_after=0.1)
        await self.output.seen(b"ready")
        running.stop("enough")
        self.assertEqual((await running.ended).cause, "stopped")
        await self.nothing_left()

    async def test_many_short_children_in_sessions_of_their_own_are_all_ended(self) -> None:
        await self.killed(
            "import os, signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "for number in range(10**9):\n"
            "    if os.fork() == 0:\n"
            "        os.setsid(); time.sleep(0.02 * (number % 5)); os._exit(0)\n"
            "    number == 20 and os.write(1, b'ready')\n"
        )

    async def test_a_process_that_goes_on_in_a_new_session_with_a_new_id_all_the_time_is_caught(self) -> None:
        await self.killed(
            "import os, signal\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "os.write(1, b'ready')\n"
            "os.fork() and signal.pause()\n"
            "while True:\n"
            "    os.fork() and os._exit(0)\n"
            "    os.setsid()\n"
        )

    async def test_a_tree_that_grows_while_it_is_killed_is_ended(self) -> None:
        await self.killed(
            "import os, signal\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "for level in range(6):\n"
            "    os.fork()\n"
            "os.write(1, b'ready')\n"
            "while True:\n"
            "    if os.fork() == 0: os._exit(0)\n"
        )


class Disasters(Kept):
    async def test_a_command_that_stops_its_keeper_can_be_ended_all_the_same(self) -> None:
        running = self.start(shell("kill -STOP $PPID; echo ready; exec sleep 600"))
        await self.output.seen(b"ready")
        running.stop("cancelled")
        ended = await running.ended
        self.assertEqual((ended.cause, ended.signal), ("stopped", signal.SIGTERM))
        await self.nothing_left()

    async def test_when_a_keeper_is_killed_its_command_and_daemon_are_ended_and_it_counts_as_killed(self) -> None:
        running = self.start(daemon("deaf", then=LINGER))
        await self.output.seen(b"\n")
        os.kill(keeper_of(self.mark), signal.SIGKILL)
        ended = await running.ended
        self.assertTrue(ended.killed_from_outside, ended)
        self.assertFalse(alive(daemon_of(self.output)))
        await self.nothing_left()

    async def test_when_the_nursery_is_killed_what_runs_goes_on_and_what_comes_is_started(self) -> None:
        running = self.start(daemon(then=LINGER))
        await self.output.seen(b"\n")
        nursery = procfs.look_at(keeper_of(self.mark))
        assert nursery is not None
        os.kill(nursery.parent, signal.SIGKILL)
        later = Collected()
        for _ in range(3):
            self.assertTrue((await self.processes.start(shell("echo later"), on_output=later).ended).succeeded)
        self.assertEqual(later.text, b"later\n" * 3)
        running.stop("enough")
        self.assertEqual((await running.ended).signal, signal.SIGTERM)
        self.assertFalse(alive(daemon_of(self.output)))

    async def test_what_asks_the_keepers_to_end_is_left_to_the_build_server(self) -> None:
        """A service manager says TERM to everything at once; the build server hands back what it was building."""
        running = self.start(shell("trap 'echo last words; exit 3' TERM; echo ready; while :; do sleep 0.01; done"))
        await self.output.seen(b"ready")
        keeper = procfs.look_at(keeper_of(self.mark))
        assert keeper is not None
        for pid in (keeper.parent, keeper.pid):
            os.kill(pid, signal.SIGTERM)
        running.stop("the build server ends")
        self.assertEqual((await running.ended).code, 3)
        self.assertTrue((await self.run_it(shell("true"))).succeeded)

    async def test_other_children_of_the_program_keep_their_exit_status(self) -> None:
        children = [subprocess.Popen(["sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE) for _ in range(5)]
        await self.run_it(daemon("deaf"), kill_after=0.0)
        for child in children:
            child.communicate(b"go\n")
        self.assertEqual([child.returncode for child in children], [7] * 5)

    async def test_what_outlived_its_keepers_is_found_by_its_mark_at_the_next_start(self) -> None:
        """A daemon without environment, directory or files of the build, whose keepers were killed as well."""
        running = self.start(daemon("deaf", then=LINGER))
        await self.output.seen(b"\n")
        keeper = procfs.look_at(keeper_of(self.mark))
        assert keeper is not None
        os.kill(keeper.parent, signal.SIGKILL)
        os.kill(keeper.pid, signal.SIGKILL)
        await running.ended
        left = daemon_of(self.output)
        self.assertTrue(alive(left))
        ended = await deferToThread(end_leftovers, self.place)
        self.assertIn(left, ended)
        self.assertFalse(alive(left))

    async def test_when_the_build_server_is_killed_nothing_goes_on(self) -> None:
        program = (
            "import signal\n"
            "from buildtool.adapters.processes.keeper_client import Keepers\n"
            "from tests.adapters.processes.test_keepers import LINGER, daemon\n"
            f"keepers = Keepers({self.mark})\n"
            "kept = keepers.start(daemon('deaf', then=LINGER), 1)\n"
            "signal.pause()\n"
        )
        server = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        assert server.stdout is not None
        with server, server.stdout:
            told = await deferToThread(server.stdout.readline)
            end = select.poll()
            pidfd = os.pidfd_open(int(told.split()[1]))
            self.addCleanup(os.close, pidfd)
            end.register(pidfd, select.POLLIN)
            server.kill()
            await deferToThread(end.poll)  # until the daemon has ended


class NoKeepers(TestCase):
    def test_a_system_without_subreapers_has_no_keepers(self) -> None:
        self.patch(procfs, "WORKS", False)
        self.assertIsNone(Keepers.where_possible(1))
