"""What decisions ask for is done, also where it cannot be done at once."""

from typing import Any, cast

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.effects import TELL_AGAIN, EffectPerformer
from buildtool.metaserver.request_status import PublicUrls, RequestStatusReader
from buildtool.model.incarnations import Keys
from buildtool.model.records import AttemptEnd, Request, RequestState
from buildtool.protocol.messages import AbortOrder, RequestStatus
from buildtool.scheduling.effects import Abort, Fence, MailWritten, RequestMoved
from buildtool.scheduling.state.state import State
from tests.metaserver.test_build_servers import settings
from tests.scheduling.worlds import POLICIES, submitted
from tests.support.logs import listening
from tests.support.memory import MemoryStore, full_disk
from tests.support.outbox import attempt


@define
class Followers:
    """Implements ``ports.Followers``: everybody follows everything while ``there``."""

    told: list[RequestStatus] = field(factory=list)
    there: bool = True

    def follows(self, _request_id: int) -> bool:
        return self.there

    def moved(self, told: RequestStatus) -> None:
        self.told.append(told)


class Unreadable(MemoryStore):
    """A database that cannot be read ``failures`` times."""

    failures = 0

    async def build(self, build_id: int) -> Any:
        if self.failures:
            self.failures -= 1
            raise full_disk()
        return await super().build(build_id)


class TellingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.followers, self.store = Clock(), Followers(), Unreadable()
        status_reader = RequestStatusReader(
            State(POLICIES), self.store, PublicUrls(CurrentConfiguration(settings())), Keys(b"k" * 32), lambda: 0.0
        )
        others = cast("Any", None)
        self.performer = EffectPerformer(
            others, self.followers, others, others, others, status_reader, others, self.clock
        )
        event = submitted("a")
        self.request = Request(
            1, "a", "body", "user@example.org", event.demand, False, 0.0, 9.0, RequestState.EXPIRED, build_id=1
        )

    def move(self, request: Request) -> None:
        self.performer.perform(RequestMoved(request))

    def test_an_end_that_cannot_be_read_is_told_as_soon_as_it_can(self) -> None:
        self.store.failures = 2
        self.move(self.request)
        assert self.followers.told == []
        self.clock.pump([TELL_AGAIN] * 3)
        assert [one.state for one in self.followers.told] == [RequestState.EXPIRED.value]
        assert not self.clock.getDelayedCalls()

    def test_nobody_is_told_who_has_left_meanwhile_and_what_is_not_the_end_is_told_once_or_never(self) -> None:
        self.store.failures = 2
        self.move(self.request)
        self.move(evolve(self.request, state=RequestState.WAITING))
        self.followers.there = False
        self.clock.pump([TELL_AGAIN] * 3)
        assert self.followers.told == []
        assert not self.clock.getDelayedCalls()

    def test_a_metaserver_that_stops_tries_nothing_again(self) -> None:
        self.store.failures = 99
        self.move(self.request)
        self.successResultOf(Deferred.fromCoroutine(self.performer.settle()))
        assert not self.clock.getDelayedCalls()


class Around:
    """Build servers, mailer, logs and files that note what they are asked to do; ``problem`` is what a log answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.problem: Exception | None = None

    def fence(self, *which: object) -> None:
        self.asked.append(("fence", *which))

    def abort(self, *which: object) -> None:
        self.asked.append(("abort", *which))

    def nudge(self) -> None:
        self.asked.append(("nudge",))

    async def finish(self, *which: object) -> None:
        self.asked.append(("finish", *which))
        if self.problem is not None:
            raise self.problem

    async def discard(self, *which: object) -> None:
        self.asked.append(("discard", *which))


class PerformingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.around = Around()
        everybody = cast("Any", self.around)
        self.performer = EffectPerformer(
            everybody, Followers(there=False), everybody, everybody, everybody, everybody, everybody, Clock()
        )

    def test_each_effect_reaches_whom_it_is_for(self) -> None:
        for effect in (Fence("anna", 3), Abort("anna", 4, 12, 1, "cancelled"), MailWritten()):
            self.performer.perform(effect)
        assert self.around.asked == [
            ("fence", "anna", 3),
            ("abort", "anna", 4, AbortOrder(12, 1, "cancelled")),
            ("nudge",),
        ]

    def test_an_attempt_s_log_is_finished_and_only_what_it_uploaded_in_vain_thrown_away(self) -> None:
        self.performer.attempt_ended(attempt())
        assert self.around.asked == [("finish", 12, 1)]
        self.performer.attempt_ended(attempt(2, end=AttemptEnd.FAILED, reason="exit code 2"))
        assert self.around.asked[1:] == [("finish", 12, 2), ("discard", 12, 2)]

    def test_what_fails_in_the_background_is_one_line_and_holds_up_nothing(self) -> None:
        for problem, line in (
            (full_disk(), "finishing the log of build 12, epoch 1: database or disk is full"),
            (CancelledError(), "finishing the log of build 12, epoch 1: broken off"),
        ):
            self.around.problem = problem
            with listening() as said:
                self.performer.finish_log(12, 1)
            assert said == [line]
        self.around.problem = ValueError("a defect")
        self.performer.finish_log(12, 1)
        assert len(self.flushLoggedErrors(ValueError)) == 1
        self.successResultOf(Deferred.fromCoroutine(self.performer.settle()))
