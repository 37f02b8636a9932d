"""Commands in the care of keepers (see ``keeper``): what leaves a command is found, ended, and attributed to it."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

from buildtool.adapters.processes import procfs
from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.environment import needed
from buildtool.adapters.processes.keeper import HEADER, LISTEN, ORDER, READY, SIGNAL

PATIENCE = 30.0
"""Seconds that a keeper has to say that its command was started: a machine that takes longer builds nothing."""

_FAREWELL = 5.0
_ROOT = Path(__file__).parents[3]
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from buildtool.adapters.processes.keeper import main; main(int(sys.argv[2]))"
)


class Keepers:
    """The nursery of keepers, started anew should it be killed. Its methods may be called in any thread."""

    _log = Logger()

    def __init__(self, mark: int) -> None:
        """Raises OSError where there can be no keepers. ``mark`` is what all commands bear (``mark_for``)."""
        if not sys.platform.startswith("linux") or not procfs.WORKS:
            raise OSError("this system has no subreapers")
        self.mark = mark
        self._lock = threading.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        self._idle: list[Keeper] = []
        with self._lock:
            self._open()

    @classmethod
    def where_possible(cls, mark: int) -> Keepers | None:
        """Return keepers, or None on a system without subreapers (macOS; a sandbox that forbids it), and log that."""
        try:
            return cls(mark)
        except OSError as error:
            cls._log.warn("daemons that a build starts will outlive it: {why}", why=str(error))
            return None

    def start(self, command: CommandLine, outlet: int, _ring: Callable[[], None] | None = None) -> KeptCommand:
        """Start a command in a keeper's care, writing to ``outlet``. Raises OSError, ValueError or SubprocessError."""
        order = self.order(command)
        try:
            return self._start(order, outlet, self._idle_keeper())
        except ConnectionError:  # it was killed; a command of which no keeper told was not started
            return self._start(order, outlet, self.new_keeper())

    def _start(self, order: bytes, outlet: int, keeper: Keeper) -> KeptCommand:
        try:
            keeper.give(order, outlet)
            first = keeper.line()
        except BaseException:
            keeper.close()
            raise
        try:
            return KeptCommand(keeper, first, self._give_back)
        except (OSError, ValueError):
            self._give_back(keeper)
            raise

    def _idle_keeper(self) -> Keeper:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self.new_keeper()

    def new_keeper(self, freezer: str = "") -> Keeper:
        """Start a keeper; ``freezer`` is the file by which what it keeps can be frozen. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._announce(theirs.fileno(), b"!" + os.fsencode(freezer))
            return Keeper(ours)
        except BaseException:
            ours.close()
            raise

    def _give_back(self, keeper: Keeper) -> None:
        with self._lock:
            if self._door is not None:
                self._idle.append(keeper)
                return
        keeper.close()

    def order(self, command: CommandLine) -> bytes:
        """Return the order to start a command, as keepers take it."""

        def text(value: str | Path) -> str:
            return os.fsencode(value).decode("latin-1")

        order = {
            "mark": self.mark,
            "argv": [text(word) for word in command.argv],
            "cwd": text(command.cwd),
            "environment": {text(name): text(value) for name, value in command.environment.items()},
            "umask": command.umask,
            "terminal": command.terminal,
        }
        return json.dumps(order).encode("ascii")

    def _announce(self, theirs: int, message: bytes) -> None:
        with self._lock:
            try:
                self._send(theirs, message)
            except ConnectionError:
                self._close()
                self._open()
                self._send(theirs, message)

    def _send(self, theirs: int, message: bytes) -> None:
        if self._door is None:
            raise ConnectionResetError("there is no nursery")
        socket.send_fds(self._door, [message], [theirs])

    def _open(self) -> None:
        door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                # A session of its own: Ctrl-C is for the build server alone.
                self._nursery = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=needed(),
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                door.close()
                raise
        self._door = door
        door.settimeout(PATIENCE)
        if door.recv(len(READY)) != READY:
            self._close()
            raise OSError("the process that starts commands could not be started")

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._nursery is not None:
            with suppress(subprocess.TimeoutExpired):  # it waits for what the kernel will not end, and ends thereafter
                self._nursery.wait(_FAREWELL)
            self._nursery = None

    def close(self) -> None:
        """End the nursery; commands that run still are killed first, with all that they started."""
        with self._lock:
            self._close()


class Keeper:
    """The connection to one keeper, for one command after the other."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._heard = b""
        self._number = 0
        self.screen: int | None = None
        self.tally = procfs.ProcessorTally()

    def fileno(self) -> int:
        """Return the descriptor that is readable when the keeper said something."""
        return self._control.fileno()

    def give(self, order: bytes, outlet: int) -> None:
        """Order the next command. Raises OSError."""
        self._number += 1
        self._control.settimeout(PATIENCE)
        socket.send_fds(self._control, [HEADER.pack(ORDER, len(order))], [outlet])
        self._control.sendall(order)

    def enclose(self, what: bytes, order: bytes) -> int:
        """Order a sandbox for all commands to come, or what its commands work in; return the keeper's process id.

        ``what`` is PREPARE or ENCLOSE. Blocks. Raises OSError.
        """
        self._control.settimeout(PATIENCE)
        self._control.sendall(HEADER.pack(what, len(order)) + order)
        return _keepers_pid(self.line())

    def listen(self) -> socket.socket:
        """Order a listening socket in the keeper's sandbox, and return it. Raises OSError."""
        self._control.settimeout(PATIENCE)
        self._control.sendall(HEADER.pack(LISTEN, 0))
        line, descriptors, _, _ = socket.recv_fds(self._control, 4096, 1)
        if not descriptors:
            _keepers_pid(line.rstrip(b"\n") or b"failed 5 the keeper of the sandbox was killed")
            raise OSError(errno.EMFILE, "no descriptor was free for the sandbox's network")
        return socket.socket(fileno=descriptors[0])

    def end(self) -> None:
        """End everything that the keeper has, and wait until it has. Raises OSError."""
        with self._control:
            self._control.settimeout(PATIENCE)
            with suppress(ConnectionError):
                self._control.shutdown(socket.SHUT_WR)
                while self._control.recv(4096):
                    pass

    def line(self) -> bytes:
        """Wait for one line. Raises OSError: ConnectionError if the keeper ended before."""
        while b"\n" not in self._heard:
            data, descriptors, _, _ = socket.recv_fds(self._control, 4096, 1)
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
                self.screen = descriptor
            if not data:
                raise ConnectionResetError("the keeper of the command was killed")
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def hear(self) -> bool:
        """Receive what was said meanwhile, without waiting; return False at the end of the connection."""
        self._control.setblocking(False)
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._heard += data
        return bool(data)

    def lines(self) -> list[bytes]:
        """Return the lines that were received since the last call."""
        *lines, self._heard = self._heard.split(b"\n")
        return lines

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to everything that the present command started."""
        try:
            self._control.send(HEADER.pack(SIGNAL, self._number << 8 | signum))
        except OSError:
            return  # it has ended, or has been told so often that it cannot have missed it

    def close(self) -> None:
        """Close the socket to the keeper, which kills whatever may be left and ends."""
        self._control.close()


def _keepers_pid(line: bytes) -> int:
    """Return the keeper's process id from the line that tells of its sandbox. Raises OSError: why there is none."""
    what, _, words = line.decode("utf-8", "replace").partition(" ")
    if what == "failed":
        number, _, reason = words.partition(" ")
        raise OSError(int(number), reason)
    return int(words)


class KeptCommand:
    """A command that has a keeper; implements ``child.Child``."""

    def __init__(self, keeper: Keeper, first: bytes, give_back: Callable[[Keeper], None]) -> None:
        """``first`` is the keeper's first line. Raises what the start of the command raised."""
        what, number, said = first.split(b" ", 2)
        if what == b"failed":
            words = said.decode("utf-8", "replace")
            told = words if int(number) == errno.EIO else os.strerror(int(number))  # EIO: the keeper's own words
            raise OSError(int(number), told) if int(number) else ValueError(words)
        self.pid, self._keeper_pid = int(number), int(said)
        self.returncode: int | None = None
        self.lost = False
        self._keeper = keeper
        self.screen, keeper.screen = keeper.screen, None
        self._give_back = give_back
        self._gone = self._killed = False
        self._note()  # short commands have ended by now

    @property
    def news(self) -> int | None:
        """The keeper's connection, until nothing is left."""
        return None if self._gone else self._keeper.fileno()

    @property
    def processor(self) -> float | None:
        """What it used of processors, with all that it started, and the first of a sandbox with what made that."""
        return None if self._killed else self._keeper.tally.since(self._keeper_pid)

    def hear(self) -> None:
        """Take what the keeper said."""
        open_still = self._keeper.hear()
        self._note()
        if not open_still:  # the keeper was killed, and by now everything that it kept
            self._gone = self._killed = True
            self.returncode = -signal.SIGKILL if self.returncode is None else self.returncode

    def _note(self) -> None:
        for line in self._keeper.lines():
            if line == b"gone":
                self._gone = True
            elif line == b"lost":
                self.lost = True
            else:
                _, code, left = line.split(b" ")
                self.returncode, self._gone = int(code), left == b"0"

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to everything; after SIGKILL the keeper goes on until nothing is left."""
        self._keeper.signal(signum)

    def freeze(self) -> None:
        """Stop everything; the keeper goes on until nothing runs."""
        self._keeper.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume everything."""
        self._keeper.signal(signal.SIGCONT)

    def gone(self, *, thorough: bool) -> bool:
        """Return whether nothing is left: neither of its children nor of what left them."""
        return self._gone

    def describe(self) -> str:
        """Return the names of what is left."""
        left = sorted(seen.pid for seen in procfs.descendants(self._keeper_pid)) or [self.pid]
        return f"process {', '.join(str(pid) for pid in left[:5])}"

    def close(self) -> None:
        """Set the keeper free for the next command; if something is left, part from it, upon which it kills that."""
        if self.screen is not None:
            os.close(self.screen)
            self.screen = None
        if self._gone and not self._killed:
            self._give_back(self._keeper)
        else:
            self._keeper.close()
