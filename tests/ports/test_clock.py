"""``Clock``: the machine's, those that tests set, and the simulation's tell wall time alike."""

import time
from collections.abc import Callable

import pytest
from twisted.internet.task import Clock as MonotonicClock

from buildtool.adapters.runtime.clock import WallClock as MachineClock
from buildtool.ports.common import Clock
from tests.simulation.clock import VirtualTime, Wall
from tests.support.memory import WallClock

NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("make", "now"),
    [
        (MachineClock, time.time),
        (lambda: WallClock(NOW), lambda: NOW),
        (lambda: WallClock(NOW, MonotonicClock()), lambda: NOW),
        (lambda: Wall(VirtualTime(), NOW), lambda: NOW),
    ],
    ids=["machine", "set", "passing", "simulated"],
)
def test_the_time_is_a_float_in_seconds_since_the_epoch_however_often_it_is_asked(
    make: Callable[[], Clock], now: Callable[[], float]
) -> None:
    before, clock = now(), make()
    told = [clock.wall() for _ in range(3)]
    assert all(type(one) is float for one in told)
    assert before - 1 <= told[0] <= told[-1] <= now() + 1
