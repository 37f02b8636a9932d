"""However much comes over some connections, everybody else waits for little of it, and the reactor turns meanwhile."""

from collections.abc import Callable

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from buildtool.adapters.network.slices import FIRST, PIECE, SLICE, Slices
from buildtool.concurrency.asker import Asker
from tests.adapters.control.wires import turn

STEP = 0.0003
"""Seconds that a single thing takes, which nobody can cut short."""


@define(eq=False)
class Connection:
    """Looks at one thing after the other and notes when; a clock goes on meanwhile."""

    clock: Clock
    asker: Asker
    things: int
    done: list[float] = field(factory=list)
    longest: float = 0.0

    def look(self, enough: Callable[[], bool]) -> bool:
        began = self.clock.seconds()
        while self.things:
            self.clock.rightNow += STEP
            self.things -= 1
            self.done.append(self.clock.seconds())
            if enough():
                break
        self.longest = max(self.longest, self.clock.seconds() - began)
        return bool(self.things)


def turns_until_idle(clock: Clock) -> list[float]:
    """Let the reactor turn until nothing is left to do; return how long each turn took."""
    took = []
    while clock.getDelayedCalls():
        began = clock.seconds()
        turn(clock)
        took.append(clock.seconds() - began)
    return took


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12), st.integers(1, 3))
def test_all_is_looked_at_in_pieces_and_no_turn_takes_longer_than_its_slice(things: list[int], addresses: int) -> None:
    clock = Clock()
    slices = Slices(clock)
    there = [Connection(clock, Asker(str(each % addresses), each), count) for each, count in enumerate(things)]
    for one in there:
        slices.ask(one, ahead=True)
    first = clock.seconds()
    turns = [first, *turns_until_idle(clock)]
    assert [len(one.done) for one in there] == things
    assert max(turns) <= SLICE + 2 * STEP
    assert max(one.longest for one in there) <= PIECE + 2 * STEP


def test_a_share_out_may_have_less_of_each_turn() -> None:
    clock = Clock()
    slices = Slices(clock, 2 * STEP)
    there = [Connection(clock, Asker(str(each), each), 1) for each in range(20)]
    for one in there:
        slices.ask(one, ahead=True)
    turns = turns_until_idle(clock)
    assert all(one.done for one in there)
    assert max(turns) <= 3 * STEP


def test_who_has_little_to_ask_waits_for_none_of_those_who_have_much_however_often_it_asks() -> None:
    clock = Clock()
    slices = Slices(clock)
    eager = [Connection(clock, Asker("a", each), 1_000) for each in range(50)]
    modest = Connection(clock, Asker("a", 99), 0)
    for one in eager:
        slices.ask(one, ahead=True)
    while not all(one.done for one in eager):
        turn(clock)
    for _ in range(20):
        modest.things = 1
        assert not slices.ask(modest, ahead=True)
        began = clock.seconds()
        turn(clock)
        assert modest.done[-1] - began <= PIECE + 3 * STEP


def test_who_has_much_gets_on_however_many_there_are_who_have_little() -> None:
    clock = Clock()
    slices = Slices(clock)
    eager = Connection(clock, Asker("a", 0), 100)
    slices.ask(eager, ahead=True)
    crowd = 1
    while eager.things:
        for _ in range(10 * FIRST):
            crowd += 1
            slices.ask(Connection(clock, Asker("a", crowd), 1), ahead=True)
        turn(clock)
        assert crowd < 10_000


def test_one_that_asks_for_little_now_and_then_leaves_no_timer_behind() -> None:
    clock = Clock()
    slices = Slices(clock)
    one = Connection(clock, Asker("a", 1), 2)
    assert slices.ask(one, ahead=True)
    assert len(one.done) == 2
    assert not clock.getDelayedCalls()


def test_what_asks_again_while_it_is_looked_at_waits_for_its_turn() -> None:
    clock = Clock()
    slices = Slices(clock)
    other = Connection(clock, Asker("b", 2), 1)

    class Asks(Connection):
        def look(self, enough: Callable[[], bool]) -> bool:
            assert not slices.ask(other, ahead=True)
            assert not other.done
            return super().look(enough)

    assert slices.ask(Asks(clock, Asker("a", 1), 1), ahead=True)
    assert other.done
