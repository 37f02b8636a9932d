"""The file that lines about visitors are added to.

Tested by tests/web/monitoring/test_access_log.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from attrs import define, field
from twisted.logger import Logger

AGAIN = 60.0
"""Seconds for which a file that cannot be written is left alone."""

log = Logger()


@define(eq=False)
class AccessLog:
    """A file that lines are added to. One that was moved away, as when logs are rotated, is made anew.

    ``seconds`` reads the monotonic clock.
    """

    path: Path
    seconds: Callable[[], float] = time.monotonic
    _file: TextIO | None = field(default=None, init=False)
    _resting: float = field(default=0.0, init=False)

    def write(self, line: str) -> None:
        """Add a line. What cannot be written is left out, and the program's own log says so once a minute."""
        if self.seconds() < self._resting:
            return
        try:
            self._opened().write(line)
        except OSError as error:
            log.warn("the access log {path} is not written: {why}", path=str(self.path), why=error.strerror)
            self.close()
            self._resting = self.seconds() + AGAIN

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _opened(self) -> TextIO:
        if self._file is not None:
            try:
                there = self.path.stat()
            except FileNotFoundError:
                self.close()
            else:
                if not os.path.samestat(there, os.fstat(self._file.fileno())):
                    self.close()
        if self._file is None:
            self._file = self.path.open("a", encoding="ascii", buffering=1)
        return self._file
