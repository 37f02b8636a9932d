"""A courier tells each notice at least once and never an older one after a newer one, whatever the target does."""

from typing import Any

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.notices.courier import PAUSE, RETRY, Courier, CourierPace
from buildtool.adapters.notices.teller import FORGOTTEN_AT_ONCE, KEPT, TIDY_EVERY, NoticeTeller
from buildtool.errors import Unavailable
from buildtool.model.notices.notice import NoticeState
from buildtool.model.notices.outcome import TellOutcome
from buildtool.ports.notices import OutgoingNotice
from tests.support.inline import run
from tests.support.memory import WallClock
from tests.support.notices import MemoryNotices, notice

WALL = 1_000.0
TOLD = TellOutcome(told=True)
AWAY = TellOutcome(told=False, reason="it answers 502", whole=True)
LATER = TellOutcome(told=False, reason="it answers 404")
NEVER = TellOutcome(told=False, reason="it answers 422", final=True)


@define(eq=False)
class Target:
    """Whoever is told: what is answered next, and then always; ``hold`` keeps answers back."""

    answers: list[TellOutcome | Exception] = field(factory=list)
    usual: TellOutcome = TOLD
    heard: list[OutgoingNotice] = field(factory=list)
    hold: Deferred[None] | None = None

    async def tell(self, outgoing: OutgoingNotice) -> TellOutcome:
        self.heard.append(outgoing)
        if self.hold is not None:
            await self.hold
        answer = self.answers.pop(0) if self.answers else self.usual
        if isinstance(answer, Exception):
            raise answer
        return answer

    def let_go(self) -> None:
        held, self.hold = self.hold, None
        assert held is not None
        held.callback(None)

    def states(self, context: str) -> list[NoticeState]:
        return [one.notice.state for one in self.heard if one.notice.context == context]


class CourierTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store, self.target = Clock(), MemoryNotices(), Target()
        self.wall = WallClock(WALL, self.clock)
        self.courier = self.made()

    def made(self, pace: CourierPace = CourierPace()) -> Courier:  # noqa: B008 - it is frozen
        return Courier("lua/forge", self.store, self.clock, self.wall, self.target.tell, pace)

    def post(self, context: str = "a", state: str = "waiting", **more: Any) -> None:
        more.setdefault("at", self.wall.wall())
        run(self.store.post(notice(context, state, **more)))
        self.courier.nudge()

    def pass_time(self, seconds: float) -> None:
        while seconds > 0:
            step = min(seconds, 5.0)
            self.clock.advance(step)
            seconds -= step

    def stop(self, courier: Courier | None = None) -> None:
        ended = Deferred.fromCoroutine((courier or self.courier).stop())
        self.clock.advance(0)
        self.successResultOf(ended)

    def test_what_waits_is_told_in_its_order_and_once(self) -> None:
        self.post("b", at=5.0)
        self.post("a", at=4.0)
        self.courier.start()
        self.post("c")
        self.pass_time(600)
        assert [one.notice.context for one in self.target.heard] == ["a", "b", "c"]
        self.stop()

    def test_of_what_changed_meanwhile_only_the_newest_is_told(self) -> None:
        self.courier.start()
        self.target.hold = Deferred()
        self.post("a")
        for state in ("building", "success"):
            self.post("a", state)
        self.target.let_go()
        assert self.target.states("a") == [NoticeState.WAITING, NoticeState.SUCCESS]
        self.stop()

    def test_while_a_target_is_away_one_notice_finds_out_whether_it_is_back(self) -> None:
        self.target.usual = AWAY
        for context in "abc":
            self.post(context)
        self.courier.start()
        assert len(self.target.heard) == 1
        assert "it answers 502" in self.courier.away
        self.pass_time(4 * PAUSE.first)
        assert 2 <= len(self.target.heard) <= 4
        self.target.usual = TOLD
        self.pass_time(PAUSE.most)
        assert not self.courier.away
        assert run(self.store.due("lua/forge", 1e9, 1e9, 9)) == []
        self.stop()

    def test_a_target_is_left_alone_for_as_long_as_it_says(self) -> None:
        self.target.answers = [TellOutcome(told=False, reason="429", whole=True, wait=1_000.0)]
        self.post("a")
        self.courier.start()
        self.post("b")
        self.pass_time(990)
        assert len(self.target.heard) == 1
        self.pass_time(20)
        assert [one.notice.context for one in self.target.heard] == ["a", "b", "a"] or len(self.target.heard) == 3
        self.stop()

    def test_a_limit_that_is_used_up_by_what_was_told_holds_up_the_next(self) -> None:
        self.target.answers = [TellOutcome(told=True, wait=100.0)]
        self.courier.start()
        self.post("a")
        self.post("b")
        assert len(self.target.heard) == 1
        self.pass_time(105)
        assert len(self.target.heard) == 2
        assert self.courier.away == ""
        self.stop()

    def test_what_cannot_be_told_yet_holds_up_nothing_else(self) -> None:
        self.target.answers = [LATER]
        self.courier.start()
        self.post("a")
        self.post("b")
        assert self.target.states("b") == [NoticeState.WAITING]
        self.pass_time(RETRY.first + 5)
        assert self.target.states("a") == [NoticeState.WAITING] * 2
        self.stop()

    def test_what_is_refused_for_good_is_given_up_and_said(self) -> None:
        self.target.answers = [NEVER]
        self.courier.start()
        self.post("a")
        self.pass_time(10_000)
        assert len(self.target.heard) == 1
        assert run(self.store.figures())["lua/forge"].given_up == 1
        self.stop()

    def test_what_is_never_taken_is_given_up_after_days_and_not_before(self) -> None:
        self.target.usual = LATER
        self.courier.start()
        self.post("a")
        pace = CourierPace()
        self.clock.pump([600.0] * int(pace.give_up / 600))
        assert run(self.store.figures())["lua/forge"].waiting == 1
        self.clock.pump([600.0] * 24)
        assert "given up after" in run(self.store.figures())["lua/forge"].error
        self.stop()

    def test_what_was_being_told_when_it_stopped_is_told_again(self) -> None:
        self.courier.start()
        self.target.hold = Deferred()
        self.post("a")
        self.stop()
        self.target.hold = None
        again = self.made()
        again.start()
        assert self.target.states("a") == [NoticeState.WAITING] * 2
        self.stop(again)

    def test_nothing_else_is_told_until_what_became_of_the_last_is_written(self) -> None:
        self.courier.start()
        self.target.hold = Deferred()
        self.post("a")
        self.post("b")
        self.store.full = True
        self.target.let_go()
        self.pass_time(60)
        assert len(self.target.heard) == 1
        self.store.full = False
        self.pass_time(60)
        assert [one.notice.context for one in self.target.heard] == ["a", "b"]
        self.stop()

    def test_two_writes_are_as_far_apart_as_the_target_asks_for(self) -> None:
        self.courier = self.made(CourierPace(gap=10.0))
        for context in "abc":
            self.post(context)
        self.courier.start()
        assert len(self.target.heard) == 1
        self.clock.advance(9)
        assert len(self.target.heard) == 1
        self.clock.advance(2)
        assert len(self.target.heard) == 2
        self.stop()

    def test_a_clock_that_was_set_back_keeps_nothing_waiting(self) -> None:
        self.target.answers = [LATER]
        self.courier.start()
        self.post("a")
        self.wall.now -= 1e6
        self.pass_time(200)
        assert len(self.target.heard) == 2
        self.stop()

    def test_a_defect_and_a_target_that_does_not_answer_are_tried_again(self) -> None:
        self.target.answers = [Unavailable("it does not answer"), ZeroDivisionError("a defect")]
        self.courier.start()
        self.post("a")
        self.pass_time(300)
        assert len(self.target.heard) == 3
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        self.stop()


class TellerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store = Clock(), MemoryNotices()
        self.wall = WallClock(WALL, self.clock)
        self.teller = NoticeTeller(self.store, self.clock, self.wall, grace=0.0)
        self.one, self.two = Target(), Target()

    def stop(self) -> None:
        ended = Deferred.fromCoroutine(self.teller.stop())
        self.clock.advance(0)
        self.successResultOf(ended)

    def test_a_target_that_hangs_holds_up_no_other_and_one_that_is_gone_is_told_nothing(self) -> None:
        pace = CourierPace()
        self.teller.configure({"lua/one": (self.one.tell, pace), "lua/two": (self.two.tell, pace)})
        self.teller.start()
        self.one.hold = Deferred()
        run(self.store.post(notice(target="lua/one"), notice(target="lua/two")))
        self.teller.nudge({"lua/one", "lua/two", "lua/gone"})
        assert (len(self.one.heard), len(self.two.heard)) == (1, 1)
        self.teller.configure({"lua/one": (self.one.tell, pace)})
        self.clock.advance(0)
        self.one.hold = None
        run(self.store.post(notice("b", target="lua/one"), notice("b", target="lua/two")))
        self.teller.nudge()
        assert len(self.two.heard) == 1
        assert [one.notice.context[-1] for one in self.one.heard[-2:]] == ["c", "b"]
        self.stop()

    def test_two_states_are_never_on_their_way_at_once_though_the_configuration_is_read_again(self) -> None:
        self.teller.grace = 3.0
        configured = {"lua/one": (self.one.tell, CourierPace())}
        self.teller.configure(configured)
        self.teller.start()
        self.one.hold = Deferred()
        run(self.store.post(notice(target="lua/one", state="building")))
        self.teller.nudge()
        self.teller.configure(configured)
        self.teller.configure(configured)
        run(self.store.post(notice(target="lua/one", state="success")))
        self.teller.nudge()
        assert [one.notice.state.value for one in self.one.heard] == ["building"]
        self.one.let_go()
        self.clock.advance(0)
        assert [one.notice.state.value for one in self.one.heard] == ["building", "success"]
        self.stop()

    def test_what_is_wrong_is_said_of_each_target(self) -> None:
        self.one.usual = AWAY
        self.teller.configure({"lua/one": (self.one.tell, CourierPace())})
        self.teller.start()
        assert self.teller.problems() == ()
        run(self.store.post(notice(target="lua/one")))
        self.teller.nudge()
        (problem,) = self.teller.problems()
        assert problem == "lua/one is not told anything since 1970-01-01 00:16 UTC: it answers 502"
        self.stop()

    def test_old_notices_are_forgotten_a_few_at_once(self) -> None:
        run(self.store.post(*(notice(f"{one}", at=1.0) for one in range(FORGOTTEN_AT_ONCE + 1))))
        task: Any = None
        self.wall.now += KEPT + 10
        waits = [run(self.teller.tidy(task)) for _ in range(2)]
        assert waits[0] < waits[1] == TIDY_EVERY
        assert not self.store.kept
        self.store.full = True
        assert run(self.teller.tidy(task)) == TIDY_EVERY


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["waiting", "building", "success", "failure"])),
        st.sampled_from([TOLD, AWAY, LATER, "time", "restart"]),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_at_rest_each_key_was_told_its_newest_state_last(steps: list[Any]) -> None:
    case = CourierTests("setUp")
    case.setUp()
    case.courier.start()
    newest: dict[str, str] = {}
    for step in steps:
        if isinstance(step, TellOutcome):
            case.target.answers.append(step)
        elif step == "time":
            case.pass_time(30)
        elif step == "restart":
            case.stop()
            case.courier = case.made()
            case.courier.start()
        else:
            context, state = step
            newest[context] = state
            case.post(context, state)
    case.target.answers.clear()
    case.clock.pump([60.0] * 200)
    assert {context: case.target.states(context)[-1].value for context in newest} == newest
    assert run(case.store.due("lua/forge", 1e9, 1e9, 9)) == []
    case.stop()
