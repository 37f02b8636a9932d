"""A flow rests while its consumer has enough or its bucket is empty, and goes on only when neither holds it up."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from buildtool.concurrency.paced_flow import PacedFlow
from buildtool.concurrency.token_bucket import BURST, TokenBucket

PIECE = 100


@implementer(IPushProducer)
class Spring:
    """A source that gives a piece a tenth of a second, while it may."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.runs = True
        self.gave = 0

    def give(self, flow: PacedFlow) -> None:
        if self.runs:
            self.gave += PIECE
            flow.passed(PIECE)

    def pauseProducing(self) -> None:
        self.runs = False

    def resumeProducing(self) -> None:
        self.runs = True

    def stopProducing(self) -> None:
        self.runs = False


def made(rate: float | None) -> tuple[Clock, Spring, PacedFlow]:
    clock = Clock()
    spring = Spring(clock)
    return clock, spring, PacedFlow(spring, TokenBucket(clock, rate))


@given(st.lists(st.sampled_from(["full", "empty", "time"]), max_size=60), st.floats(1, 2_000))
def test_it_gives_no_more_than_the_rate_and_one_burst_and_never_while_its_consumer_has_enough(
    steps: list[str], rate: float
) -> None:
    clock, spring, flow = made(rate)
    full = False
    for step in steps:
        if step == "full":
            full = True
            flow.pauseProducing()
        elif step == "empty":
            full = False
            flow.resumeProducing()
        else:
            before = spring.gave
            spring.give(flow)
            clock.advance(0.1)
            assert spring.gave == before or not full
        assert spring.gave <= rate * (clock.seconds() + BURST) + PIECE


def test_it_goes_on_by_itself_once_it_was_paid_for() -> None:
    clock, spring, flow = made(100.0)
    verifyObject(IPushProducer, flow)
    spring.give(flow)
    spring.give(flow)
    assert not spring.runs
    clock.advance(1.5)
    assert spring.runs


def test_what_has_ended_is_not_woken() -> None:
    clock, spring, flow = made(50.0)
    spring.give(flow)
    spring.give(flow)
    flow.stopProducing()
    clock.advance(10)
    assert not spring.runs


def test_without_a_rate_only_the_consumer_counts() -> None:
    _, spring, flow = made(None)
    for _ in range(100):
        spring.give(flow)
    assert spring.runs
    flow.pauseProducing()
    assert not spring.runs
