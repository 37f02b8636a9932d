"""What decisions ask for is done, also where it cannot be done at once."""

from typing import Any, cast

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.effects import TELL_AGAIN, EffectPerformer
from buildtool.metaserver.request_status import PublicUrls, RequestStatusReader
from buildtool.model.incarnations import Keys
from buildtool.model.records import Request, RequestState
from buildtool.protocol.messages import RequestStatus
from buildtool.scheduling.effects import RequestMoved
from buildtool.scheduling.state.state import State
from tests.metaserver.test_build_servers import settings
from tests.scheduling.worlds import POLICIES, submitted
from tests.support.memory import MemoryStore, full_disk


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
