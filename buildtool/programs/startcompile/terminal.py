"""The live display of startcompile.py on a terminal. It costs a tenth of a second, which scripts do not have to wait.

Tested by tests/programs/startcompile/test_main.py.
"""

from __future__ import annotations

import io
import sys
from typing import TextIO

from rich.console import Console as RichConsole
from rich.filesize import pick_unit_and_suffix
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from buildtool.model.text import printable
from buildtool.ports.requester import Tone
from buildtool.programs.common.output import as_called, lost, put
from buildtool.programs.startcompile.consoles import LINE_LIMIT, LogText, SilentConsole
from buildtool.protocol.messages import RequestStatus
from buildtool.requester.progress import progress
from buildtool.requester.text import clean

_REFRESH = 0.2

_STYLES = {Tone.PLAIN: "", Tone.GOOD: "bold green", Tone.BAD: "bold red"}


class _Speed(TransferSpeedColumn):
    """The speed of a transfer, in the units of its size."""

    def render(self, task: Task) -> Text:
        """Return the speed, or nothing before it is known."""
        speed = int(task.finished_speed or task.speed or 0)
        unit, suffix = pick_unit_and_suffix(speed, ["bytes", "KiB", "MiB", "GiB", "TiB"], 1024)
        return Text(f"{speed / unit:,.1f} {suffix}/s" if speed else "", style="progress.data.speed")


class _Steady(io.TextIOBase):
    """A terminal as Rich writes on it: what cannot be written, because it is gone, is not worth an error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override] # it is always known
        """The terminal's encoding."""
        return self._stream.encoding or "utf-8"

    def fileno(self) -> int:
        """Return the terminal's descriptor."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return whether it is a terminal, as it should be."""
        return self._stream.isatty()

    def write(self, text: str) -> int:
        """Write, if that can be."""
        try:
            put(self._stream, text)
        except OSError as error:
            lost(error)
        return len(text)


class TerminalConsole(SilentConsole):
    """A line at the bottom tells the state and the time, or shows the download; above it lines go by."""

    def __init__(self, timers: IReactorTime, console: RichConsole | None = None) -> None:
        self._console = console or RichConsole(highlight=False, file=_Steady(sys.stdout))  # type: ignore[arg-type] # it has all that is used
        self._timers = timers
        one_line = Column(no_wrap=True, overflow="ellipsis")
        self._words = TextColumn("{task.description}", markup=False, table_column=one_line)
        self._time = TextColumn("{task.fields[time]}", markup=False, table_column=Column(no_wrap=True))
        self._told: tuple[RequestStatus, float] | None = None
        self._bar = False
        self._text = LogText()
        self._bottom: Progress | None = None
        self._shown = TaskID(0)
        self._measured = False
        self._refresh = LoopingCall(self._redraw)
        self._refresh.clock = timers

    def say(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        self._console.print(Text(printable(as_called(line), LINE_LIMIT), style=_STYLES[tone]), soft_wrap=True)

    def log(self, data: bytes) -> None:
        """Show the lines of the log, dimmed."""
        for line in self._text.feed(data):
            self._console.print(Text(line, style="dim"), soft_wrap=True)

    def state(self, told: RequestStatus, seconds: float) -> None:
        """Show the state at the bottom: why it waits and since when, or how far it is beside what is usual."""
        bar = progress(told, seconds).has_bar
        if self._measured or bar != self._bar:
            self.close()
        self._bar, self._told = bar, (told, self._timers.seconds() - seconds)
        self._show_state()

    def _show_state(self) -> None:
        if self._told is None:
            return
        told, began = self._told
        now = progress(told, self._timers.seconds() - began)
        spinner = SpinnerColumn("dots" if self._console.encoding.startswith("utf") else "line")
        columns: list[ProgressColumn] = [spinner, self._words, *([BarColumn(20)] if self._bar else []), self._time]
        self._show(columns, now.words, now.seconds, now.usual, now.time)

    def downloading(self, name: str, received: int, size: int) -> None:
        """Move the bar."""
        if not self._measured:
            self.close()
        self._measured, self._told = True, None
        columns = [self._words, BarColumn(), DownloadColumn(binary_units=True), _Speed()]
        self._show(columns, clean(name), received, size)
        if received >= size:
            self.close()

    def close(self) -> None:
        """Take away what is at the bottom."""
        self._measured, self._told = False, None
        if self._refresh.running:
            self._refresh.stop()
        if self._bottom is not None:
            self._bottom.stop()
            self._bottom = None

    def _show(
        self, columns: list[ProgressColumn], words: str, done: float, total: float | None, time: str = ""
    ) -> None:
        if self._bottom is None:
            self._bottom = Progress(
                *columns, console=self._console, auto_refresh=False, transient=True, get_time=self._timers.seconds,
                redirect_stdout=False, redirect_stderr=False,  # what it takes over it breaks into lines of its own
            )  # fmt: skip
            self._bottom.start()
            self._shown = self._bottom.add_task(words, completed=int(done), total=total, time=time)
            self._refresh.start(_REFRESH)
        self._bottom.update(self._shown, description=words, completed=done, total=total, time=time)

    def _redraw(self) -> None:
        if self._bottom is not None:
            self._show_state()
            self._bottom.refresh()
