"""A service manager for tests: it listens for what programs tell it, and hands sockets over to those that it starts."""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue
from time import monotonic
from typing import Any

from attrs import define, field

PATIENCE = 60.0

_HANDING = """
import os, sys
count = int(sys.argv[1])
for number in range(count):
    os.dup2(int(sys.argv[2 + number]), 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


@define
class HeardMessages:
    """What a program has told the service manager, in order."""

    listening: socket.socket
    _come: Queue[bytes] = field(factory=Queue, init=False)

    def read(self) -> None:
        """Take what comes until the socket is shut: few messages would wait in it."""
        while message := self.listening.recv(4096):
            self._come.put(message)

    def next(self, seconds: float = PATIENCE) -> dict[str, str]:
        """Return the next message. Raises Empty when none comes in so many seconds."""
        fields = self._come.get(timeout=seconds).decode().split("\n")
        return dict(one.split("=", 1) for one in fields)

    def wait_for(self, name: str) -> dict[str, str]:
        """Return the first message that has a field of this name."""
        until = monotonic() + PATIENCE
        while monotonic() < until:
            message = self.next()
            if name in message:
                return message
        raise AssertionError(f"{name} was not told")

    def silent(self, seconds: float) -> bool:
        """Return whether nothing came for so many seconds, in one of four tries: something may be under way."""
        for _ in range(4):
            while not self._come.empty():
                self._come.get()
            try:
                self._come.get(timeout=seconds)
            except Empty:
                return True
        return False


@contextlib.contextmanager
def listening_at(place: str) -> Iterator[HeardMessages]:
    """Listen at a path, or at an abstract name, which begins with @."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"\0{place[1:]}" if place.startswith("@") else place)
        heard = HeardMessages(made)
        reading = threading.Thread(target=heard.read, daemon=True)
        reading.start()
        try:
            yield heard
        finally:
            made.shutdown(socket.SHUT_RDWR)
            reading.join(PATIENCE)


@define
class Handing:
    """Starts programs that are handed sockets, as ``subprocess.Popen`` starts others."""

    sockets: Sequence[socket.socket]

    def __call__(self, words: list[str], **how: Any) -> subprocess.Popen[bytes]:
        """Start a program."""
        # Above the numbers that they are to have, so that none lies on another's.
        numbers = [found.fileno() + 100 for found in self.sockets]
        with contextlib.ExitStack() as closing:
            made = [fcntl.fcntl(one, fcntl.F_DUPFD, number) for one, number in zip(self.sockets, numbers, strict=True)]
            for one in made:
                closing.callback(os.close, one)
            hand = [sys.executable, "-c", _HANDING, str(len(made)), *map(str, made)]
            return subprocess.Popen([*hand, *words], pass_fds=made, **how)


def short_place(directory: Path) -> str:
    """Return a path for a socket; sockets have short ones."""
    return str(directory / "n")
