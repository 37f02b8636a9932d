"""Lines about peers that misbehave, so few of them that no peer fills a disk with its misbehaviour."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure


class ViolationLog:
    """A log of peers that misbehave: at most ``most`` lines in ``period`` seconds, then how many more there were."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, most: int = 10, period: float = 60.0) -> None:
        self._clock = clock
        self._most = most
        self._period = period
        self._said = 0
        self._swallowed = 0
        self._since = -period

    def say(self, line: str) -> None:
        """Write one line, unless there have been enough of them."""
        if self._room():
            self._log.warn("{line}", line=line)

    def defect(self, what: str, failure: Failure) -> None:
        """Write down a mistake of this program's own, with its traceback."""
        if self._room():
            self._log.failure("{what}", failure, what=what)

    def _room(self) -> bool:
        now = self._clock.seconds()
        if now - self._since >= self._period:
            if self._swallowed:
                self._log.warn("{count} more lines about connections were left out", count=self._swallowed)
            self._since, self._said, self._swallowed = now, 0, 0
        if self._said >= self._most:
            self._swallowed += 1
            return False
        self._said += 1
        return True
