"""The real programs of a run, each started, killed, frozen and started again; what they say is kept in files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from attrs import define

STOPS_WITHIN = 30.0
"""Seconds after SIGTERM until which a program is believed to end; what it promises is less, on a machine of its own."""

DRAINS_WITHIN = 120.0
"""The same after SIGHUP, when a build server finishes what it builds and delivers it first."""

_DEFECT = re.compile(r"Traceback|a defect |\bcritical\b|Unhandled")


class Misbehaved(Exception):
    """A program did not do what it should."""


@define(eq=False)
class Program:
    """One program of the farm over all its lives; each life has a log of its own.

    ``pause`` waits for so many seconds. ``wanted`` is False while the program is to be down.
    """

    name: str
    words: list[str]
    environment: Mapping[str, str]
    logs: Path
    pause: Callable[[float], Awaitable[object]]
    lives: int = 0
    wanted: bool = False
    busy: bool = False
    frozen: bool = False
    process: subprocess.Popen[bytes] | None = None
    longest_stop: float = 0.0

    @property
    def log(self) -> Path:
        return self.logs / f"{self.name}.{self.lives:03d}.log"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Begin a new life."""
        self.lives += 1
        self.wanted = True
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # The -X means nothing to Python, but names the run: most programs show nothing of their environment.
                [sys.executable, "-X", f"run={self.logs}", *self.words],
                env={**self.environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def ready(self, words: str, seconds: float = 60.0) -> None:
        """Wait until it says ``words`` in this life. Raises Misbehaved when it does not."""
        waited = 0.0
        while words.encode() not in self.log.read_bytes():
            if not self.alive:
                raise Misbehaved(f"{self.name} ended without saying {words!r}: {self.last()}")
            if waited > seconds:
                raise Misbehaved(f"{self.name} did not say {words!r} within {seconds:.0f} s: {self.last()}")
            await self.pause(0.05)
            waited += 0.05

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it as a crash would; only the program itself, not what it started."""
        self.wanted = False
        self.send(signal.SIGKILL)
        self.frozen = False
        if self.process is not None:
            self.process.wait()

    def freeze(self) -> None:
        """Stop it where it stands."""
        self.frozen = True
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.frozen = False
        self.send(signal.SIGCONT)

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = STOPS_WITHIN) -> int:
        """Ask it to stop, and return its exit code. Raises Misbehaved, and kills it, when it does not end in time."""
        self.wanted = False
        if self.process is None:
            return 0
        self.send(number)
        waited = 0.0
        while self.process.poll() is None:
            if waited > seconds:
                self.kill()
                raise Misbehaved(f"{self.name} did not end within {seconds:.0f} s of {number.name}: {self.last()}")
            await self.pause(0.05)
            waited += 0.05
        if number is signal.SIGTERM:
            self.longest_stop = max(self.longest_stop, waited)
        return self.process.returncode

    def last(self) -> str:
        """Return the last line of this life's log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def defects(self) -> list[str]:
        """Return what its logs hold that no program should ever say, over all its lives."""
        found = []
        for path in sorted(self.logs.glob(f"{self.name}.*.log")):
            lines = path.read_text(errors="replace").splitlines()
            found += [f"{path.name}: {line}" for line in lines if _DEFECT.search(line)]
        return found
