"""How startcompile.py shows things: plain lines, or JSON, or nothing; on a terminal, see ``terminal``."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Callable
from typing import TextIO

from buildtool.errors import OutputLost
from buildtool.model.text import log_line, printable
from buildtool.ports.requester import Tone
from buildtool.programs.common.output import as_called, lost, put
from buildtool.protocol.messages import RequestStatus
from buildtool.requester.outcome import status_as_json
from buildtool.requester.text import clean

LINE_LIMIT = 4_000
"""A line of a log is shown at most this long at once, in characters."""


class LogText:
    """A filter of the bytes of a log into whole, harmless lines; it keeps at most one unfinished line."""

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

    def end(self) -> list[str]:
        """Return the line that was begun, if there is one."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        return [_harmless(rest)] if rest else []


def _harmless(line: str) -> str:
    """Return a line of a log without anything that moves the cursor or colours the terminal."""
    return log_line(line, LINE_LIMIT)


class SilentConsole:
    """A console that shows nothing. ``lost`` is why something could not be shown, None if all was."""

    lost: OutputLost | None = None

    def say(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """Print nothing."""

    def state(self, told: RequestStatus, seconds: float) -> None:
        """Print nothing."""

    def moved(self, told: RequestStatus, line: str) -> None:
        """Print the line about one of several requests."""
        self.say(line)

    def log(self, data: bytes) -> None:
        """Print nothing."""

    def downloading(self, name: str, received: int, size: int) -> None:
        """Print nothing."""

    def close(self) -> None:
        """Clear what is shown."""


class PlainConsole(SilentConsole):
    """A console of plain lines on ``stream``, those of a log with a ``mark``.

    When it cannot be written, or is closed, the errand goes on.
    """

    def __init__(self, stream: TextIO | None = None, mark: str = "| ") -> None:
        self._stream = sys.stdout if stream is None else stream
        self._text = LogText()
        self._mark = mark

    def say(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """Show one line."""
        self._put(as_called(line))

    def _put(self, line: str) -> None:
        try:
            put(self._stream, f"{printable(line, LINE_LIMIT)}\n")
        except OSError as error:
            self.lost = self.lost or lost(error)

    def log(self, data: bytes) -> None:
        """Show the lines of the log, set off from our own."""
        for line in self._text.feed(data):
            self._put(f"{self._mark}{line}")

    def close(self) -> None:
        """Show what there is of a last line that was never ended."""
        for line in self._text.end():
            self._put(f"{self._mark}{line}")


class JsonConsole(SilentConsole):
    """A console of one line of JSON an event, each with the time ``at`` (seconds since 1970), for programs.

    A log comes in whole lines; of what is downloaded a line a second is told, and its end.
    """

    def __init__(self, now: Callable[[], float], stream: TextIO | None = None) -> None:
        self._now = now
        self._stream = sys.stdout if stream is None else stream
        self._text = LogText()
        self._told_at = -1.0

    def say(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """Print what a person would read."""
        self._tell("note", text=printable(line, LINE_LIMIT))

    def state(self, told: RequestStatus, seconds: float) -> None:
        """Print how the request stands, with the keys of the object at the end."""
        self._tell("state", **status_as_json(told))

    def moved(self, told: RequestStatus, line: str) -> None:
        """Print how one of several requests stands."""
        self.state(told, 0.0)

    def log(self, data: bytes) -> None:
        """Print the lines of the log."""
        if lines := self._text.feed(data):
            self._tell("log", lines=lines)

    def close(self) -> None:
        """Print what there is of a last line that was never ended."""
        if lines := self._text.end():
            self._tell("log", lines=lines)

    def downloading(self, name: str, received: int, size: int) -> None:
        """Print how far a download is."""
        if received >= size or self._now() - self._told_at >= 1:
            self._told_at = self._now()
            self._tell("download", name=clean(name), received=received, size=size)

    def _tell(self, event: str, **more: object) -> None:
        try:
            put(self._stream, f"{json.dumps({'event': event, 'at': self._now(), **more}, sort_keys=True)}\n")
        except OSError as error:
            self.lost = self.lost or lost(error)
