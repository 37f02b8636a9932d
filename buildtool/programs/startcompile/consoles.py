"""How startcompile.py shows things: plain lines, or nothing (for ``--json``); on a terminal, see ``terminal``."""

from __future__ import annotations

import codecs
import sys
from typing import TextIO

from buildtool.errors import OutputLost
from buildtool.model.text import log_line, printable
from buildtool.programs.common.output import lost, put
from buildtool.protocol.messages import RequestStatus

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


def _harmless(line: str) -> str:
    """Return a line of a log without anything that moves the cursor or colours the terminal."""
    return log_line(line, LINE_LIMIT)


class SilentConsole:
    """A console that shows nothing. ``lost`` is why something could not be shown, None if all was."""

    lost: OutputLost | None = None

    def say(self, line: str) -> None:
        """Print nothing."""

    def state(self, told: RequestStatus) -> None:
        """Print nothing."""

    def log(self, data: bytes) -> None:
        """Print nothing."""

    def downloading(self, name: str, received: int, size: int) -> None:
        """Print nothing."""

    def close(self) -> None:
        """Clear what is shown."""


class PlainConsole(SilentConsole):
    """A console of plain lines on ``stream``. When it cannot be written, or is closed, the errand goes on."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._text = LogText()

    def say(self, line: str) -> None:
        """Show one line."""
        try:
            put(self._stream, f"{printable(line, LINE_LIMIT)}\n")
        except OSError as error:
            self.lost = self.lost or lost(error)

    def log(self, data: bytes) -> None:
        """Show the lines of the log, set off from our own."""
        for line in self._text.feed(data):
            self.say(f"| {line}")
