"""What looks of triggers come to: in the end what the repository says, whoever said what happened there and when."""

from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from buildtool.model.triggers.looking import (
    AT_ONCE,
    RETRY_MOST,
    Memory,
    begun,
    changes,
    due,
    put_off,
    remembered,
    righted,
)
from buildtool.model.triggers.schedule import Every
from buildtool.model.triggers.trigger import Trigger, Variant
from tests.support.lanes import examples

ANYTHING = (Variant({}, {}),)
PUSH = Trigger("push", ("refs/heads/*",), Every(600.0), ANYTHING)
NIGHTLY = Trigger("nightly", ("refs/heads/main",), Every(86_400.0), ANYTHING, past=True)
NAMES = ("refs/heads/main", "refs/heads/old", "refs/tags/v1")


@define
class Farm:
    """A trigger over a repository, which asks for what a look comes to, and may be killed in the middle of it."""

    trigger: Trigger
    now: float = 1_000_000.0
    refs: dict[str, str] = field(factory=dict)
    asked: list[tuple[str, str]] = field(factory=list)
    kept: Memory = field(init=False)
    hinted: bool = False

    def __attrs_post_init__(self) -> None:
        self.kept = begun(self.trigger, self.now)

    def look(self, found: Mapping[str, str], *, killed: bool = False) -> None:
        """Look, and ask for what that comes to; one that is ``killed`` remembers nothing of it."""
        wanted = changes(self.trigger, self.kept, found)
        self.asked += [(one.ref, one.commit) for one in wanted]
        if not killed:
            asked = {one.ref: one.commit for one in wanted}
            self.kept = remembered(self.trigger, self.kept, found, asked, self.now, "asked")


class Deliveries(RuleBasedStateMachine):
    """Pushes, hooks about them that are lost, doubled, late or lies, looks, and a metaserver that is killed."""

    @initialize()
    def start(self) -> None:
        self.farm = Farm(PUSH, refs={"refs/heads/main": "c0"})
        self.farm.look(self.farm.refs)
        self.pushed = 0
        self.ever: set[tuple[str, str]] = set()

    @rule(ref=st.sampled_from(NAMES))
    def push(self, ref: str) -> None:
        self.pushed += 1
        self.farm.refs[ref] = f"c{self.pushed}"
        self.ever.add((ref, f"c{self.pushed}"))

    @rule(ref=st.sampled_from(NAMES))
    def delete(self, ref: str) -> None:
        self.farm.refs.pop(ref, None)

    @rule()
    def hook(self) -> None:
        self.farm.hinted = True

    @rule(seconds=st.sampled_from([1.0, 300.0, 700.0, -400.0]))
    def pass_time(self, seconds: float) -> None:
        self.farm.now += seconds

    @rule(killed=st.booleans())
    def look(self, *, killed: bool) -> None:
        farm = self.farm
        if due(PUSH, farm.kept, farm.now, hinted=farm.hinted) <= farm.now:
            farm.look(dict(farm.refs), killed=killed)
            farm.hinted = False

    @invariant()
    def nothing_is_asked_for_that_was_not_pushed(self) -> None:
        if hasattr(self, "farm"):
            assert set(self.farm.asked) <= self.ever

    def teardown(self) -> None:
        if not hasattr(self, "farm"):
            return
        farm = self.farm
        farm.now += 2 * 600.0 + 400.0 * 50  # whatever was done to the clock: the poll comes
        assert due(PUSH, farm.kept, farm.now) <= farm.now
        farm.look(dict(farm.refs))
        last = {ref: commit for ref, commit in farm.asked if ref in farm.refs}
        assert last == {ref: one for ref, one in farm.refs.items() if PUSH.is_of(ref) and one != "c0"}


TestDeliveries: Any = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=examples(40, 300), stateful_step_count=15, deadline=None)


def test_what_was_there_before_a_trigger_is_not_asked_for() -> None:
    farm = Farm(PUSH, refs={"refs/heads/main": "c1"})
    farm.look(farm.refs)
    assert farm.asked == []
    farm.look({"refs/heads/main": "c1", "refs/heads/new": "c1", "refs/tags/v1": "c1"})
    assert farm.asked == [("refs/heads/new", "c1")], "a branch that is new is asked for, a tag is none"


def test_a_nightly_asks_for_what_is_there_when_it_is_due_and_not_before() -> None:
    farm = Farm(NIGHTLY, refs={"refs/heads/main": "c1"})
    assert due(NIGHTLY, farm.kept, farm.now) > farm.now
    farm.now = due(NIGHTLY, farm.kept, farm.now)
    farm.look(farm.refs)
    assert farm.asked == [("refs/heads/main", "c1")]
    farm.now = due(NIGHTLY, farm.kept, farm.now)
    farm.look(farm.refs)
    assert len(farm.asked) == 1, "nothing happened since"


def test_of_runs_that_were_missed_one_is_made_up_for() -> None:
    farm = Farm(NIGHTLY, refs={"refs/heads/main": "c1"})
    farm.now += 10 * 86_400.0
    assert due(NIGHTLY, farm.kept, farm.now) <= farm.now
    farm.look(farm.refs)
    assert due(NIGHTLY, farm.kept, farm.now) > farm.now


def test_a_tag_that_was_moved_is_asked_for_again_and_one_that_came_back_too() -> None:
    tags = evolve(PUSH, patterns=("refs/tags/v*",))
    farm = Farm(tags, refs={})
    farm.look({})
    for refs in ({"refs/tags/v1": "a"}, {"refs/tags/v1": "b"}, {}, {"refs/tags/v1": "b"}):
        farm.look({"HEAD": "a", **refs})
    assert farm.asked == [("refs/tags/v1", one) for one in ("a", "b", "b")]


def test_a_repository_that_is_empty_for_a_while_has_nothing_new_afterwards() -> None:
    """It is made anew or restored: else each branch of it would be asked for, of which none was pushed to."""
    farm = Farm(PUSH, refs={"refs/heads/main": "c1"})
    for refs in ({"refs/heads/main": "c1"}, {}, {"refs/heads/main": "c1"}):
        farm.look(refs)
    assert farm.asked == []
    farm.look({"refs/heads/main": "c2"})
    assert farm.asked == [("refs/heads/main", "c2")]


def test_what_a_clock_that_was_ahead_left_behind_is_set_right_with_it() -> None:
    now, year = 1e9, 3e7
    for ahead in (Memory(looked=now + year), Memory(looked=now, failures=1, retry=now + year)):
        memory, late = righted(PUSH, ahead, now), now + RETRY_MOST
        assert due(PUSH, righted(PUSH, memory, late), late) <= late, "not for a year"
    right = Memory(looked=now, failures=1, retry=now + 10)
    assert righted(PUSH, right, now) is right


def test_of_many_a_look_asks_for_some_and_the_next_for_the_rest() -> None:
    farm = Farm(PUSH)
    farm.look({})
    refs = {f"refs/heads/b{number:03d}": "c" for number in range(2 * AT_ONCE + 1)}
    counts = []
    for _ in range(4):
        farm.look(refs)
        counts.append(len(farm.asked))
    assert counts == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1, 2 * AT_ONCE + 1]


def test_a_commit_that_was_newer_than_what_was_listed_is_not_asked_for_again() -> None:
    found = {"refs/heads/main": "listed"}
    memory = remembered(PUSH, Memory(looked=0.0), found, {"refs/heads/main": "newer"}, 5.0, "asked")
    assert changes(PUSH, memory, {"refs/heads/main": "newer"}) == ()


@given(st.integers(0, 40), st.floats(0.0, 1e9))
def test_looks_that_fail_are_made_again_later_and_later_within_an_hour(failures: int, now: float) -> None:
    memory = Memory(looked=0.0)
    waits = []
    for _ in range(failures + 1):
        memory = put_off(memory, "it does not answer", now)
        waits.append(due(PUSH, memory, now) - now)
    assert waits == sorted(waits)
    assert waits[-1] <= RETRY_MOST + 1.0
    assert due(PUSH, memory, now - 1e6) <= now - 1e6 + RETRY_MOST, "also where the clock was set back"
    assert due(PUSH, memory, now, hinted=True) == now
    told = remembered(PUSH, memory, {}, {}, now, "")
    assert (told.failures, told.said) == (0, "")
