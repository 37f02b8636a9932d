"""A whole farm on this machine: the four programs as processes of their own, on free ports of loopback.

The demo shows it, the end-to-end tests drive it. Waiting is for what a program says, never for a time.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from time import monotonic
from weakref import finalize

from attrs import define, field

from buildtool.adapters.processes.environment import die_with_parent
from buildtool.programs.local.ground import FarmError, claimed_ports, free_ports, import_sources, is_free

__all__ = ["FarmError", "LocalFarm", "Program", "free_ports", "import_sources", "is_free", "local_farm"]

PATIENCE = 60.0
"""Seconds after which a program that says nothing of what is expected is believed to be stuck."""

BUILD_PATIENCE = 5 * PATIENCE
"""Seconds that a whole build may take, on a machine that does much else."""

_TRIES = 3
_PORT_NAMES = ("BUILDTOOL_PB_PORT", "BUILDTOOL_TRANSFER_PORT", "BUILDTOOL_WEB_PORT")


Popen = Callable[..., subprocess.Popen[bytes]]
"""What starts a process: ``subprocess.Popen``, or what tests put in its place."""


@define
class Program:
    """A running program. What it says on stdout and stderr is kept in ``lines``, which grow while it runs."""

    name: str
    process: subprocess.Popen[bytes]
    lines: list[str] = field(factory=list)
    _fresh: Queue[str | None] = field(factory=Queue)
    _reader: threading.Thread | None = None

    @classmethod
    def start(
        cls, name: str, words: Sequence[str], environment: dict[str, str], popen: Popen = subprocess.Popen
    ) -> Program:
        """Start a program in a process group of its own."""
        process = popen(
            list(words),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        program = cls(name, process)
        program._reader = threading.Thread(target=program._read, daemon=True)
        program._reader.start()
        return program

    def said(self, pattern: str) -> str:
        """Return the first that was said so far and fits a pattern, "" for nothing."""
        found = (re.search(pattern, line) for line in self.lines)
        return next((one.group() for one in found if one is not None), "")

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Return the match of the first line, not yet waited for, in which ``pattern`` is found. Raises FarmError."""
        until = monotonic() + seconds
        while True:
            try:
                line = self._fresh.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                raise FarmError(f"{self.name} did not say {pattern!r} within {seconds:.0f} s; {self._last()}") from None
            if line is None:
                raise FarmError(f"{self.name} ended without saying {pattern!r}; {self._last()}")
            found = re.search(pattern, line)
            if found is not None:
                return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself (not to what it started)."""
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """Stop the program and return its exit code; a program that does not end is killed, and FarmError raised."""
        if self.process.poll() is None:
            self.send(number)
        try:
            return self.ended(seconds)
        except FarmError:
            self.process.kill()
            raise

    def kill(self) -> None:
        """End the program as a crash would."""
        self.process.kill()
        self.ended()

    def ended(self, seconds: float = PATIENCE) -> int:
        """Wait for the end and return the exit code. Raises FarmError when it does not come."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise FarmError(f"{self.name} did not end within {seconds:.0f} s; {self._last()}") from None
        if self._reader is not None:
            self._reader.join(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def _read(self) -> None:
        stream = self.process.stdout
        if stream is None:
            return
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            self.lines.append(line)
            self._fresh.put(line)
        self._fresh.put(None)

    def _last(self) -> str:
        return "it said last:\n  " + "\n  ".join(self.lines[-8:]) if self.lines else "it said nothing"


@define
class LocalFarm:
    """A farm below ``directory``, configured by ``config``. ``extra`` is added to every program's environment.

    ``ports`` are by the names of their variables. Others are chosen where one of them is taken, unless ``keep_ports``.
    The programs are those in ``root``/bin, the checkout's or installed ones, and ``python`` runs them; ``popen`` starts
    them.
    """

    directory: Path
    config: Path
    extra: dict[str, str] = field(factory=dict)
    ports: dict[str, int] = field(factory=dict)
    programs: list[Program] = field(factory=list)
    mail_port: int = 0
    keep_ports: bool = False
    python: str = sys.executable
    popen: Popen = subprocess.Popen
    root: Path = Path(__file__).resolve().parent.parent.parent
    _served: bool = field(default=False, init=False)
    _claims: list[finalize[..., LocalFarm]] = field(factory=list, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.ports:
            self._choose_ports()

    def _choose_ports(self) -> None:
        """Choose ports that no other farm on this machine has until this one is stopped, also between two starts."""
        self._give_up_ports()
        claimed = claimed_ports(len(_PORT_NAMES))
        self._claims += [finalize(self, claim.close) for claim in claimed.values()]  # also where nobody stops it
        self.ports = dict(zip(_PORT_NAMES, claimed, strict=True))

    def _give_up_ports(self) -> None:
        while self._claims:
            self._claims.pop()()

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['BUILDTOOL_WEB_PORT']}"

    @property
    def mailbox(self) -> Path:
        """The Maildir into which the farm's mail is delivered."""
        return self.directory / "mail"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a program of this farm."""
        found = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "BUILDTOOL_CONFIG": str(self.config),
            "BUILDTOOL_HOST": "127.0.0.1",
            "BUILDTOOL_TRUSTED": "loopback",
            "BUILDTOOL_STATE_DIR": str(self.directory / "metaserver"),
            "BUILDTOOL_BUILD_DIR": str(self.directory / "buildserver"),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            **{name: str(port) for name, port in self.ports.items()},
            **self.extra,
            **more,
        }
        if self.mail_port:
            found |= {"BUILDTOOL_MAIL_HOST": "127.0.0.1", "BUILDTOOL_MAIL_PORT": str(self.mail_port)}
        return found

    def start(self, name: str, words: Sequence[str], **environment: str) -> Program:
        """Start a program with the farm's Python."""
        program = Program.start(name, [self.python, *words], self.environment(**environment), self.popen)
        self.programs.append(program)
        return program

    def start_mail(self, port: int = 0) -> Program:
        """Start a mail server that receives everything into ``mailbox``."""
        program = self.start("mailbox", ["-m", "buildtool.demo.mailbox", str(self.mailbox), "--port", str(port)])
        self.mail_port = int(program.wait_for(r"listening on port (\d+)")[1])
        return program

    def start_metaserver(self, *arguments: str) -> Program:
        """Start the metaserver and wait until it is ready, on other ports if these are taken. Raises FarmError."""
        for left in reversed(range(_TRIES)):
            program = self.start("metaserver", [str(self.root / "bin" / "metaserver"), *arguments])
            try:
                program.wait_for(r"ready: control port")
            except FarmError:
                taken = any("is taken by another program" in line for line in program.lines)
                if not left or not taken or self._served or self.keep_ports:
                    raise
                self._choose_ports()
            else:
                self._served = True
                return program
        raise FarmError("no free ports were found")

    def start_build_server(self, name: str, *arguments: str, **environment: str) -> Program:
        """Start a build server and wait until it is registered."""
        environment.setdefault("BUILDTOOL_BUILD_DIR", str(self.directory / f"build-{name}"))
        words = [str(self.root / "bin" / "buildserver.py"), "--name", name, *arguments]
        program = self.start(name, words, **environment)
        program.wait_for(r"registered")
        return program

    def request(
        self, *arguments: str, seconds: float = PATIENCE, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run startcompile.py to its end; return its exit code and what it said. Raises FarmError after ``seconds``."""
        return self.run("startcompile.py", *arguments, seconds=seconds, **environment)

    def run(
        self, name: str, *arguments: str, seconds: float = PATIENCE, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; return its exit code and what it said. Raises FarmError after ``seconds``."""
        words = [self.python, str(self.root / "bin" / name), *arguments]
        with self.popen(
            words,
            env=self.environment(**environment),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:
            try:
                said = [text.decode(errors="replace") for text in running.communicate(timeout=seconds)]
            except subprocess.TimeoutExpired as error:
                running.kill()
                raise FarmError(f"{name} did not end within {seconds:.0f} s; it said: {error.stderr!r}") from None
        return subprocess.CompletedProcess(words, running.returncode, *said)

    def stop(self) -> None:
        """Stop every program that still runs, the last started first. Raises FarmError for one that does not end."""
        problems = []
        for program in reversed(self.programs):
            try:
                program.stop()
            except FarmError as error:
                problems.append(str(error))
        self.programs.clear()
        self._give_up_ports()
        if problems:
            raise FarmError("; ".join(problems))


def held() -> Popen:
    """Return what starts processes that are told to end when this one is killed; call them in the main thread.

    What happens between the fork and the program needs nothing that other threads may hold.
    """
    begin: Popen = subprocess.Popen
    return partial(begin, preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM))


@contextlib.contextmanager
def local_farm(directory: Path, config: Path, **extra: str) -> Iterator[LocalFarm]:
    """Yield a farm that is stopped at the end, whatever happens: also where this process is killed (on Linux)."""
    farm = LocalFarm(directory, config, extra, popen=held())
    try:
        yield farm
    finally:
        farm.stop()
