"""Commands run as real processes, end in exactly one way, and leave nothing behind."""

import errno
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from buildtool.adapters.processes import procfs
from buildtool.adapters.processes.command import not_started
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.procfs import descendants, look_at
from buildtool.adapters.processes.runner import CHUNK, CommandLine, CommandResult, Processes, RunningProcess
from buildtool.ports.buildserver import Obstacle
from tests.support.packages import require_that

PATH = os.environ.get("PATH", os.defpath)


def python(program: str, **environment: str) -> CommandLine:
    """A command that runs a Python program."""
    return CommandLine((sys.executable, "-u", "-c", program), Path("/"), environment)


def shell(script: str, **environment: str) -> CommandLine:
    """A command that runs a shell script."""
    return CommandLine(("sh", "-c", script), Path("/"), {"PATH": PATH, **environment})


def alive(pid: int) -> bool:
    """Whether a process exists and is not merely waiting for its parent to notice its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.parent.parent.joinpath("self").exists() or stat.read_bytes().rpartition(b") ")[2][:1] != b"Z"
    except FileNotFoundError:
        return False


class Collected:
    """A consumer that keeps all output and tells when it has seen a mark."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self._marks: list[tuple[bytes, Deferred[None]]] = []

    def __call__(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        for mark, seen in tuple(self._marks):
            if mark in self.text:
                self._marks.remove((mark, seen))
                seen.callback(None)

    @property
    def text(self) -> bytes:
        return b"".join(self.chunks)

    async def seen(self, mark: bytes) -> None:
        if mark not in self.text:
            waiter: Deferred[None] = Deferred()
            self._marks.append((mark, waiter))
            await waiter


class CommandLineTests(SynchronousTestCase):
    """A command line is validated when it is made."""

    def test_a_command_line_without_a_program_is_refused(self) -> None:
        for argv in ((), ("",)):
            self.assertRaises(ValueError, CommandLine, argv, Path("/"), {})


class ProcessesTests(TestCase):
    """What a command may do, and what becomes of it."""

    timeout = 20
    use_pidfd = True
    daemons_live_on = True

    def start_processes(self) -> Processes:
        return Processes(cast("IReactorFromThreads", reactor), use_pidfd=self.use_pidfd)

    def setUp(self) -> None:
        self.processes = self.start_processes()
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.output = Collected()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.processes.stop_all("the test is over")))

    async def run_it(
        self,
        command: CommandLine,
        on_output: Callable[[bytes], Awaitable[None] | None] | None = None,
        *,
        time_limit: float | None = None,
        silence_limit: float | None = None,
        kill_after: float = 5.0,
    ) -> CommandResult:
        return await self.processes.start(
            command,
            on_output=on_output or self.output,
            time_limit=time_limit,
            silence_limit=silence_limit,
            kill_after=kill_after,
        ).ended

    def start(self, command: CommandLine, kill_after: float = 5.0) -> RunningProcess:
        return self.processes.start(command, on_output=self.output, kill_after=kill_after)

    async def test_what_a_command_used_of_processors_is_told_and_counts_once(self) -> None:
        """Its children are counted; what another command used before it is not, nor the time in which it waits."""
        burning = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done"
        busy = await self.run_it(shell(f"{burning}; ({burning}); true"))
        idle = await self.run_it(shell("sleep 0.1"))
        missing = await self.run_it(CommandLine(("no-such-program",), Path("/"), {}))
        assert busy.processor is not None
        assert idle.processor is not None
        self.assertGreater(busy.processor, idle.processor + 0.05)
        self.assertEqual(missing.processor, 0)

    async def test_a_command_that_succeeds_exits_with_code_0(self) -> None:
        ended = await self.run_it(shell("echo hello"))
        self.assertEqual((ended.code, ended.signal, ended.cause), (0, None, "exited"))
        self.assertTrue(ended.succeeded)
        self.assertGreaterEqual(ended.seconds, 0)
        self.assertEqual(self.output.text, b"hello\n")

    async def test_a_failing_command_tells_its_exit_code(self) -> None:
        ended = await self.run_it(shell("exit 3"))
        self.assertEqual((ended.code, ended.cause, ended.succeeded), (3, "exited", False))
        self.assertIn("code 3", ended.detail)

    async def test_standard_output_and_error_arrive_in_one_stream_in_order(self) -> None:
        await self.run_it(shell("echo a; echo b >&2; echo c"))
        self.assertEqual(self.output.text, b"a\nb\nc\n")

    async def test_arbitrary_bytes_arrive_unchanged(self) -> None:
        everything = bytes(range(256)) * 3
        await self.run_it(python("import os; os.write(1, bytes(range(256)) * 3)"))
        self.assertEqual(self.output.text, everything)

    async def test_much_output_arrives_whole_in_bounded_pieces(self) -> None:
        await self.run_it(python("import sys\nfor n in range(60): sys.stdout.write(chr(97 + n % 26) * 50000)"))
        self.assertEqual(self.output.text, b"".join(bytes([97 + n % 26]) * 50000 for n in range(60)))
        self.assertLessEqual(max(len(chunk) for chunk in self.output.chunks), CHUNK)

    async def test_the_command_gets_exactly_the_environment_that_is_given(self) -> None:
        os.environ["BUILDTOOL_TEST_LEAK"] = "1"
        self.addCleanup(os.environ.pop, "BUILDTOOL_TEST_LEAK")
        await self.run_it(CommandLine(("/usr/bin/env",), Path("/"), {"ONLY": "this"}))
        self.assertEqual(self.output.text, b"ONLY=this\n")

    async def test_the_command_runs_in_its_directory_with_a_plain_umask_and_nothing_to_read(self) -> None:
        command = CommandLine(("sh", "-c", "pwd -P; umask; cat"), self.directory, {"PATH": PATH})
        await self.run_it(command)
        self.assertEqual(self.output.text.decode().split(), [str(self.directory.resolve()), "0022"])

    async def test_a_relative_program_is_found_in_the_commands_directory(self) -> None:
        script = self.directory / "configure"
        script.write_text("#!/bin/sh\necho configured\n")
        script.chmod(0o755)
        await self.run_it(CommandLine(("./configure",), self.directory, {}))
        self.assertEqual(self.output.text, b"configured\n")

    async def not_started(self, command: CommandLine) -> str:
        ended = await self.run_it(command)
        self.assertEqual((ended.code, ended.signal, ended.cause), (None, None, "not started"))
        self.assertEqual(self.output.text, b"")
        self.assertNotIn("\n", ended.detail)
        return ended.detail

    async def test_a_program_that_is_not_in_the_path_is_not_started_and_the_line_names_both(self) -> None:
        detail = await self.not_started(CommandLine(("no-such-cc", "-c"), Path("/"), {"PATH": "/usr/bin"}))
        self.assertIn("'no-such-cc'", detail)
        self.assertIn("PATH=/usr/bin", detail)

    async def test_a_missing_directory_is_named(self) -> None:
        detail = await self.not_started(CommandLine(("sh",), self.directory / "absent", {"PATH": PATH}))
        self.assertIn(str(self.directory / "absent"), detail)

    async def test_a_file_that_is_not_executable_is_not_started(self) -> None:
        (self.directory / "plain").write_text("text")
        detail = await self.not_started(CommandLine(("./plain",), self.directory, {}))
        self.assertIn("Permission denied", detail)

    async def test_a_file_that_is_no_program_is_not_started(self) -> None:
        (self.directory / "odd").write_bytes(b"\0\1\2\3")
        (self.directory / "odd").chmod(0o755)
        self.assertIn("not a program", await self.not_started(CommandLine(("./odd",), self.directory, {})))

    async def test_a_script_whose_interpreter_is_missing_is_not_started(self) -> None:
        (self.directory / "script").write_text("#!/no/such/interpreter\n")
        (self.directory / "script").chmod(0o755)
        self.assertIn("interpreter", await self.not_started(CommandLine(("./script",), self.directory, {})))

    async def test_what_was_in_the_way_is_said_as_the_system_has_it(self) -> None:
        """The error's number and the directory or program, by which it is judged whose fault it is."""
        here, path = self.directory, {"PATH": PATH}
        (here / "plain").write_text("text")
        (here / "script").write_text("#!/no/such/interpreter\n")
        (here / "odd").write_bytes(b"\0\1\2\3")
        for name in ("script", "odd"):
            (here / name).chmod(0o755)
        (here / "loop").symlink_to("loop")
        (here / "nowhere").symlink_to("absent")
        (here / "sub").mkdir()
        (here / "sub" / "sh").write_text("not executable, so that it is not what is meant")
        long = "n" * 300
        cases: list[tuple[CommandLine, int, tuple[Path, ...], str]] = [
            (CommandLine(("./absent",), here, path), errno.ENOENT, (here / "absent",), "No such file"),
            (CommandLine(("./plain",), here, path), errno.EACCES, (here / "plain",), "Permission denied"),
            (CommandLine(("./plain/x",), here, path), errno.ENOTDIR, (here / "plain" / "x",), "Not a directory"),
            (CommandLine(("./sub",), here, path), errno.EACCES, (here / "sub",), "it is a directory"),
            (CommandLine(("./loop",), here, path), errno.ELOOP, (here / "loop",), "symbolic links"),
            (CommandLine(("./nowhere",), here, path), errno.ENOENT, (here / "nowhere",), "link to nothing"),
            (CommandLine(("./script",), here, path), errno.ENOENT, (here / "script",), "interpreter"),
            (CommandLine(("./odd",), here, path), errno.ENOEXEC, (here / "odd",), "not a program"),
            (CommandLine(("odd",), here, {"PATH": "/usr/bin:."}), errno.ENOEXEC, (here / "odd",), "not a program"),
            (CommandLine(("xy",), here, {"PATH": "/a:b"}), errno.ENOENT, (Path("/a/xy"), here / "b/xy"), "no such"),
            (CommandLine(("sh",), here / "absent", path), errno.ENOENT, (here / "absent",), "does not exist"),
            (CommandLine(("sh",), here / "plain", path), errno.ENOTDIR, (here / "plain",), "is no directory"),
            (CommandLine(("sh",), here / "loop", path), errno.ELOOP, (here / "loop",), "is no directory"),
            (CommandLine(("sh",), here / long, path), errno.ENAMETOOLONG, (here / long,), "does not exist"),
            (CommandLine((f"./{long}",), here, path), errno.ENAMETOOLONG, (here / long,), "too long"),
            (CommandLine(("sh", "a" * 200_000), here, path), errno.E2BIG, (), "too long"),
            (CommandLine(("sh",), here, path | {"A": "a" * 200_000}), errno.E2BIG, (), "too long"),
            (CommandLine(("sh", "a" * 200_000), here, {"PATH": f"sub:{PATH}"}), errno.E2BIG, (), "too long"),
            (CommandLine(("sh", "a\0b"), here, path), errno.EINVAL, (), "null"),
        ]
        for command, number, where, words in cases:
            ended = await self.run_it(command)
            self.assertEqual((ended.cause, ended.obstacle), ("not started", Obstacle(number, where)))
            self.assertIn(words, ended.detail)
            self.assertNotIn("\n", ended.detail)

    async def test_what_a_command_does_not_see_cannot_be_told_by_what_was_in_its_way(self) -> None:
        """A link of the sources leads to the donor's own: whether that is there is nobody's to know."""
        tree, outside = self.directory / "tree", self.directory / "outside"
        tree.mkdir()
        outside.mkdir()
        (outside / "text").write_text("text")
        (outside / "script").write_text("#!/no/such/interpreter\n")
        (outside / "script").chmod(0o755)
        missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        told: set[tuple[str, ...]] = set()
        for name in ("absent", "text", "script", "."):
            (tree / "link").unlink(missing_ok=True)
            (tree / "link").symlink_to(outside / name)
            commands = [
                CommandLine(("./link",), tree, {}, (tree,)),
                CommandLine(("./link/script",), tree, {}, (tree,)),
                CommandLine(("script",), tree, {"PATH": "link"}, (tree,)),
                CommandLine(("./script",), tree / "link", {}, (tree,)),
            ]
            told.add(tuple(not_started(one, missing, 0.0).detail for one in commands))
        self.assertEqual(len(told), 1, told)
        (tree / "script").write_text("#!/no/such/interpreter\n")
        own = CommandLine(("./script",), tree, {}, (tree,))
        self.assertIn("interpreter", not_started(own, missing, 0.0).detail)

    async def test_a_directory_in_path_that_may_not_be_entered_hides_nothing(self) -> None:
        """The system speaks of that directory, where the program might have been."""
        denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        ended = not_started(CommandLine(("no-such-cc",), self.directory, {"PATH": "/closed:/usr/bin"}), denied, 0.0)
        where = (Path("/closed/no-such-cc"), Path("/usr/bin/no-such-cc"))
        self.assertEqual(ended.obstacle, Obstacle(errno.ENOENT, where))
        self.assertIn("no such program in PATH=/closed:/usr/bin", ended.detail)

    async def test_an_argument_that_no_system_can_pass_is_not_started(self) -> None:
        self.assertIn("null", await self.not_started(CommandLine(("sh", "a\0b"), Path("/"), {"PATH": PATH})))

    async def test_a_process_without_free_descriptors_starts_nothing_and_says_so(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            ended = await self.run_it(shell("true"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(ended.cause, "not started")
        self.assertIn("Too many open files", ended.detail)
        self.assertEqual(ended.obstacle, Obstacle(errno.EMFILE))

    async def test_limits_that_make_no_sense_are_refused(self) -> None:
        for limits in ({"time_limit": 0.0}, {"silence_limit": -1.0}, {"kill_after": -1.0}):
            with self.assertRaises(ValueError):
                self.processes.start(shell("true"), on_output=self.output, **cast("dict[str, Any]", limits))

    async def test_the_time_limit_ends_a_command_that_goes_on(self) -> None:
        ended = await self.run_it(shell("while :; do echo on; sleep 0.05; done"), time_limit=0.3)
        self.assertEqual((ended.cause, ended.signal, ended.succeeded), ("time limit", signal.SIGTERM, False))
        self.assertIn("0.3 s", ended.detail)

    async def test_the_silence_limit_ends_a_command_that_says_nothing(self) -> None:
        ended = await self.run_it(shell("echo begun; sleep 600"), silence_limit=1)
        self.assertEqual((ended.cause, ended.signal), ("silence limit", signal.SIGTERM))
        self.assertEqual(self.output.text, b"begun\n")

    async def test_output_keeps_the_silence_limit_away(self) -> None:
        ended = await self.run_it(shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done"), silence_limit=1)
        self.assertEqual(ended.cause, "exited")

    async def test_stop_ends_a_command_and_gives_its_reason(self) -> None:
        running = self.start(shell("echo ready; exec sleep 600"))
        await self.output.seen(b"ready")
        running.stop("cancelled by its requester")
        running.stop("a second reason")
        ended = await running.ended
        self.assertEqual((ended.cause, ended.signal), ("stopped", signal.SIGTERM))
        self.assertEqual(ended.detail, "cancelled by its requester")
        running.stop("after the end, this does nothing")

    async def test_stop_right_after_start_ends_it_too(self) -> None:
        running = self.start(shell("exec sleep 600"))
        running.stop("at once")
        self.assertEqual((await running.ended).cause, "stopped")

    async def test_a_command_that_ignores_term_is_killed(self) -> None:
        running = self.start(shell("trap '' TERM; echo ready; while :; do sleep 600; done"), kill_after=0.2)
        await self.output.seen(b"ready")
        running.stop("enough")
        ended = await running.ended
        self.assertEqual((ended.cause, ended.signal), ("stopped", signal.SIGKILL))
        self.assertFalse(ended.killed_from_outside)

    async def test_a_kill_that_was_not_ours_can_be_told_apart(self) -> None:
        ended = await self.run_it(shell("kill -KILL $$"))
        self.assertEqual((ended.cause, ended.signal), ("exited", signal.SIGKILL))
        self.assertTrue(ended.killed_from_outside)
        self.assertIn("SIGKILL", ended.detail)

    async def test_a_kill_of_a_child_of_the_shell_can_be_told_apart(self) -> None:
        ended = await self.run_it(shell("sh -c 'kill -KILL $$'; exit $?"))
        self.assertTrue(ended.killed_from_outside)

    async def test_output_written_while_it_is_being_ended_still_arrives(self) -> None:
        running = self.start(shell("trap 'echo last words; exit 1' TERM; echo ready; while :; do sleep 0.01; done"))
        await self.output.seen(b"ready")
        running.stop("enough")
        self.assertEqual((await running.ended).code, 1)
        self.assertTrue(self.output.text.endswith(b"last words\n"), self.output.text)

    async def test_stop_reaches_grandchildren(self) -> None:
        running = self.start(shell("sh -c 'sleep 600 & echo pid $!; echo ready; wait'; true"))
        await self.output.seen(b"ready")
        running.stop("enough")
        await running.ended
        self.assertFalse(alive(int(self.output.text.split()[1])))

    async def test_children_left_in_the_background_are_gone_when_the_command_has_ended(self) -> None:
        for redirect in ("", ">/dev/null 2>&1"):
            output = Collected()
            ended = await self.run_it(shell(f"sleep 600 {redirect} & echo $!"), output)
            self.assertEqual((ended.code, ended.cause), (0, "exited"))
            self.assertFalse(alive(int(output.text)))

    async def test_a_background_child_that_ignores_term_is_killed(self) -> None:
        script = "sh -c 'trap \"\" TERM; echo ready; sleep 600; sleep 600' & echo pid $! said; read line < fifo"
        os.mkfifo(self.directory / "fifo")
        command = CommandLine(("sh", "-c", script), self.directory, {"PATH": PATH})
        running = self.start(command, kill_after=0.2)
        await self.output.seen(b"ready\n")  # which of the two says something first is not certain
        await self.output.seen(b"said\n")
        descriptor = os.open(self.directory / "fifo", os.O_WRONLY)
        os.write(descriptor, b"go\n")
        os.close(descriptor)
        self.assertEqual((await running.ended).code, 0)
        self.assertFalse(alive(int(self.output.text.partition(b"pid ")[2].split()[0])))

    async def test_a_child_that_left_the_session_and_keeps_the_pipe_does_not_hold_up_the_end(self) -> None:
        program = (
            "import os, time\n"
            "ready, tell = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    os.setsid()\n"
            "    os.write(1, b'%d' % os.getpid())\n"
            "    os.write(tell, b'!')\n"
            "    time.sleep(600)\n"
            "os.read(ready, 1)\n"
        )
        ended = await self.run_it(python(program))
        pid = int(self.output.text)
        self.assertEqual((ended.code, ended.cause), (0, "exited"))
        if self.daemons_live_on:
            self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.assertEqual(alive(pid), self.daemons_live_on)

    async def test_a_failing_consumer_stops_the_command_and_is_heard_of(self) -> None:
        def consumer(chunk: bytes) -> None:
            raise RuntimeError("no room")

        running = self.processes.start(shell("echo begin; exec sleep 600"), on_output=consumer)
        try:
            await running.ended
        except RuntimeError as error:
            self.assertEqual(str(error), "no room")
        else:
            self.fail("the consumer's error was lost")

    async def test_a_consumer_that_takes_its_time_holds_up_the_command(self) -> None:
        release: Deferred[None] = Deferred()
        begun: Deferred[None] = Deferred()
        received: list[bytes] = []

        async def consumer(chunk: bytes) -> None:
            received.append(chunk)
            if not begun.called:
                begun.callback(None)
                await release

        # A command that writes far more than a pipe holds, and then makes a file.
        done = self.directory / "done"
        program = f"import os\nfor n in range(64): os.write(1, b'x' * 65536)\nopen({str(done)!r}, 'w')"
        running = self.processes.start(python(program), on_output=consumer)
        await begun
        await self.run_it(python(program.replace("done", "witness")))  # as much work, and nobody holds it up
        self.assertTrue((self.directory / "witness").exists())
        self.assertEqual(len(received), 1)
        self.assertFalse(done.exists())
        release.callback(None)
        self.assertEqual((await running.ended).code, 0)
        self.assertEqual(sum(len(chunk) for chunk in received), 64 * 65536)

    async def test_silence_is_not_held_against_a_command_whose_output_is_not_taken(self) -> None:
        received: list[int] = []

        async def consumer(chunk: bytes) -> None:
            received.append(len(chunk))
            if len(received) == 1:
                await self.run_it(shell("sleep 1.2"))

        # More than a pipe holds, so that the command still runs, and waits, while its first output is being taken.
        program = "import os\nfor n in range(4): os.write(1, b'x' * 65536)"
        ended = await self.run_it(python(program), consumer, silence_limit=1)
        self.assertEqual(ended.cause, "exited")

    async def test_a_command_whose_output_nobody_takes_can_be_stopped(self) -> None:
        release: Deferred[None] = Deferred()
        begun: Deferred[None] = Deferred()

        async def consumer(chunk: bytes) -> None:
            if not begun.called:
                begun.callback(None)
                await release

        running = self.processes.start(shell("exec yes"), on_output=consumer, kill_after=0.2)
        await begun
        running.stop("enough")
        release.callback(None)
        self.assertEqual((await running.ended).cause, "stopped")

    async def stopped_all(self, *roots: int) -> None:
        """Wait until nothing that descends from these runs any more, and something does not run."""
        while not (found := [look_at(root) for root in roots] + list(descendants(*roots))) or not all(
            seen is None or seen.stopped or seen.waits or not seen.alive for seen in found
        ):
            await deferLater(cast(IReactorTime, reactor), 0.005)

    async def test_a_frozen_command_stands_still_with_all_that_it_forks_and_goes_on_when_it_is_thawed(self) -> None:
        require_that(present=procfs.WORKS, what="there is no /proc", remedy="run this test on Linux")
        script = "echo begun $$; (while :; do sh -c :; done) & while [ ! -e go ]; do :; done; kill $!; echo went on"
        running = self.start(CommandLine(("sh", "-c", script), self.directory, {"PATH": PATH}))
        await self.output.seen(b"begun ")
        pid = int(self.output.text.split()[1])

        running.freeze()
        await self.stopped_all(pid)
        (self.directory / "go").touch()
        self.assertFalse(running.ended.called)
        running.thaw()
        ended = await running.ended
        self.assertEqual((ended.code, ended.cause), (0, "exited"))
        self.assertIn(b"went on", self.output.text)

    async def test_the_limits_of_a_frozen_command_stand_still(self) -> None:
        running = self.processes.start(
            shell("echo begun; exec sleep 60"), on_output=self.output, time_limit=0.25, silence_limit=0.2
        )
        await self.output.seen(b"begun")
        running.freeze()
        await deferLater(cast(IReactorTime, reactor), 0.5)
        self.assertFalse(running.ended.called)

        running.thaw()
        ended = await running.ended
        self.assertIn(ended.cause, ("silence limit", "time limit"))

    async def test_a_frozen_command_that_is_stopped_is_killed_without_running_again(self) -> None:
        script = "trap 'echo heeded' TERM; echo begun; while :; do :; done"
        running = self.start(shell(script), kill_after=1_000)
        await self.output.seen(b"begun")
        running.freeze()
        running.stop("its owner wants the machine")

        ended = await running.ended
        self.assertEqual((ended.cause, ended.detail), ("stopped", "its owner wants the machine"))
        self.assertNotIn(b"heeded", self.output.text)

    async def test_cancelling_the_wait_stops_the_command(self) -> None:
        waiting = Deferred.fromCoroutine(self.run_it(shell("echo pid $$; echo ready; exec sleep 600")))
        await self.output.seen(b"ready")
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        await self.processes.stop_all("the end")
        self.assertFalse(alive(int(self.output.text.split()[1])))

    async def test_stop_all_returns_when_everything_is_gone(self) -> None:
        outputs = [Collected() for _ in range(3)]
        running = [
            self.processes.start(shell("echo pid $$; echo ready; exec sleep 600"), on_output=output)
            for output in outputs
        ]
        for output in outputs:
            await output.seen(b"ready")
        await self.processes.stop_all("the machine goes down")
        self.assertEqual([one.ended.called for one in running], [True] * 3)
        self.assertEqual([alive(int(output.text.split()[1])) for output in outputs], [False] * 3)
        await self.processes.stop_all("nothing runs any more")

    async def test_no_descriptor_is_left_open(self) -> None:
        descriptors = Path("/dev/fd")
        await self.run_it(shell("true"))
        before = sum(1 for _ in descriptors.iterdir())
        for _ in range(5):
            await self.run_it(shell("echo x"))
            await self.run_it(CommandLine(("no-such-program",), Path("/"), {}))
        self.assertEqual(sum(1 for _ in descriptors.iterdir()), before)


class ProcessesWithoutPidfdTests(ProcessesTests):
    """The same where the system has no pidfds."""

    use_pidfd = False


class KeptProcessesTests(ProcessesTests):
    """The same in the care of keepers, where in addition nothing escapes."""

    daemons_live_on = False

    def start_processes(self) -> Processes:
        keepers = Keepers.where_possible(mark_for(Path("/tests")))
        require_that(present=keepers is not None, what="there are no subreapers", remedy="run this test on Linux")
        assert keepers is not None
        self.addCleanup(keepers.close)
        return Processes(cast("IReactorFromThreads", reactor), keepers)


STUBBORN = """
import os, signal, sys
ready, tell = os.pipe()
if os.fork() == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b"pid %d\\n" % os.getpid())
    if sys.argv[1:] == ["quiet"]:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        os.dup2(1, 2)
    os.write(tell, b"!")
    while True:
        signal.pause()
os.read(ready, 1)
os.write(1, b"ready\\n")
"""
"""A program whose child opens a group of its own in the same session and ignores TERM."""


class SessionTests(TestCase):
    """Tools that open groups of their own inside the session do not outlive the command."""

    timeout = 20

    async def test_a_program_under_the_timeout_tool_ends_with_its_build(self) -> None:
        require_that(
            present=Path("/proc/self/stat").exists(),
            what="there is no /proc to look through a session with",
            remedy="run this test on Linux",
        )
        output = Collected()
        processes = Processes(cast("IReactorFromThreads", reactor))
        running = processes.start(
            shell("timeout 600 sh -c 'echo pid $$; echo ready; exec sleep 600'; true"), on_output=output
        )
        await output.seen(b"ready")
        running.stop("enough")
        await running.ended
        self.assertFalse(alive(int(output.text.split()[1])))

    async def test_a_child_that_opened_a_group_of_its_own_is_killed_when_the_command_is_stopped(self) -> None:
        require_that(
            present=Path("/proc/self/stat").exists(), what="there is no /proc", remedy="run this test on Linux"
        )
        output = Collected()
        processes = Processes(cast("IReactorFromThreads", reactor))
        program = STUBBORN + "import time; time.sleep(600)\n"
        command = CommandLine((sys.executable, "-c", program, "quiet"), Path("/"), {})
        running = processes.start(command, on_output=output, kill_after=0.2)
        await output.seen(b"ready")
        running.stop("enough")
        self.assertEqual((await running.ended).signal, signal.SIGTERM)
        self.assertFalse(alive(int(output.text.split()[1])))

    async def test_such_a_child_is_killed_after_a_normal_end_too_if_it_still_holds_the_output(self) -> None:
        require_that(
            present=Path("/proc/self/stat").exists(), what="there is no /proc", remedy="run this test on Linux"
        )
        output = Collected()
        processes = Processes(cast("IReactorFromThreads", reactor))
        ended = await processes.start(python(STUBBORN), on_output=output, kill_after=0.2).ended
        self.assertEqual((ended.code, ended.cause), (0, "exited"))
        self.assertFalse(alive(int(output.text.split()[1])))
