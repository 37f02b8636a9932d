"""Commands in the care of keepers (see ``keeper``): what leaves a command is found, ended, and attributed to it."""

from __future__ import annotations

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

from buildtool.adapters import procfs
from buildtool.adapters.commands import CommandLine
from buildtool.adapters.keeper import READY

__all__ = ["Keepers", "Kept"]

PATIENCE = 30.0
"""Seconds that a keeper has to say that its command was started: a machine that takes longer builds nothing."""

_FAREWELL = 5.0
_ROOT = Path(__file__).parent.parent.parent
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from buildtool.adapters.keeper import main; main(int(sys.argv[2]))"
)


class Keepers:
    """The nursery of keepers, started anew should it be killed. Its methods may be called in any thread."""

    def __init__(self, mark: int) -> None:
        """Raises OSError where there can be no keepers. ``mark`` is what all commands bear (``groups.mark_for``)."""
        self._mark = mark
        self._lock = threading.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        with self._lock:
            self._open()

    @classmethod
    def where_possible(cls, mark: int) -> Keepers | None:
        """Return keepers, or None on a system without subreapers (macOS; a sandbox that forbids it)."""
        if not sys.platform.startswith("linux") or not procfs.WORKS:
            return None
        try:
            return cls(mark)
        except OSError:
            return None

    def start(self, command: CommandLine, outlet: int, _ring: Callable[[], None] | None = None) -> Kept:
        """Start a command in the care of a keeper; its output goes to the descriptor ``outlet``.

        Raises OSError, ValueError or SubprocessError if it cannot be started.
        """
        order = self._order(command)
        try:
            return self._start(order, outlet)
        except ConnectionError:  # the nursery was killed; a command of which no keeper told was not started
            return self._start(order, outlet)

    def _start(self, order: bytes, outlet: int) -> Kept:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._announce(theirs.fileno(), outlet)
            ours.settimeout(PATIENCE)
            ours.sendall(order)
            kept = Kept(ours)
        except BaseException:
            ours.close()
            raise
        return kept

    def _order(self, command: CommandLine) -> bytes:
        def text(value: str | Path) -> str:
            return os.fsencode(value).decode("latin-1")

        order = {
            "mark": self._mark,
            "argv": [text(word) for word in command.argv],
            "cwd": text(command.cwd),
            "environment": {text(name): text(value) for name, value in command.environment.items()},
        }
        data = json.dumps(order).encode("ascii")
        return len(data).to_bytes(8, "big") + data

    def _announce(self, theirs: int, outlet: int) -> None:
        with self._lock:
            try:
                self._send(theirs, outlet)
            except ConnectionError:
                self._close()
                self._open()
                self._send(theirs, outlet)

    def _send(self, theirs: int, outlet: int) -> None:
        if self._door is None:
            raise ConnectionResetError("there is no nursery")
        socket.send_fds(self._door, [b"!"], [theirs, outlet])

    def _open(self) -> None:
        door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                # A session of its own: Ctrl-C is for the build server alone.
                self._nursery = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
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


class Kept:
    """A command that has a keeper; implements ``children.Child``."""

    def __init__(self, control: socket.socket) -> None:
        """Wait for the keeper's first line. Raises what the start of the command raised."""
        self._control = control
        self._heard = b""
        self._over = False  # the keeper has ended: nothing is left
        self._left = True
        self.returncode: int | None = None
        while b"\n" not in self._heard:
            data = control.recv(4096)
            if not data:
                raise ConnectionResetError("the keeper of the command was killed")
            self._heard += data
        first, _, self._heard = self._heard.partition(b"\n")
        what, number, said = first.split(b" ", 2)
        if what == b"failed":
            words = said.decode("utf-8", "replace")
            raise OSError(int(number), os.strerror(int(number))) if int(number) else ValueError(words)
        self.pid, self._keeper = int(number), int(said)
        control.setblocking(False)
        self._take_lines()

    @property
    def news(self) -> int | None:
        """The keeper's connection, until it is closed."""
        return None if self._over else self._control.fileno()

    def hear(self) -> None:
        """Take what the keeper said."""
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self._heard += data
        self._take_lines()
        if not data:
            self._over = True
            if self.returncode is None:  # the keeper was killed, and so was what it kept
                self.returncode = -signal.SIGKILL

    def _take_lines(self) -> None:
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            _, code, left = line.split(b" ")
            self.returncode, self._left = int(code), left != b"0"

    def send(self, signum: signal.Signals) -> None:
        """Have the keeper signal everything that it keeps; after SIGKILL it goes on until nothing is left."""
        try:
            self._control.send(bytes((signum,)))
        except OSError:
            return  # it has ended, or has been told so often that it cannot have missed it

    def gone(self, *, thorough: bool) -> bool:
        """Say whether nothing is left: neither of its children nor of what left them."""
        return self._over or (self.returncode is not None and not self._left)

    def describe(self) -> str:
        """Name what is left."""
        left = sorted(seen.pid for seen in procfs.descendants(self._keeper)) or [self.pid]
        return f"process {', '.join(str(pid) for pid in left[:5])}"

    def close(self) -> None:
        """Close the connection, upon which the keeper kills whatever may be left."""
        self._control.close()
