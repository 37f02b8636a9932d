"""The timer table: whatever is set, moved, taken and taken back, the earliest that is set is the next."""

from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.model.records import Refusal
from buildtool.scheduling.state.journal import Journal
from buildtool.scheduling.state.slots import ServerSlots
from buildtool.scheduling.state.tables import Tables
from buildtool.scheduling.state.timers import RULES, TIMERS_SPARED, Timer, TimerKind, TimerTable

TIMES = st.integers(1, 9).map(float)
STEPS = st.lists(
    st.tuples(st.just("set"), st.integers(1, 4), TIMES)
    | st.tuples(st.just("drop"), st.integers(1, 4), st.just(0.0))
    | st.tuples(st.sampled_from(["take", "next"]), st.just(0), TIMES)
    | st.tuples(st.sampled_from(["keep", "undo"]), st.just(0), st.just(0.0)),
    max_size=40,
)


class World:
    """A table of refusals on one free server, so that every timer stands, beside what it should say."""

    def __init__(self) -> None:
        tables, self.journal = Tables(), Journal()
        slots = ServerSlots(tables, self.journal)
        slots.free["anna"] = None
        self.table = TimerTable(tables, slots, self.journal, 60.0)
        self.until: dict[int, float] = {}
        self.kept: dict[int, float] = {}
        self.armed: set[int] = set()
        self.armed_before: set[int] = set()
        self.moved: set[int] = set()

    def put(self, build_id: int, until: float | None) -> None:
        """Set a refusal, or drop it: a timer is set where that changes until when it holds."""
        old = Refusal(build_id, "anna", self.until[build_id], "") if build_id in self.until else None
        new = Refusal(build_id, "anna", until, "") if until is not None else None
        self._follow((build_id, "anna"), old, new)
        if until is None:
            self.until.pop(build_id, None)
            self.armed.discard(build_id)
        elif self.until.get(build_id) != until:
            self.until[build_id] = until
            self.armed.add(build_id)
        if self.until.get(build_id) != self.kept.get(build_id):
            self.moved.add(build_id)

    def _follow(self, key: tuple[int, str], old: Refusal | None, new: Refusal | None) -> None:
        self.table.follow(TimerKind.REFUSAL, key, old, new)
        self.journal.add(lambda: self.table.follow(TimerKind.REFUSAL, key, new, old))

    def expected(self) -> dict[int, float]:
        """Return when each refusal is due that has not come up."""
        return {build_id: self.until[build_id] for build_id in self.armed}

    def commit(self) -> None:
        """Keep what was changed."""
        self.journal.clear()
        self.kept, self.armed_before = dict(self.until), set(self.armed)
        self.moved.clear()

    def undo(self) -> None:
        """Take back what was changed since the last commit; what had come up before a change comes up once more."""
        self.journal.rollback()
        self.until, self.armed = dict(self.kept), self.armed_before | (self.moved & self.kept.keys())
        self.armed_before = set(self.armed)
        self.moved.clear()


@given(STEPS)
@example([("set", 3, 2.0), ("take", 0, 2.0), ("keep", 0, 0.0), ("set", 3, 1.0), ("undo", 0, 0.0)])
def test_what_is_due_first_is_taken_first_and_nothing_twice(steps: list[tuple[str, int, float]]) -> None:
    world = World()
    for what, build_id, time in steps:
        match what:
            case "set":
                world.put(build_id, time)
            case "drop":
                world.put(build_id, None)
            case "take":
                due = {at: key for key, at in world.expected().items() if at <= time}
                taken = world.table.take(time)
                assert (taken is None) == (not due)
                if taken is not None:
                    assert taken.at == min(due)
                    assert world.until[taken.key[0]] == taken.at
                    world.armed.remove(taken.key[0])
            case "next":
                assert world.table.next_due(0.0) == min(world.expected().values(), default=None)
            case "keep":
                world.commit()
            case _:
                world.undo()
        assert world.table.due == {(TimerKind.REFUSAL, (key, "anna")): at for key, at in world.expected().items()}


def test_a_timer_that_moves_away_again_and_again_takes_one_place() -> None:
    world = World()
    for time in range(1, 3 * TIMERS_SPARED):
        world.put(1, float(time))
    assert len(world.table) == 1
    assert world.table.next_due(0.0) == 3 * TIMERS_SPARED - 1.0


def test_places_that_are_out_of_date_go_once_they_are_many() -> None:
    world = World()
    for time in range(3 * TIMERS_SPARED, 0, -1):
        world.put(1, float(time))
    assert len(world.table) == 3 * TIMERS_SPARED
    world.table.compact()
    assert len(world.table) == 1
    assert world.table.take(1.0) == Timer(1.0, TimerKind.REFUSAL, (1, "anna"))


def test_what_nothing_follows_from_is_forgotten_when_its_time_has_come() -> None:
    """A refusal that ends for a server without a free slot: the server is looked at once it has one."""
    world = World()
    world.put(1, 5.0)
    world.table.slots.free.clear()
    assert world.table.next_due(4.0) == 5.0
    assert world.table.take(5.0) is None
    assert world.table.next_due(4.0) is None


def test_every_kind_says_when_it_is_due_and_what_it_becomes() -> None:
    assert set(RULES) == set(TimerKind)
    events = [rule.event(key) for key, rule in enumerate(RULES.values())]
    assert len({type(event) for event in events}) == len(TimerKind)
    assert RULES[TimerKind.REFUSAL].due(evolve(Refusal(1, "anna", 0.0, ""), until=7.0), 60.0) == 7.0
