"""What decisions ask for is done, also where it cannot be done at once."""

from typing import Any, cast

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.domain.incarnations import Keys
from buildtool.domain.messages import RequestMoved
from buildtool.domain.model import Request, RequestState
from buildtool.domain.state import State
from buildtool.metaserver.server_desk import TELL_AGAIN, Acts
from buildtool.metaserver.telling import Addresses, Teller
from buildtool.protocol import Told
from tests.domain.worlds import POLICIES, submitted
from tests.support.memory import MemoryStore, full_disk


@define
class Followers:
    """Implements ``ports.Followers``: everybody follows everything while ``there``."""

    told: list[Told] = field(factory=list)
    there: bool = True

    def follows(self, _request_id: int) -> bool:
        return self.there

    def moved(self, told: Told) -> None:
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
        teller = Teller(
            State(POLICIES), self.store, Addresses("http://files", "http://farm"), Keys(b"k" * 32), lambda: 0.0
        )
        others = cast("Any", None)
        self.acts = Acts(others, self.followers, others, others, others, teller, others, self.clock)
        event = submitted("a")
        self.request = Request(
            1, "a", "body", "user@example.org", event.demand, False, 0.0, 9.0, RequestState.EXPIRED, build_id=1
        )

    def move(self, request: Request) -> None:
        self.acts.perform(RequestMoved(request))

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
        self.successResultOf(Deferred.fromCoroutine(self.acts.settle()))
        assert not self.clock.getDelayedCalls()
