"""``python -P -m tests.support.warm_program KIND``: a program that is loaded once and begins as often as it is asked.

Started by ``tests/support/warm_starts.py``, with a listening socket as its standard input. For each message it forks,
and the child is the program: with the words, the environment, the directory and the standard streams that came.
"""

import importlib
import io
import json
import os
import select
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, TextIO

PROGRAMS = {
    "startcompile": (
        "startcompile",
        "buildtool.programs.startcompile.main",
        "buildtool.programs.startcompile.errands",
        "buildtool.configuration.settings",
    ),
    "buildserver": ("buildserver", "buildtool.programs.buildserver.main"),
    "metaserver": ("metaserver", "buildtool.programs.metaserver.main"),
    "serving": (
        "metaserver",
        "buildtool.programs.metaserver.main",
        "buildtool.programs.metaserver.service",
        "buildtool.programs.metaserver.state_directory",
    ),
    "mailbox": ("", "buildtool.demo.mailbox"),
}
"""By kind what ``launch`` calls the program, and the modules that it loads before it does anything."""

MESSAGE = 1 << 20
"""The most bytes of one message."""

_REACTOR = "twisted.internet.reactor"


class NoReactor:
    """Keeps the reactor from being loaded, whose descriptors no two processes can share."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname == _REACTOR:
            raise ImportError(f"{fullname} is for whoever runs it")
        return None


def load(kind: str) -> None:
    """Load what a program loads before it does anything, but for the reactor and what loads that."""
    _, *wanted = PROGRAMS[kind]
    importlib.import_module("buildtool.programs.common.launch")
    without = NoReactor()
    names = list(_loaded_by(wanted))
    sys.meta_path.insert(0, without)
    for name in reversed(names):  # what the others load comes first
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    sys.meta_path.remove(without)


def _loaded_by(wanted: list[str]) -> Iterator[str]:
    """Yield the modules that are loaded with some, which a process of its own loads to know them."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as said, os.fdopen(writing, "w") as saying:
        pid = os.fork()
        if pid == 0:
            for name in wanted:
                importlib.import_module(name)
            saying.write("\n".join(sys.modules))
            saying.flush()
            os._exit(0)
        saying.close()
        yield from said.read().split()
    os.waitpid(pid, 0)


class Asked:
    """What a message asks for."""

    def __init__(self, text: bytes, streams: list[int]) -> None:
        found = json.loads(text)
        self.words: list[str] = found["words"]
        self.environment: dict[str, str] = found["environment"]
        self.directory: str = found["directory"]
        self.session: bool = found["session"]
        self.streams = streams

    def take_over(self) -> None:
        """Make this process what whoever asked would have started."""
        if self.session:
            os.setsid()
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdin, sys.stdout, sys.stderr = _stream(sys.stdin), _stream(sys.stdout), _stream(sys.stderr)
        os.chdir(self.directory)
        sys.argv = self.words
        os.environ.clear()
        os.environ.update(self.environment)


def _stream(was: TextIO) -> TextIO:
    """Return a standard stream as an interpreter makes it that does not buffer, where another one was."""
    raw = io.FileIO(was.fileno(), was.mode, closefd=False)
    buffer: Any = io.BufferedReader(raw) if was.readable() else raw
    return io.TextIOWrapper(buffer, encoding=was.encoding, errors=was.errors, write_through=True)


class Server:
    """Takes messages on connections, and tells of each program that it has begun when it ends."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.connections: dict[int, socket.socket] = {}
        self.running: dict[int, tuple[int, int]] = {}
        """By the descriptor that stands for a program its number, and where its end is told."""
        self.looking = select.poll()
        self.looking.register(listening, select.POLLIN)

    def begun(self) -> Asked | None:
        """Serve until nobody is connected any more, and return None; in each child return what is asked for."""
        while True:
            for number, _ in self.looking.poll():
                if number == self.listening.fileno():
                    connection, _address = self.listening.accept()
                    self.connections[connection.fileno()] = connection
                    self.looking.register(connection, select.POLLIN)
                elif number in self.running:
                    self._tell(number)
                else:
                    asked = self._answer(self.connections[number])
                    if asked is not None:
                        return asked
            if not self.connections:
                return None

    def _answer(self, connection: socket.socket) -> Asked | None:
        text, descriptors, _flags, _address = socket.recv_fds(connection, MESSAGE, 4)
        if not text:
            self.looking.unregister(connection)
            del self.connections[connection.fileno()]
            connection.close()
            return None
        *streams, end = descriptors
        pid = os.fork()
        if pid == 0:
            return Asked(text, streams)
        stands_for = os.pidfd_open(pid)
        self.running[stands_for] = (pid, end)
        self.looking.register(stands_for, select.POLLIN)
        for stream in streams:
            os.close(stream)
        connection.sendall(str(pid).encode())
        return None

    def _tell(self, stands_for: int) -> None:
        self.looking.unregister(stands_for)
        pid, end = self.running.pop(stands_for)
        os.write(end, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os.close(end)
        os.close(stands_for)


def _handed(environment: dict[str, str]) -> None:
    """Hand the environment over as a program does that starts itself anew, since this one has begun already."""
    from buildtool.programs.common.beginning import HANDED

    number = os.memfd_create("environment")
    os.write(number, b"\0".join(os.fsencode(f"{name}={value}") for name, value in environment.items()))
    os.lseek(number, 0, os.SEEK_SET)
    os.environ[HANDED] = str(number)


def _leave(path: Path) -> None:
    """Remove the traces of this process, and their directory when it is the last."""
    for one in (path, path.with_suffix(".lock")):
        one.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def main(kind: str) -> int:
    """Load a program, and be it in each process that this one forks; return the exit code."""
    import gc

    listens = stat.S_ISSOCK(os.fstat(0).st_mode)
    if listens and os.fork():
        return 0  # whoever started it is not the one to wait for it: others ask as well
    load(kind)
    if not listens:
        return 0
    gc.collect()
    gc.freeze()
    listening = socket.socket(fileno=os.dup(0))
    asked = Server(listening).begun()
    if asked is None:
        _leave(Path(listening.getsockname()))
        return 0
    asked.take_over()
    called, *modules = PROGRAMS[kind]
    if not called:
        mailbox: int = importlib.import_module(modules[0]).main()
        return mailbox
    from buildtool.programs.common import launch

    _handed(asked.environment)
    code: int = getattr(launch, called)()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
