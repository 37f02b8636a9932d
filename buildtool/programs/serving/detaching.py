"""A server that goes into the background: whoever started it waits until it serves, or sees why it does not.

What it complains of until then goes through a pipe to the terminal, as does its exit code where it ends before.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from attrs import define

from buildtool.programs.common.ending import EXIT_FAILED, EXIT_OK, EXIT_SIGNAL, whole
from buildtool.programs.common.output import complain, copy_to, say_line

DETACHED = "BUILDTOOL_DETACHED"
"""The variable by which a process that executes itself anew knows that it is in the background already."""

_COMPLAINT, _PROCESS, _SERVES, _CODE = b"!", b">", b"=", b"?"
_PIECE = 65_536


@define(eq=False)
class _Report:
    """What is told to the process that waits at the terminal, a line each; it is a stream for complaints too."""

    descriptor: int = -1

    @property
    def closed(self) -> bool:
        return self.descriptor < 0

    def write(self, text: str) -> int:
        self.tell(_COMPLAINT, text.rstrip("\n"))
        return len(text)

    def flush(self) -> None:
        """Write what waits, which is never anything."""

    def tell(self, kind: bytes, words: str) -> None:
        if not self.closed:
            os.write(self.descriptor, kind + words.replace("\n", " ").encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        if not self.closed:
            os.close(self.descriptor)
            self.descriptor = -1


_report = _Report()


def serves() -> None:
    """Report that the server does its work from now on, to the process at the terminal that waits for it."""
    try:
        _report.tell(_SERVES, str(os.getpid()))
    except OSError:
        return  # it was ended meanwhile
    finally:
        _report.close()


def is_detached() -> bool:
    """Return whether this process is in the background already."""
    return os.environ.get(DETACHED) == str(os.getpid())


def detached(program: str, act: Callable[[], int]) -> int:
    """Run a server in the background, and return its exit code, or 0 once it serves. No thread may run yet.

    In the new process ``act`` runs without a terminal, in a session that it does not lead, and its exit code is
    returned.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    first = os.fork()
    if first == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(EXIT_OK)
        os.close(reading)
        return _background(program, act, writing)
    os.close(writing)
    os.waitpid(first, 0)
    try:
        return _Waiting(program, reading).code()
    finally:
        os.close(reading)


def _background(program: str, act: Callable[[], int], writing: int) -> int:
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    os.environ[DETACHED] = str(os.getpid())
    _report.descriptor = writing
    _report.tell(_PROCESS, str(os.getpid()))
    copy_to(_report)
    code = whole(program, act)
    try:
        _report.tell(_CODE, str(code))
    except OSError:
        return code  # it was ended meanwhile
    return code


@define(eq=False)
class _Waiting:
    """The process at the terminal, which waits for what the server reports."""

    program: str
    reading: int
    process: int = 0
    complained: bool = False
    _rest: bytes = b""

    def code(self) -> int:
        """Return the exit code: 0 once it serves."""
        while True:
            try:
                piece = os.read(self.reading, _PIECE)
            except KeyboardInterrupt:
                self._break_off()
            if not piece:
                if not self.complained:
                    complain(f"{self.program}: it was ended before it served")
                return EXIT_FAILED
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                code = self._told(line[:1], line[1:].decode("utf-8", "replace"))
                if code is not None:
                    return code

    def _told(self, kind: bytes, words: str) -> int | None:
        if kind == _COMPLAINT:
            self.complained = True
            complain(words)
        elif kind == _PROCESS:
            self.process = int(words)
        elif kind == _SERVES:
            say_line(f"{self.program}: serves as process {words}")
            return EXIT_OK
        elif kind == _CODE:
            return int(words)
        return None

    def _break_off(self) -> NoReturn:
        if self.process:
            try:
                os.kill(self.process, signal.SIGTERM)
            except ProcessLookupError:
                complain(f"{self.program}: it has ended")
        complain(f"{self.program}: broken off")
        sys.exit(EXIT_SIGNAL + signal.SIGINT)
