"""Whoever has taken up least lately is next; of one connection everything stays in its order, and nothing is lost."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.concurrency.asker import INTERNAL, Asker, working_for
from buildtool.concurrency.inbox import ACCOUNTS_KEPT, LATELY, Gate, Inbox
from buildtool.errors import Unavailable

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
_askers = st.builds(Asker, st.sampled_from(ADDRESSES), st.integers(1, 3)) | st.just(INTERNAL)
_steps = st.lists(
    st.tuples(st.just("put"), _askers)
    | st.tuples(st.just("take"), st.floats(0.0, 0.1))
    | st.tuples(st.just("pass"), st.floats(0.0, 10_000.0)),
    max_size=120,
)


def line(asker: Asker) -> tuple[str, int]:
    return asker.address, asker.connection


@given(_steps)
def test_every_event_comes_once_and_those_of_one_connection_in_their_order(
    steps: list[tuple[str, Asker | float]],
) -> None:
    clock = Clock()
    inbox: Inbox[tuple[Asker, int]] = Inbox(clock.seconds)
    there: dict[tuple[str, int], list[int]] = {}
    number = 0
    for name, what in [*steps, *[("take", 0.0)] * len(steps)]:
        if name == "put":
            assert isinstance(what, Asker)
            number += 1
            inbox.put((what, number), what)
            there.setdefault(line(what), []).append(number)
        elif name == "pass":
            assert isinstance(what, float)
            clock.advance(what)
        elif len(inbox):
            assert isinstance(what, float)
            asker, came = inbox.take()
            assert there[line(asker)].pop(0) == came
            inbox.charge(asker, what)
        assert len(inbox) == sum(map(len, there.values()))
    assert not any(there.values())


@given(st.lists(st.integers(1, 200), min_size=2, max_size=6), st.floats(0.000_2, 0.05))
def test_who_asks_little_is_done_before_anybody_has_had_two_more(counts: list[int], cost: float) -> None:
    """Whatever the others have waiting: each of several connections gets as many turns as any other that wants them."""
    inbox: Inbox[Asker] = Inbox(Clock().seconds)
    askers = [Asker("10.0.0.1", number) for number in range(len(counts))]
    for asker, count in zip(askers, counts, strict=True):
        for _ in range(count):
            inbox.put(asker, asker)
    left, done = dict(zip(askers, counts, strict=True)), Counter[Asker]()
    while len(inbox):
        asker = inbox.take()
        inbox.charge(asker, cost)
        done[asker] += 1
        left[asker] -= 1
        waiting = [done[other] for other in askers if left[other]]
        assert not waiting or done[asker] <= min(waiting) + 1


def test_an_address_with_many_connections_takes_turns_with_one_that_has_a_single_one() -> None:
    inbox: Inbox[str] = Inbox(Clock().seconds)
    for number in range(50):
        inbox.put("many", Asker("10.0.0.1", number))
    for _ in range(5):
        inbox.put("one", Asker("10.0.0.2", 99))
    assert [inbox.take() for _ in range(10)].count("one") == 5


def test_what_was_taken_too_early_comes_first_again() -> None:
    inbox: Inbox[int] = Inbox(Clock().seconds)
    asker = Asker("10.0.0.1", 1)
    for number in range(5):
        inbox.put(number, asker)
    taken = [inbox.take() for _ in range(3)]
    for number in reversed(taken):
        inbox.put(number, asker, first=True)
    assert [inbox.take() for _ in range(5)] == list(range(5))


def test_the_programs_own_events_go_before_all_peers() -> None:
    inbox: Inbox[str] = Inbox(Clock().seconds)
    inbox.put("peer", Asker("10.0.0.1", 1))
    inbox.put("timer", INTERNAL)
    assert [inbox.take(), inbox.take()] == ["timer", "peer"]


def test_what_somebody_took_up_is_forgotten_after_a_while() -> None:
    clock = Clock()
    inbox: Inbox[str] = Inbox(clock.seconds)
    busy, other = Asker("10.0.0.1", 1), Asker("10.0.0.2", 2)
    for name, asker, cost in (("busy", busy, 1.0), ("other", other, 0.2)):
        inbox.put(name, asker)
        inbox.take()
        inbox.charge(asker, cost)
        clock.advance(10 * LATELY)
    for name, asker in (("busy", busy), ("other", other)):
        inbox.put(name, asker)
    assert inbox.take() == "busy", "its second is worth less than the other's later tenths"


def test_connections_that_come_and_go_leave_a_bounded_memory() -> None:
    inbox: Inbox[int] = Inbox(Clock().seconds)
    for number in range(ACCOUNTS_KEPT + 500):
        inbox.put(number, Asker("10.0.0.1", number))
        inbox.take()
    assert len(inbox._root.members["10.0.0.1"].members) <= ACCOUNTS_KEPT + 1


class GateTests(SynchronousTestCase):
    def test_one_thing_is_done_at_a_time_and_fairly(self) -> None:
        gate, order, under_way = Gate(Clock().seconds), list[str](), list[Deferred[None]]()

        async def act(name: str) -> str:
            order.append(name)
            under_way.append(Deferred())
            await under_way[-1]
            return name

        def ask(name: str, asker: Asker) -> Deferred[str]:
            with working_for(asker):
                return Deferred.fromCoroutine(gate.run(lambda: act(name)))

        many, one, gone = (Asker("10.0.0.1", number) for number in (1, 2, 3))
        asked = [ask(f"many{number}", many) for number in range(5)]
        asked.append(ask("one", one))
        left = ask("gone", gone)
        gone.leave()
        while under_way:
            assert len(under_way) == 1
            under_way.pop().callback(None)
        assert [self.successResultOf(done) for done in asked] == [*(f"many{n}" for n in range(5)), "one"]
        self.failureResultOf(left, Unavailable)
        assert order.index("one") <= 2
        assert "gone" not in order
