"""What happened in a world, line by line, and a digest of all of it: the same seed gives the same."""

from __future__ import annotations

import hashlib
import zlib

from tests.simulation.clock import VirtualTime


class Trace:
    """Lines with their times; ``keep`` keeps them for people, else only the last of them and the digest."""

    LAST = 400

    def __init__(self, time: VirtualTime, *, keep: bool = False) -> None:
        self._time = time
        self._keep = keep
        self._digest = hashlib.sha256()
        self.lines: list[str] = []

    @property
    def now(self) -> float:
        """Return the world's monotonic time."""
        return self._time.now

    def say(self, who: str, what: str) -> None:
        """Write down that something happened to ``who``."""
        line = f"{self._time.now:12.3f} {who:<10} {what}"
        self._digest.update(line.encode())
        self.lines.append(line)
        if not self._keep and len(self.lines) > 2 * self.LAST:
            del self.lines[: self.LAST]

    def bytes(self, data: bytes) -> None:
        """Take what went over a connection into the digest, but not into the lines."""
        self._digest.update(b"%x" % zlib.crc32(data))

    def digest(self) -> str:
        """Return the SHA-256 of everything so far."""
        return self._digest.hexdigest()
