"""Everybody who waits is woken once for each wait, whatever they do when they are."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from buildtool.concurrency.signal import Signal


class Waiting(RuleBasedStateMachine):
    """Some wait for the next time, some at most so long, some give up, some cancel others when they are woken."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.signal = Signal()
        self.waiting: dict[int, tuple[Deferred[None], float]] = {}
        self.woken: list[int] = []
        self.count = 0

    def begin(self, waiter: Deferred[None], until: float) -> None:
        number = self.count = self.count + 1
        waiter.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self.waiting[number] = (waiter, until)
        waiter.addCallback(lambda _: self.woken.append(number))

    @rule()
    def wait(self) -> None:
        self.begin(self.signal.wait(), float("inf"))

    @rule(seconds=st.integers(1, 5))
    def wait_at_most(self, seconds: int) -> None:
        waiter = Deferred.fromCoroutine(self.signal.wait_at_most(seconds, self.clock))
        self.begin(waiter, self.clock.seconds() + seconds)

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        if self.waiting:
            number = data.draw(st.sampled_from(sorted(self.waiting)))
            self.waiting.pop(number)[0].cancel()
            assert self.woken.pop() == number

    @rule(data=st.data())
    def wake_one_who_cancels_another(self, data: st.DataObject) -> None:
        if self.waiting:
            first, second = (data.draw(st.sampled_from(sorted(self.waiting))) for _ in range(2))
            self.waiting[first][0].addCallback(lambda _: self.waiting[second][0].cancel())
            self.notify()

    @rule()
    def notify(self) -> None:
        self.signal.notify()
        assert sorted(self.woken) == sorted(self.waiting)
        self.woken, self.waiting = [], {}

    @rule(seconds=st.integers(1, 3))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.advance(seconds)
        late = [number for number, (_, until) in self.waiting.items() if until <= self.clock.seconds()]
        assert sorted(self.woken) == late
        for number in late:
            del self.waiting[number]
        self.woken = []

    @invariant()
    def nobody_else_is_woken_and_no_timer_is_left(self) -> None:
        assert not self.woken
        assert len(self.clock.getDelayedCalls()) == sum(until < float("inf") for _, until in self.waiting.values())


TestWaiting = Waiting.TestCase


def test_who_begins_to_wait_when_woken_waits_for_the_next_time() -> None:
    signal, woken = Signal(), []

    async def again() -> None:
        for turn in range(2):
            await signal.wait()
            woken.append(turn)

    Deferred.fromCoroutine(again())
    signal.notify()
    assert woken == [0]
    signal.notify()
    assert woken == [0, 1]
