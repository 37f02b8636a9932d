"""The keepers: a small process beside each command, to which everything falls that leaves the command.

One *nursery* is started with the build server and does nothing but fork *keepers*, each for one command at a time. A
keeper is a subreaper (Linux, ``prctl``): whatever the command starts is the keeper's descendant for as long as it
lives, also what opened a session of its own, was forked twice or cleared its environment, and so is attributed to its
command without any guess. That none is left is told by ``waitpid``, without a look at the machine's processes; the
keeper is free for another command then. Nothing is ever reaped in the build server itself, whose own children are safe.

A keeper ends everything when its connection to the build server closes: a build server that was killed leaves nothing
behind. If a keeper is killed, its orphans fall to the nursery, which kills them. Each command bears a mark that is
inherited and that no daemon takes off, for the case that nursery and keeper are killed as well (``mark_for``).

Runs in an interpreter of its own with the standard library alone; ``keeper_client`` is at the other end of connections.
To the nursery goes one message per keeper, with the keeper's end of a connection: ``!``, then the path of the file by
which what it keeps can be frozen, if there is one. To the keeper go headers (HEADER): ORDER with the length of the JSON
that follows and the descriptor for the output, SIGNAL with the number of the command that is meant, times 256, plus the
signal's (STOP freezes the control group, or is repeated until nothing runs; CONT ends that). PREPARE and later ENCLOSE,
before any other, have the length of the JSON of a sandbox in which all its commands run (``sandbox/box``): the one is
answered by ``prepared PID`` when that is there, the other by ``enclosed PID`` when it has what its commands work in; or
else by ``failed ERRNO TEXT``. From the keeper come lines: ``started PID KEEPER`` or ``failed ERRNO TEXT``, then
``exited STATUS LEFT``, and if LEFT was not 0 at last ``gone``; ``lost`` before them when the sandbox was ended from
within.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any

from buildtool.adapters.processes.beginning.finding import found
from buildtool.adapters.processes.beginning.terminal import open_terminal, take_terminal
from buildtool.adapters.processes.environment import forbid_inspection
from buildtool.adapters.processes.freezer import thaw_by_name
from buildtool.adapters.processes.killing import LONGEST_PAUSE, Freezing, Killing, quietly, signal_groups
from buildtool.adapters.processes.procfs import SeenProcess, descendants
from buildtool.adapters.processes.sandbox.box import Box
from buildtool.adapters.processes.waking import ready, wake_on_signals

READY = b"ready"
"""What a nursery says first, once it is a subreaper."""

MARKED_LIMIT = 10
"""RLIMIT_LOCKS: inherited by everything, and without any effect since Linux 2.4.25."""

HEADER = struct.Struct("!cQ")
ORDER, SIGNAL, PREPARE, ENCLOSE, LISTEN = b"O", b"S", b"P", b"E", b"L"

_PR_SET_CHILD_SUBREAPER = 36
_LONGEST_MESSAGE = 4096


def main(descriptor: int) -> None:
    """Run the nursery that listens on the socket ``descriptor``, until it is closed and all keepers have ended."""
    forbid_inspection()
    _become_subreaper()
    wake = wake_on_signals()
    gc.collect()
    gc.freeze()  # what is never touched again need not be copied for each keeper
    door = socket.socket(fileno=descriptor)
    try:
        door.send(READY)
    except ConnectionError:
        return  # the build server was killed meanwhile
    _Nursery(door, wake).live()


def _become_subreaper() -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


class _Nursery:
    def __init__(self, door: socket.socket, wake: int) -> None:
        self._door = door
        self._wake = wake
        self._open = True
        # Each keeper's end of its connection is held here too: it closes when the orphans of a dead keeper are gone.
        self._keepers: dict[int, socket.socket] = {}
        self._bereft: list[socket.socket] = []
        self._freezers: dict[int, str] = {}
        self._frozen: list[str] = []
        self._killing = Killing()

    def live(self) -> None:
        while self._open or self._keepers or self._bereft:
            if ready([self._door.fileno()] if self._open else [], self._wake, self._pause()) - {self._wake}:
                self._take()
            self._reap()
            if self._bereft:
                self._end_orphans()

    def _pause(self) -> float | None:
        return self._killing.pause if self._bereft else None

    def _take(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._door, _LONGEST_MESSAGE, 1)
        except ConnectionError:  # the build server was killed before it had read all that it was told
            message, descriptors = b"", []
        if not message:
            self._open = False
        for descriptor in descriptors:  # none if too many are open here: whoever waits sees the connection end
            self._fork(socket.socket(fileno=descriptor), os.fsdecode(message[1:]))

    def _fork(self, control: socket.socket, freezer: str) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            with control, suppress(ConnectionError):
                control.send(_failure(error))
            return
        if pid == 0:
            self._be_keeper(control)
        self._keepers[pid] = control
        self._freezers[pid] = freezer

    def _be_keeper(self, control: socket.socket) -> None:
        code = 1
        try:
            for held in (self._door, *self._keepers.values(), *self._bereft):
                held.close()
            os.close(self._wake)
            os.close(signal.set_wakeup_fd(-1))
            wake = wake_on_signals()
            _become_subreaper()
            _Keeper(control, wake).live()
            code = 0
        except ConnectionError:
            pass  # the build server is gone and reads no more
        except BaseException:  # noqa: BLE001 - it must not go on as a second nursery
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)  # the nursery ends what is left if it is not 0

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                quietly(pid, signal.SIGCONT, whole=False)  # by its command, which nobody could end any more
                continue
            control, freezer = self._keepers.pop(pid, None), self._freezers.pop(pid, "")
            if control is not None and status == 0:
                control.close()
            elif control is not None:
                self._bereft.append(control)
                self._frozen += [freezer] if freezer else []
                self._killing = Killing()

    def _end_orphans(self) -> None:
        """Kill what belonged to keepers that did not end as they should: all children that are not keepers."""
        mine = os.getpid()
        orphans = [seen for seen in descendants(mine) if seen.parent == mine and seen.pid not in self._keepers]
        if orphans:
            self._killing.strike([*orphans, *descendants(*(seen.pid for seen in orphans))])
            for freezer in self._frozen:
                thaw_by_name(freezer)  # what is frozen does not die
            return
        for control in self._bereft:
            control.close()
        self._bereft.clear()
        self._frozen.clear()


def _start(said: dict[str, Any], outlet: int, box: Box | None) -> int:
    """Start what was ordered, which has ``outlet`` to write to, or to be its terminal; return its process id."""
    _mark(said["mark"])
    if box is not None and "private" in said:
        return box.prove(said["private"], said["own"], said["shared"], outlet)
    argv, cwd = [word.encode("latin-1") for word in said["argv"]], said["cwd"].encode("latin-1")
    environment = {name.encode("latin-1"): value.encode("latin-1") for name, value in said["environment"].items()}
    if box is not None:
        return box.spawn(argv, cwd, environment, outlet, umask=said["umask"], terminal=said["terminal"])
    process = subprocess.Popen(
        argv,
        executable=found(argv[0], cwd, environment),
        cwd=cwd,
        env=environment,
        stdin=outlet if said["terminal"] else subprocess.DEVNULL,
        stdout=outlet,
        stderr=outlet,
        start_new_session=True,
        umask=said["umask"],
        preexec_fn=take_terminal if said["terminal"] else None,  # noqa: PLW1509 - a keeper has one thread
    )
    process.returncode = 0  # it is waited for here, with all the others
    return process.pid


def _mark(mark: int) -> None:
    try:
        resource.setrlimit(MARKED_LIMIT, (mark, mark))
    except (ValueError, OSError):
        return  # a build inside a build: it bears the mark of the outer one, which may only be lowered


def _failure(error: Exception) -> bytes:
    said = error.errno if isinstance(error, OSError) else None
    number = 0 if isinstance(error, ValueError) else said or errno.EIO  # 0: the words cannot be passed on
    alone = isinstance(error, OSError) and error.filename is None
    words = (error.strerror if alone and isinstance(error, OSError) else None) or str(error)
    return b"failed %d %s\n" % (number, words.replace("\n", " ").encode("utf-8", "replace"))


class _Keeper:
    def __init__(self, control: socket.socket, wake: int) -> None:
        self._control = control
        self._wake = wake
        self._spoken_to = True
        self._number = 0
        self._pid: int | None = None  # the command's, until its exit was told
        self._busy = False
        self._killing: Killing | None = None
        self._freezing: Freezing | None = None
        self._box: Box | None = None
        self._terminal: int | None = None  # held: where its command closes it for a while its output is not at its end

    def live(self) -> None:
        while self._spoken_to or self._busy:
            watched = [self._control.fileno()] if self._spoken_to else []
            if ready(watched, self._wake, self._pause()) - {self._wake}:
                self._obey()
            if self._busy:
                self._reap()
            if self._busy and self._killing is not None:
                self._killing.strike(self._kept())
                if self._box is not None:
                    self._box.thaw()  # what is frozen does not die
            elif self._busy and self._freezing is not None and self._freezing.pause is not None:
                self._freezing.strike(self._kept())

    def _kept(self) -> list[SeenProcess]:
        """Return what the command started, and itself."""
        return descendants(os.getpid()) if self._box is None else self._box.left()

    def _pause(self) -> float | None:
        if self._killing is not None:
            return self._killing.pause
        if self._freezing is not None and self._freezing.pause is not None:
            return self._freezing.pause
        # Who is left in a sandbox has another parent there, and no signal tells of their end.
        return LONGEST_PAUSE if self._box is not None and self._busy and self._pid is None else None

    def _reap(self) -> None:
        """Wait for whatever ended, and tell of the command's own end and of that of the last that was left."""
        if self._box is None:
            self._reap_all()
        else:
            self._reap_in(self._box)

    def _reap_in(self, box: Box) -> None:
        told: int | None = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            told = status if pid == self._pid else told
        if told is not None:
            self._ended()
        if self._pid is not None:
            return
        self._busy = bool(box.left())
        if told is not None:
            if box.lost():
                self._tell(b"lost\n")
            self._tell(b"exited %d %d\n" % (os.waitstatus_to_exitcode(told), self._busy))
        elif not self._busy:
            self._tell(b"gone\n")
        if not self._busy:
            self._killing = None

    def _reap_all(self) -> None:
        told: int | None = None
        while self._busy:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._busy, self._killing, self._freezing = False, None, None
                break
            if pid == 0:
                break
            told = status if pid == self._pid else told
        if told is not None:
            self._ended()
            self._tell(b"exited %d %d\n" % (os.waitstatus_to_exitcode(told), self._busy))
        elif not self._busy:
            self._tell(b"gone\n")

    def _ended(self) -> None:
        """Take note that the command's own process has ended."""
        if self._terminal is not None:
            os.close(self._terminal)
        self._pid = self._terminal = None

    def _tell(self, line: bytes, *descriptors: int) -> None:
        try:
            socket.send_fds(self._control, [line], descriptors)
        except OSError:
            return  # the build server is gone; that it closed the connection is seen next

    def _obey(self) -> None:
        try:
            header, descriptors = self._receive(HEADER.size)
            kind, number = HEADER.unpack(header)
            if kind == ORDER:
                order, _ = self._receive(number)
                self._begin(order, descriptors[0])
            elif kind == LISTEN:
                self._listen()
            elif kind in {PREPARE, ENCLOSE}:
                order, _ = self._receive(number)
                self._enclose(kind, order)
        except (ConnectionError, IndexError):  # the connection was closed, or no descriptor was free for the output
            self._spoken_to = False
            self._killing = Killing()
            self._control.close()
            if self._box is not None:
                self._box.end()
                self._busy = False  # nothing is left, and nobody to be told
            return
        if kind == SIGNAL and self._busy and number >> 8 == self._number:  # else it was meant for one that has ended
            if number & 0xFF == signal.SIGKILL:
                self._killing = self._killing or Killing()
            elif number & 0xFF == signal.SIGSTOP:
                self._freezing = None if self._box is not None and self._box.freeze() else Freezing()
            else:
                self._freezing = None
                if not (number & 0xFF == signal.SIGCONT and self._box is not None and self._box.thaw()):
                    signal_groups(self._kept(), number & 0xFF)

    def _begin(self, order: bytes, outlet: int) -> None:
        self._number += 1
        said, held = json.loads(order), [outlet]
        try:
            if said.get("terminal"):
                held += open_terminal()
            self._pid = _start(said, held[-1], self._box)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._tell(_failure(error))
        else:
            self._busy = True
            self._tell(b"started %d %d\n" % (self._pid, os.getpid()), *held[1:2])
            self._terminal = held.pop() if said.get("terminal") else None
        finally:
            for descriptor in held:
                os.close(descriptor)

    def _listen(self) -> None:
        """Send a socket that listens in the sandbox's network, which is the only one that this keeper is in."""
        try:
            with socket.create_server(("127.0.0.1", 0)) as listening:
                socket.send_fds(self._control, [b"listening \n"], [listening.fileno()])
        except OSError as error:
            self._tell(_failure(error))

    def _enclose(self, kind: bytes, order: bytes) -> None:
        try:
            said = json.loads(order)
            if self._box is None:
                _mark(said["mark"])
                self._box = Box(said)
            else:
                self._box.equip(said)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._tell(_failure(error))
        else:
            self._tell(b"%s %d\n" % (b"prepared" if kind == PREPARE else b"enclosed", os.getpid()))

    def _receive(self, size: int) -> tuple[bytes, list[int]]:
        data, descriptors = bytearray(), []
        while len(data) < size:
            more, came, _, _ = socket.recv_fds(self._control, min(size - len(data), 1 << 20), 1)
            if not more:
                raise ConnectionResetError("the build server is gone")
            data += more
            descriptors += came
        return bytes(data), descriptors


if __name__ == "__main__":
    main(int(sys.argv[1]))
