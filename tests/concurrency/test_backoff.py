"""Delays grow from the first to the most, and begin anew when something was achieved."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.concurrency.backoff import Backoff

BACKOFF = Backoff(10, 3600, spread=0.25)


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_delays_double_up_to_the_most_and_chance_takes_off_no_more_than_its_part(tries: int, draw: float) -> None:
    nominal = min(3600.0, 10.0 * 2.0 ** min(tries, 20))
    assert BACKOFF.delay(tries) == nominal
    assert 0.75 * nominal <= BACKOFF.delay(tries, draw) <= nominal


def test_the_tries_of_an_act_wait_longer_each_time_until_they_are_reset() -> None:
    tries = Backoff(0.5, 3.0).begin()
    assert [tries.next_delay() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    tries.reset()
    assert tries.next_delay() == 0.5
