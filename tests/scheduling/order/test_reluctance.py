"""Machines that give builds up: others are asked before them, and where there are none they are asked all the same."""

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.records import AttemptEnd
from buildtool.scheduling.events import DispatchHeld
from buildtool.scheduling.order.reluctance import HALVES, MOST, Reluctance
from buildtool.scheduling.state.journal import Journal
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import machine, spec

NAMES = ("anna", "bert", "carl")
DECLINES = st.sampled_from([AttemptEnd.RETURNED, AttemptEnd.LIMITED, AttemptEnd.REFUSED])


@define
class Weighing:
    """Reluctance as a list of what happened would have it."""

    journal: Journal
    reluctance: Reluctance

    def happens(self, what: tuple[str, str], now: float) -> None:
        kind, name = what
        if kind == "made":
            self.reluctance.made(name)
        elif kind == "gave up":
            self.reluctance.gave_up(name, now)
        else:
            self.reluctance.shift(60.0)

    def all(self, now: float) -> list[int]:
        return [self.reluctance.of(name, now) for name in NAMES]


def weighing() -> Weighing:
    journal = Journal()
    return Weighing(journal, Reluctance(journal))


STORIES = st.lists(
    st.tuples(
        st.tuples(st.sampled_from(["gave up", "gave up", "made", "clock"]), st.sampled_from(NAMES)),
        st.floats(0.0, 2 * HALVES),
    ),
    max_size=20,
)


@given(STORIES, STORIES)
def test_what_a_decision_changed_is_taken_back_with_it(
    before: list[tuple[tuple[str, str], float]], after: list[tuple[tuple[str, str], float]]
) -> None:
    it, now = weighing(), 0.0
    for what, seconds in before:
        now += seconds
        it.happens(what, now)
    mark = it.journal.savepoint()
    was, then = it.all(now), now
    for what, seconds in after:
        now += seconds
        it.happens(what, now)
    it.journal.rollback(mark)
    assert it.all(then) == was


@given(STORIES, st.sampled_from(NAMES))
def test_whatever_a_machine_gave_up_counts_once_more_fades_and_is_forgotten_when_it_made_something(
    story: list[tuple[tuple[str, str], float]], name: str
) -> None:
    it, now = weighing(), 0.0
    for what, seconds in story:
        now += seconds
        it.happens(what, now)
    now += 61.0 * len(story)  # past every time that the clock was set
    before = it.reluctance.of(name, now)
    it.reluctance.gave_up(name, now)
    assert max(1, before) <= it.reluctance.of(name, now) <= min(MOST, before + 2)
    assert it.reluctance.of(name, now - 3600.0) == it.reluctance.of(name, now)
    assert it.reluctance.of(name, now + 5 * HALVES) == 0
    it.reluctance.made(name)
    assert it.reluctance.of(name, now) == 0


def test_a_build_goes_to_who_gave_nothing_up_though_that_one_is_the_slower() -> None:
    farm = Farm()
    farm.login("bert", machine(arch="ppc"))
    declined = farm.ask(spec(0, platform={"os": "linux", "arch": "ppc"}))
    farm.accept("bert")
    farm.end("bert", AttemptEnd.RETURNED)
    farm.login("anna", machine(arch="x86_64", cross=("ppc",)))
    assert farm.running_on(declined) == "anna"
    farm.deliver("anna")
    asked = [farm.ask(spec(number, platform={"os": "linux", "arch": "ppc"})) for number in (1, 2)]
    assert [farm.running_on(one) for one in asked] == ["anna", "bert"]
    farm.accept("bert")
    farm.deliver("bert")
    farm.deliver("anna")
    assert farm.running_on(farm.ask(spec(3, platform={"os": "linux", "arch": "ppc"}))) == "bert"


def test_of_two_that_are_free_at_once_who_gives_up_is_filled_last() -> None:
    farm = Farm()
    farm.login("anna")
    gone = farm.ask(spec(0))
    farm.end("anna", AttemptEnd.RETURNED)
    farm.cancel(gone)
    farm.login("bert")
    farm.note(DispatchHeld(held=True))
    asked = [farm.ask(spec(1)), farm.ask(spec(2))]
    farm.note(DispatchHeld(held=False))
    assert [farm.running_on(one) for one in asked] == ["bert", "anna"]


@given(st.lists(st.tuples(DECLINES, st.booleans(), st.floats(0.0, 2_000.0)), max_size=8))
def test_a_new_build_starts_at_once_on_one_of_those_who_give_up_least(
    story: list[tuple[AttemptEnd, bool, float]],
) -> None:
    farm = Farm()
    for name in NAMES:
        farm.login(name)
    for number, (how, made, seconds) in enumerate(story):
        asked = farm.ask(spec(number % 4, jit=number % 8 > 3))
        reluctant = {one: farm.broker.state.reluctance.of(one, farm.broker.now) for one in NAMES}
        assert reluctant[farm.running_on(asked)] == min(reluctant.values())
        while (name := farm.running_on(asked)) and not made:
            farm.accept(name)
            farm.end(name, how)
        if name:
            farm.accept(name)
            farm.deliver(name)
        farm.cancel(asked)
        farm.pass_time(seconds)
