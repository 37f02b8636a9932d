"""The order as a pure function: who has little comes first, and how long a build waits is bounded by what stood."""

from collections import Counter

import hypothesis.strategies as st
import pytest
from attrs import define, field
from hypothesis import given, settings

from buildtool.model.farm.weights import EVEN, NICE_MOST, Weights
from buildtool.scheduling.order.tags import AGEING, Lane, clock_after, key_of, overtaken_at_most, tag_of
from tests.support.lanes import examples

LUA: Lane = ("lua", 0)


@define
class Standing:
    """A build that waits, and how many that were admitted after it were started before it."""

    number: int
    share: str
    lane: Lane
    base: float
    tag: float
    most: int
    overtaken: int = 0

    @property
    def place(self) -> tuple[float, int]:
        return key_of(self.tag, self.lane[1]), self.number


@define
class OneServer:
    """One build server for all, with one slot; each method is one thing that happens."""

    weights: Weights = EVEN
    clock: float = 0.0
    count: int = 0
    waiting: list[Standing] = field(factory=list)
    running: Standing | None = None

    def ask(self, share: str, lane: Lane = LUA) -> Standing:
        self.count += 1
        there = [one for one in (*self.waiting, self.running) if one is not None]
        open_in = Counter(one.lane for one in there if one.share == share)
        tag = tag_of(self.clock, open_in, lane, self.weights.of_share(share), self.weights)
        most = overtaken_at_most(self.clock, key_of(tag, lane[1]), len({one.share for one in there} | {share}), 6, 4.0)
        asked = Standing(self.count, share, lane, self.clock, tag, most)
        if not open_in:
            self.clock = clock_after(self.clock)
        self.waiting.append(asked)
        return asked

    def serve(self) -> Standing | None:
        """What runs ends, and the first in the order starts."""
        first = self.running = min(self.waiting, key=lambda one: one.place, default=None)
        if first is not None:
            self.waiting.remove(first)
            self.clock = max(self.clock, first.tag)
            for other in self.waiting:
                other.overtaken += other.number < first.number
        return first

    def served(self, count: int) -> list[Standing]:
        return [one for one in (self.serve() for _ in range(count)) if one is not None]


def test_what_one_share_asks_for_is_served_as_it_was_asked_for() -> None:
    farm = OneServer()
    asked = [farm.ask("ann") for _ in range(20)]
    assert farm.served(20) == asked


@pytest.mark.parametrize("served", [0, 1, 17, 1_500])
def test_three_thousand_of_one_share_delay_a_single_one_of_another_by_what_is_being_built(served: int) -> None:
    farm = OneServer()
    for _ in range(3_000):
        farm.ask("ann")
    farm.served(1 + served)
    single = farm.ask("bob")
    assert farm.serve() is single


def test_fifty_single_ones_are_all_served_before_the_second_of_the_three_thousand() -> None:
    farm = OneServer()
    for _ in range(3_000):
        farm.ask("ann")
    farm.serve()
    singles = [farm.ask(f"person {number}") for number in range(50)]
    assert farm.served(50) == singles


def test_shares_take_turns_whoever_asked_first_and_for_however_much() -> None:
    farm = OneServer()
    for share, count in (("ann", 300), ("bob", 40), ("cid", 40)):
        for _ in range(count):
            farm.ask(share)
    for at in range(10, 120, 10):
        counted = Counter(one.share for one in farm.served(10))
        assert max(counted.values()) - min(counted.values()) <= 1, f"after {at}: {counted}"


def test_a_share_of_twice_the_weight_has_two_turns_of_each_other() -> None:
    farm = OneServer(Weights({"ann": 2.0}))
    for share in ("ann", "bob", "cid"):
        for _ in range(100):
            farm.ask(share)
    assert Counter(one.share for one in farm.served(120)) == {"ann": 60, "bob": 30, "cid": 30}


def test_within_a_share_a_project_that_came_later_is_not_behind_all_of_another_one() -> None:
    farm = OneServer()
    for _ in range(100):
        farm.ask("ann")
    farm.serve()
    other = [farm.ask("ann", ("zlib", 0)) for _ in range(10)]
    served = farm.served(30)
    assert [one for one in served if one.lane[0] == "zlib"] == other
    assert served[1] is other[0]


def test_a_project_of_greater_weight_comes_sooner_within_a_share() -> None:
    def third_of_zlib(weight: float) -> int:
        farm = OneServer(Weights(projects={"zlib": weight}))
        for _ in range(100):
            farm.ask("ann")
        asked = [farm.ask("ann", ("zlib", 0)) for _ in range(3)]
        return farm.served(100).index(asked[2])

    assert third_of_zlib(4.0) < third_of_zlib(1.0) < third_of_zlib(0.25)


def test_what_is_nicer_lets_as_many_rounds_of_others_go_first() -> None:
    farm = OneServer()
    farm.ask("dora")
    farm.serve()
    nicer = farm.ask("ann", ("lua", 3))
    for _ in range(10):
        farm.ask("bob")
    served = farm.served(11)
    assert 2 <= served.index(nicer) <= 4


def test_what_is_nicer_does_not_stand_before_others_of_the_same_share_that_are_asked_for_later() -> None:
    farm = OneServer()
    for _ in range(100):
        farm.ask("ann", ("lua", 10))
    farm.serve()
    urgent = farm.ask("ann")
    assert farm.serve() is urgent


def test_what_an_operator_moves_forward_stands_before_everybody_who_waits() -> None:
    farm = OneServer()
    for share in ("ann", "bob"):
        for _ in range(10):
            farm.ask(share)
    farm.served(2)
    raised = farm.ask("ann", ("lua", -NICE_MOST))
    assert farm.serve() is raised


def test_a_build_that_waits_is_served_though_others_come_without_end() -> None:
    """Each comes with one build, and is gone before the next comes: without ageing they would go first for ever."""
    farm = OneServer()
    for _ in range(3):
        farm.ask("ann")
    farm.serve()
    second = farm.waiting[0]
    for number in range(10 * AGEING):
        farm.ask(f"person {number}")
        if farm.serve() is second:
            assert second.overtaken <= second.most
            return
    raise AssertionError("it starved")


LANES = st.tuples(st.sampled_from(["lua", "zlib"]), st.sampled_from([0, 0, 0, 2, 5]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abcdef"), LANES, st.integers(1, 12)),
        st.tuples(st.just("serve"), st.just(""), LANES, st.integers(1, 8)),
        st.tuples(st.just("cancel"), st.just(""), LANES, st.integers(1, 5)),
    ),
    max_size=40,
)
WEIGHTS = st.builds(
    Weights,
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.5, 2.0, 4.0])),
    st.dictionaries(st.sampled_from(["lua", "zlib"]), st.sampled_from([0.5, 2.0])),
)


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS, weights=WEIGHTS)
def test_no_build_is_overtaken_more_often_than_was_sure_when_it_was_admitted(
    steps: list[tuple[str, str, Lane, int]], weights: Weights
) -> None:
    farm = OneServer(weights)
    everything: list[Standing] = []
    for what, share, lane, count in steps:
        for _ in range(count):
            if what == "ask":
                everything.append(farm.ask(share, lane))
            elif what == "serve":
                farm.serve()
            elif farm.waiting:
                farm.waiting.pop(len(farm.waiting) // 2)
    farm.served(len(everything))
    assert not farm.waiting
    for one in everything:
        assert one.overtaken <= one.most
        assert one.base <= one.tag


@settings(max_examples=examples(40), deadline=None)
@given(
    open_in=st.dictionaries(LANES, st.integers(1, 50), max_size=4),
    lane=LANES,
    base=st.floats(0, 1e6),
    weight=st.floats(0.1, 100.0),
)
def test_a_build_never_stands_behind_more_than_all_of_its_share(
    open_in: dict[Lane, int], lane: Lane, base: float, weight: float
) -> None:
    tag = tag_of(base, open_in, lane, weight)
    total = sum(open_in.values())
    assert base + min(total, 1) / weight <= tag <= base + total / weight
