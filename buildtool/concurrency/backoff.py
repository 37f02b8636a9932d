"""How long to wait before something that failed is tried again: longer each time, up to a limit."""

from __future__ import annotations

from attrs import define, field, frozen


@frozen
class Backoff:
    """The delays in seconds: ``first``, doubled up to ``most``; chance takes off up to the part ``spread``."""

    first: float
    most: float
    spread: float = 0.0

    def delay(self, tries: int, draw: float = 0.0) -> float:
        """Return the delay after ``tries`` earlier tries; ``draw``, from 0 to 1, is what chance says."""
        return min(self.most, self.first * 2.0 ** min(tries, 60)) * (1.0 - self.spread * draw)

    def begin(self) -> Tries:
        """Return the tries of one act, of which none was made yet."""
        return Tries(self)


@define
class Tries:
    """The tries of one act: each ``next_delay`` is longer than the one before, until ``reset``."""

    backoff: Backoff
    _made: int = field(default=0, init=False)

    def next_delay(self) -> float:
        """Return the delay in seconds before the next try."""
        delay = self.backoff.delay(self._made)
        self._made += 1
        return delay

    def reset(self) -> None:
        """Restart with the first delay: something was achieved."""
        self._made = 0
