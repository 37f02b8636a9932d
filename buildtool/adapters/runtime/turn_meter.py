"""How long the reactor's turns take, and the pauses for garbage in them: what everybody who is connected waits for.

A turn is what the reactor does between two looks for what has come: timers and results of threads first, then what
connections brought. The first part is timed as it is. Of the second, waiting for something to come is no part; the
reactor does not say where that ends, so it is what the thread has computed meanwhile, or all of it where that was most.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field
from twisted.internet.base import ReactorBase

from buildtool.protocol.messages import ReactorTurns

WINDOW = 60.0
"""Seconds for which one set of figures is taken."""

WINDOWS = 5
"""How many sets are kept."""

_FINE = 8
"""How many bounds there are for each doubling: figures are exact to one part in eleven."""

_LEAST = 0.000_01
_MOST = 256


@define(eq=False)
class TurnDurations:
    """A histogram of durations in the last minutes, in a bounded number of figures."""

    seconds: Callable[[], float]
    _windows: deque[tuple[float, list[int]]] = field(factory=lambda: deque(maxlen=WINDOWS), init=False)
    _until: float = field(default=-math.inf, init=False)
    _counts: list[int] = field(factory=list, init=False)
    _longest: deque[float] = field(factory=lambda: deque([0.0], maxlen=WINDOWS), init=False)
    _earlier: list[int] = field(factory=lambda: [0] * _MOST, init=False)
    _sum: float = field(default=0.0, init=False)

    def note(self, took: float) -> None:
        """Count something that took so many seconds and has just ended."""
        now = self.seconds()
        if now >= self._until:
            self._earlier = self._in_all()
            self._until, self._counts = now + WINDOW, [0] * _MOST
            self._windows.append((self._until, self._counts))
            self._longest.append(0.0)
        place = int(_FINE * math.log2(took / _LEAST)) if took > _LEAST else 0
        self._counts[min(place, _MOST - 1)] += 1
        self._longest[-1] = max(self._longest[-1], took)
        self._sum += took

    def histogram(self, bounds: Sequence[float]) -> list[float]:
        """Return how many took at most so long as each of ``bounds`` and longer than the one before, ever since.

        Then follow how many took longer than all, and the sum of all in seconds. ``bounds`` are doublings of 10 µs.
        """
        rows, start, counts = list[float](), 0, self._in_all()
        for bound in bounds:
            end = round(_FINE * math.log2(bound / _LEAST))
            rows.append(float(sum(counts[start:end])))
            start = end
        return [*rows, float(sum(counts[start:])), self._sum]

    def _in_all(self) -> list[int]:
        """Return the counts since the beginning."""
        pairs = zip(self._earlier, self._counts or [0] * _MOST, strict=True)
        return [before + now for before, now in pairs]

    def within(self, *parts: float) -> list[float]:
        """Return within how many seconds each part (0.99 for 99 of 100) ended, rounded up; 0 where nothing is known."""
        windows = self._recent()
        counts = [sum(column) for column in zip(*windows, strict=True)] if windows else []
        total = sum(counts)
        return [self._bound(counts, math.ceil(part * total)) if total else 0.0 for part in parts]

    def count(self) -> int:
        """Return how many were counted."""
        return sum(map(sum, self._recent()))

    def longest(self) -> float:
        """Return how many seconds the longest took."""
        return max(list(self._longest)[-len(self._recent()) :], default=0.0) if self._recent() else 0.0

    def _recent(self) -> list[list[int]]:
        since = self.seconds() - WINDOW * (WINDOWS - 1)
        return [counts for until, counts in self._windows if until > since]

    def _bound(self, counts: list[int], wanted: int) -> float:
        seen = 0
        for place, count in enumerate(counts):
            seen += count
            if seen >= wanted:
                return min(_LEAST * math.exp2((place + 1) / _FINE), self.longest())
        return self.longest()


class TurnMeter:
    """A meter of the time of every turn of a reactor, from ``watch`` until ``stop``."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self.turns = TurnDurations(seconds)
        self.pauses = TurnDurations(seconds)
        self._reactor: ReactorBase | None = None
        self._timers = 0.0
        self._collecting = 0.0

    def watch(self, reactor: ReactorBase) -> None:
        """Start to measure."""
        run, iterate = reactor.runUntilCurrent, reactor.doIteration

        def timed_run() -> None:
            began = time.perf_counter()
            run()
            self._timers = time.perf_counter() - began

        def timed_iterate(delay: float | None) -> None:
            began, computed = time.perf_counter(), time.thread_time()
            iterate(delay)
            took, computed = time.perf_counter() - began, time.thread_time() - computed
            self.turns.note(self._timers + (took if computed > took / 2 else computed))
            self._timers = 0.0

        self._reactor = reactor
        vars(reactor).update(runUntilCurrent=timed_run, doIteration=timed_iterate)
        gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """Take no more times."""
        if self._reactor is not None:
            for name in ("runUntilCurrent", "doIteration"):
                vars(self._reactor).pop(name, None)
            gc.callbacks.remove(self._collected)
            self._reactor = None

    def told(self) -> ReactorTurns:
        """Return how it has been lately."""
        middle, most, nearly_all = self.turns.within(0.5, 0.99, 0.999)
        return ReactorTurns(
            count=self.turns.count(),
            p50_ms=_ms(middle),
            p99_ms=_ms(most),
            p999_ms=_ms(nearly_all),
            max_ms=_ms(self.turns.longest()),
            pause_max_ms=_ms(self.pauses.longest()),
        )

    def _collected(self, phase: str, _about: Mapping[str, int]) -> None:
        """Python looks for garbage, or has looked."""
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self.pauses.note(time.perf_counter() - self._collecting)


def _ms(seconds: float) -> float:
    return round(1_000 * seconds, 2)
