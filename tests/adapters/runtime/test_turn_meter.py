"""How long turns take is told as it was, lately, in figures whose number does not grow."""

import gc
import time
from typing import cast

import hypothesis.strategies as st
from hypothesis import given
from twisted.internet import reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from buildtool.adapters.runtime.turn_meter import WINDOW, WINDOWS, TurnDurations, TurnMeter
from buildtool.model.metrics.table import TURN

STEP = 2 ** (1 / 8)
"""By how much a figure may be rounded up."""


@given(st.lists(st.floats(0.000_02, 50.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_a_part_is_told_as_it_was_or_rounded_up_to_the_next_bound(took: list[float], part: float) -> None:
    durations = TurnDurations(lambda: 1.0)
    for one in took:
        durations.note(one)
    exact = sorted(took)[max(0, -int(-part * len(took) // 1) - 1)]
    (told,) = durations.within(part)
    assert exact * 0.999 <= told <= exact * STEP * 1.001
    assert durations.longest() == max(took)
    assert durations.count() == len(took)


def test_only_what_was_lately_is_told_and_nothing_grows() -> None:
    now = [0.0]
    durations = TurnDurations(lambda: now[0])
    durations.note(3.0)
    for _ in range(20):
        now[0] += WINDOW
        durations.note(0.001)
    assert durations.count() <= WINDOWS
    assert durations.longest() == 0.001
    now[0] += WINDOW * WINDOWS
    assert (durations.count(), durations.longest(), durations.within(0.5)) == (0, 0.0, [0.0])


@given(st.lists(st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 90.0)), max_size=40))
def test_a_histogram_counts_everything_since_the_beginning(noted: list[tuple[float, float]]) -> None:
    now = [0.0]
    durations = TurnDurations(lambda: now[0])
    for took, later in noted:
        durations.note(took)
        now[0] += later
    *counts, total = durations.histogram(TURN.bounds)
    assert sum(counts) == len(noted)
    assert total == sum(took for took, _ in noted)
    for place, bound in enumerate(TURN.bounds, 1):
        assert sum(counts[:place]) == sum(took < bound for took, _ in noted)


class OfAReactor(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.meter = TurnMeter()
        self.meter.watch(cast("ReactorBase", reactor))
        self.addCleanup(self.meter.stop)

    async def later(self, seconds: float = 0.0) -> None:
        await deferLater(cast("IReactorTime", reactor), seconds)

    async def test_a_timer_that_holds_the_reactor_up_is_seen_and_waiting_is_not(self) -> None:
        await self.later(0.3)
        await self.later()
        assert self.meter.turns.longest() < 0.25, "nothing was done but waiting"
        waiting: Deferred[None] = Deferred()

        def hold_up() -> None:
            time.sleep(0.3)  # as a disk that does not answer would
            waiting.callback(None)

        cast("IReactorTime", reactor).callLater(0, hold_up)
        await waiting
        await self.later()
        assert self.meter.turns.longest() >= 0.3
        assert self.meter.told().max_ms >= 300
        assert self.meter.told().count == self.meter.turns.count() > 0

    async def test_pauses_for_garbage_are_seen(self) -> None:
        gc.collect()
        await self.later()
        assert self.meter.told().pause_max_ms > 0

    async def test_afterwards_the_reactor_is_as_it_was(self) -> None:
        self.meter.stop()
        await self.later()
        before = self.meter.turns.count()
        await self.later()
        assert self.meter.turns.count() == before
        assert "doIteration" not in vars(reactor)
        assert self.meter._collected not in gc.callbacks
