"""How startcompile.py shows things: plain lines, a live display on a terminal, or nothing (for ``--json``)."""

from __future__ import annotations

import codecs
import sys
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from buildtool.domain.model import BuildState
from buildtool.protocol import Told
from buildtool.requester.lines import clean

__all__ = ["LogText", "PlainConsole", "SilentConsole", "TerminalConsole"]

LINE_LIMIT = 4_000
"""A line of a log is shown at most this long at once, in characters."""

_REFRESH = 0.2


class LogText:
    """Turns the bytes of a log into whole lines that do a terminal no harm; keeps at most one unfinished line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completes."""
        *whole, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        while len(self._rest) > LINE_LIMIT:
            whole.append(self._rest[:LINE_LIMIT])
            self._rest = self._rest[LINE_LIMIT:]
        return [_harmless(line) for line in whole]


def _harmless(line: str) -> str:
    """Return a line of a log without anything that moves the cursor or colours the terminal."""
    line = line.rstrip("\r").rpartition("\r")[2].expandtabs()[:LINE_LIMIT]
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


class SilentConsole:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def state(self, told: Told) -> None:
        """Say nothing."""

    def log(self, data: bytes) -> None:
        """Say nothing."""

    def downloading(self, name: str, received: int, size: int) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Leave nothing behind."""


class PlainConsole(SilentConsole):
    """Plain lines on ``stream``. When nobody reads it any more, nothing more is written."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._text = LogText()

    def say(self, line: str) -> None:
        """Show one line."""
        try:
            print(line, file=self._stream, flush=True)
        except (OSError, ValueError):
            return  # a closed pipe: the errand goes on

    def log(self, data: bytes) -> None:
        """Show the lines of the log, set off from our own."""
        for line in self._text.feed(data):
            self.say(f"| {line}")


class TerminalConsole(SilentConsole):
    """A line at the bottom tells the state and the time; above it lines go by; a bar shows the download."""

    def __init__(self, timers: IReactorTime, console: RichConsole | None = None) -> None:
        self._console = console or RichConsole(highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
            get_time=timers.seconds,
        )
        self._text = LogText()
        self._shown: TaskID | None = None
        self._refresh = LoopingCall(self._progress.refresh)
        self._refresh.clock = timers

    def say(self, line: str) -> None:
        """Show one line."""
        self._console.print(Text(line), soft_wrap=True)

    def log(self, data: bytes) -> None:
        """Show the lines of the log, dimmed."""
        for line in self._text.feed(data):
            self._console.print(Text(line, style="dim"), soft_wrap=True)

    def state(self, told: Told) -> None:
        """Tell the state at the bottom."""
        if told.build_state == BuildState.QUEUED.value:
            words = f"build {told.build_id} is queued"
        else:
            words = f"build {told.build_id} on {clean(told.server) or 'its way'}"
        self._show(words, None, None)

    def downloading(self, name: str, received: int, size: int) -> None:
        """Move the bar."""
        self._show(clean(name), received, size)
        if received >= size:
            self.close()

    def close(self) -> None:
        """Take the display away."""
        if self._refresh.running:
            self._refresh.stop()
        if self._shown is not None:
            self._progress.remove_task(self._shown)
            self._shown = None
            self._progress.stop()

    def _show(self, words: str, completed: int | None, total: int | None) -> None:
        if self._shown is None:
            self._progress.start()
            self._shown = self._progress.add_task(words, total=total)
            self._refresh.start(_REFRESH)
        self._progress.update(self._shown, description=words, completed=completed, total=total)
