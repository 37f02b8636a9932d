"""A bucket lets through no more each second than its rate, whoever takes how much when, and nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.concurrency.token_bucket import BURST, TokenBucket

TAKES = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 500)), min_size=1, max_size=30)


@given(TAKES, st.floats(1, 200))
def test_in_any_span_no_more_goes_through_than_the_rate_and_one_burst(
    takes: list[tuple[float, int]], rate: float
) -> None:
    clock = Clock()
    bucket, through = TokenBucket(clock, rate), list[tuple[float, int]]()

    def take(amount: int) -> None:
        went = Deferred.fromCoroutine(bucket.take(amount))
        went.addCallback(lambda _: through.append((clock.seconds(), amount)))

    at = 0.0
    for pause, amount in takes:
        at += pause
        clock.callLater(at, take, amount)
    clock.pump([0.25] * int(4 * (at + sum(amount for _, amount in takes) / rate) + 8))

    assert sorted(amount for _, amount in through) == sorted(amount for _, amount in takes)
    for first, (begins, _) in enumerate(through):
        for last in range(first, len(through)):
            moved = sum(amount for _, amount in through[first : last + 1])
            largest = max(amount for _, amount in through[first : last + 1])
            assert moved <= rate * (through[last][0] - begins + BURST + 0.5) + largest


def test_without_a_rate_nothing_waits_and_pieces_are_as_large_as_they_were() -> None:
    bucket = TokenBucket(Clock())
    assert Deferred.fromCoroutine(bucket.take(10**9)).called
    assert bucket.piece(65_536) == 65_536
    assert TokenBucket(Clock(), 1_000.0).piece(65_536) == 250
