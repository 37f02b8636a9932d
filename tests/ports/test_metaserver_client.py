"""``MetaserverClient``: connections to a gateway and to the API, in memory, and the requester's fake are alike."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import pytest
from twisted.internet.defer import Deferred

from buildtool.client.farm_urls import read_farm_url
from buildtool.client.metaserver import connected
from buildtool.client.reachable import reachable
from buildtool.errors import NotFound, Unauthorised, Unavailable
from buildtool.ports.requester import MetaserverClient
from buildtool.protocol.hello import AskRequests
from buildtool.protocol.messages import AskStatus, Cancel, Follow, RequestStatus, RequestStatuses
from tests import messages
from tests.adapters.control.test_gateway import Farm
from tests.client.farms import ClientWorld
from tests.fakes import FakeMetaserver, FakeRequestService
from tests.web.visitor import PUBLIC

STANDING = {number: messages.waiting(request_id=number, token="abcdef") for number in (11, 12)}


T = TypeVar("T")


def alike(told: T) -> T:
    """Return what was told with its log where the API has it: there it is told so already."""
    return reachable(told, read_farm_url(PUBLIC))


class Metaserver(Protocol):
    """Requests 11 and 12, which wait, and connections to whoever knows of them."""

    def connect(self) -> MetaserverClient: ...

    def move(self, told: RequestStatus) -> None: ...

    def lose(self) -> None: ...

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...

    def settle(self) -> None: ...


class Real:
    """The real gateway and its client."""

    def __init__(self) -> None:
        self.farm = Farm(requesters=FakeRequestService(dict(STANDING)))

    def connect(self) -> MetaserverClient:
        return self.farm.requester()

    def move(self, told: RequestStatus) -> None:
        self.farm.requesters.answers[told.request_id] = told
        self.farm.gateway.followers.moved(told)
        self.settle()

    def lose(self) -> None:
        self.farm.ends.cut()

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.farm.result(coroutine)

    def settle(self) -> None:
        self.farm.ends.run()


class Fake:
    """What the requester's tests have."""

    def __init__(self) -> None:
        self.metaserver = FakeMetaserver(requests=dict(STANDING))

    def connect(self) -> MetaserverClient:
        client: MetaserverClient = self.do(self.metaserver.connect())
        return client

    def move(self, told: RequestStatus) -> None:
        self.metaserver.move(told)

    def lose(self) -> None:
        self.metaserver.lose()

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        found: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(found.append)
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0]

    def settle(self) -> None:
        """Everything is told at once."""


class OverHttp:
    """The real API and its client."""

    def __init__(self) -> None:
        self.at = ClientWorld()
        self.at.world.people.answers = dict(STANDING)

    def connect(self) -> MetaserverClient:
        client: MetaserverClient = self.do(connected(self.at.api()))
        return client

    def move(self, told: RequestStatus) -> None:
        self.at.move(told)

    def lose(self) -> None:
        self.at.agent.lose()

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.at.do(coroutine)

    def settle(self) -> None:
        self.at.settle()


@pytest.fixture(params=[Real, OverHttp, Fake])
def at(request: pytest.FixtureRequest) -> Metaserver:
    made: Metaserver = request.param()
    return made


def follow(at: Metaserver, client: MetaserverClient, number: int, heard: Callable[[RequestStatus], None]) -> Any:
    return at.do(client.follow(Follow(number, "abcdef"), heard))


def test_a_question_is_answered_or_refused_with_the_error_that_it_was(at: Metaserver) -> None:
    client = at.connect()
    assert alike(at.do(client.ask(AskStatus(11, "abcdef"), RequestStatus))) == alike(STANDING[11])
    with pytest.raises(NotFound):
        at.do(client.ask(AskStatus(13, "abcdef"), RequestStatus))
    with pytest.raises(Unauthorised):
        at.do(client.ask(AskStatus(11, "wrong"), RequestStatus))
    with pytest.raises(Unauthorised):
        at.do(client.follow(Follow(11, "wrong"), lambda _: None))
    assert at.do(client.ask(Cancel(11, "abcdef"), RequestStatus)).state == "cancelled"
    assert at.do(client.ask(AskStatus(11, "abcdef"), RequestStatus)).state == "cancelled"


def test_one_s_own_requests_are_listed_as_many_as_are_wanted(at: Metaserver) -> None:
    client = at.connect()
    listed = at.do(client.ask(AskRequests(64), RequestStatuses))
    assert [alike(one) for one in listed.items] == [alike(one) for one in STANDING.values()]
    assert alike(at.do(client.ask(AskRequests(1), RequestStatuses))).items == (alike(STANDING[11]),)


def test_each_request_that_is_followed_is_heard_of_by_its_own_follower_until_its_end(at: Metaserver) -> None:
    client, first, second = at.connect(), list[RequestStatus](), list[RequestStatus]()
    assert alike(follow(at, client, 11, first.append)) == alike(STANDING[11])
    assert alike(follow(at, client, 12, second.append)) == alike(STANDING[12])
    assert (first, second) == ([], []), "how it stands was the answer"
    moves = [messages.waiting(request_id=11, epoch=2), messages.told(request_id=11)]
    for told in (*moves, messages.told(request_id=11, reason="late")):
        at.move(told)
    assert ([alike(one) for one in first], second) == ([alike(one) for one in moves], [])
    at.move(messages.waiting(request_id=12, epoch=2))
    assert len(second) == 1


def test_a_request_that_has_ended_is_told_and_not_followed(at: Metaserver) -> None:
    client, heard = at.connect(), list[RequestStatus]()
    at.move(messages.told(request_id=11))
    assert follow(at, client, 11, heard.append).state == "satisfied"
    at.move(messages.told(request_id=11, reason="late"))
    assert heard == []


@pytest.mark.parametrize("lost", [False, True])
def test_once_a_connection_has_ended_nothing_is_asked_or_heard_over_it_and_everybody_knows(
    at: Metaserver, lost: bool
) -> None:
    client, other, heard = at.connect(), at.connect(), list[RequestStatus]()
    follow(at, client, 11, heard.append)
    told: list[str] = []
    for _ in range(2):
        client.closed().addCallback(told.append)
    assert told == []
    before = client.is_open
    if lost:
        at.lose()
    for _ in range(2):
        client.close()
    assert (before, client.is_open) == (True, False)
    for asking in (
        client.ask(AskStatus(11, "abcdef"), RequestStatus),
        client.follow(Follow(11, "abcdef"), heard.append),
    ):
        with pytest.raises(Unavailable):
            at.do(asking)
    at.settle()
    client.closed().addCallback(told.append)
    assert len(told) == 3
    assert all(told)
    at.move(messages.waiting(request_id=11, epoch=2))
    assert heard == []
    if not lost:
        assert at.do(other.ask(AskStatus(11, "abcdef"), RequestStatus)).epoch == 2, "the other connection goes on"
