"""How many lines of a kind a log takes: whatever peers cause, it grows so much an hour and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from attrs import define, field
from twisted.logger import LogEvent

from buildtool.concurrency.rates import OmittedCount, RateBudget, RateLimiter
from buildtool.model.text import one_line

OF_SOURCE = RateBudget(8 * 1024, 100)
"""Bytes of lines of one kind about one build server: at once, and each second after that."""

OF_KIND = RateBudget(48 * 1024, 400)
"""Bytes of lines of one kind about all of them, which is four lines a second for as long as it lasts."""

SUMMED_UP_AFTER = 60.0
"""Seconds after the first line that was left out, it is told how many there were."""

_KIND_SHOWN = 100


@define
class LineRates:
    """A limit on log lines. A kind of line is what the program says, without what it says it of.

    Every kind has a budget of its own, so what peers cause again and again leaves what the operator has to know alone.
    """

    now: Callable[[], float] = time.monotonic
    _rates: RateLimiter = field(factory=lambda: RateLimiter(OF_SOURCE, OF_KIND), init=False)

    def allows(self, event: LogEvent, line: str) -> bool:
        """Return whether there is room for a line, and count it."""
        return self._rates.allows(
            _kind(event), str(event.get("name") or ""), len(line.encode(errors="replace")), self.now()
        )

    def left_out(self, *, at_the_end: bool = False) -> Iterator[str]:
        """Return what to say of the lines that were left out, a minute after the first, or all ``at_the_end``."""
        now = self.now()
        for one in self._rates.left_out(now if at_the_end else now - SUMMED_UP_AFTER):
            yield _summary(one, now)


def _kind(event: LogEvent) -> str:
    namespace = str(event.get("log_namespace", ""))
    # What libraries say is not ours to tell apart: their words may hold anything.
    return f"{event.get('log_format') or ''}" if namespace.startswith(("buildtool", "web")) else namespace


def _summary(one: OmittedCount, now: float) -> str:
    whose = f" about {one.source}" if one.source else ""
    what = one_line(one.kind, _KIND_SHOWN)
    return f"left out: {one.count:,} more lines{whose} in {now - one.since:.0f} s like this: {what}"
