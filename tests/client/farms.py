"""A farm whose API is asked by its client: over HTTP, in memory."""

from collections.abc import Coroutine
from typing import Any, cast

from attrs import define, field
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from buildtool.adapters.http.client import HttpClient, HttpTimeouts
from buildtool.client.connection import ApiConnection
from buildtool.client.farm_urls import read_farm_url
from buildtool.protocol.messages import RequestStatus
from tests.web.api.world import KEYED, ApiWorld
from tests.web.visitor import PUBLIC


@implementer(IAgent)
class CutAgent:
    """An agent to a site in memory, whose network can fail: then nobody listens, and what is under way is lost."""

    def __init__(self, site: object) -> None:
        self.inner: Any = RequestTraversalAgent(site)
        self.urls: list[str] = []
        self._down = False
        self._under_way: list[Deferred[IResponse]] = []

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[IResponse]:
        if self._down:
            return fail(NobodyListens())
        self.urls.append(uri.decode())
        asked = self.inner.request(method, uri, headers, bodyProducer)
        told: Deferred[IResponse] = Deferred(lambda _: asked.cancel())
        self._under_way.append(told)
        asked.addBoth(lambda result: None if told.called else told.callback(result))
        return told

    def lose(self) -> None:
        self._down = True
        for told in self._under_way:
            if not told.called:
                told.errback(Failure(ConnectionLost()))


@define
class ClientWorld:
    """A client of the farm of ``world``, whose API counts seconds only when something moves or is awaited."""

    world: ApiWorld = field(factory=ApiWorld)
    clock: Clock = field(factory=Clock)
    agent: CutAgent = field(init=False)
    token: str = field(init=False)
    _seconds: list[Deferred[None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.world.wait = self._second
        self.agent = CutAgent(self.world.visitor.site)
        self.token = self.world.tokens.make(KEYED).token

    def _second(self) -> Deferred[None]:
        made: Deferred[None] = Deferred()
        self._seconds.append(made)
        return made

    def api(self, url: str = PUBLIC, token: str | None = None) -> ApiConnection:
        timers = cast(IReactorTime, self.clock)
        http = HttpClient(timers, HttpTimeouts(), agent=self.agent)
        return ApiConnection(read_farm_url(url), timers, http, self.token if token is None else token)

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return what a coroutine returns, or raise what it raises."""
        found: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(found.append)
        self.settle()
        assert found, "it waits for something"
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def settle(self) -> None:
        """Let everything arrive that is under way."""
        for _ in range(8):
            self.agent.inner.flush()

    def move(self, told: RequestStatus) -> None:
        """Let a Request be another, and time pass until everybody can know."""
        self.world.people.answers[told.request_id] = told
        self.world.pages.last_event += 1
        for _ in range(5):
            self.pass_second()

    def pass_second(self) -> None:
        """Let a second pass, here and there."""
        seconds, self._seconds = self._seconds, []
        for one in seconds:
            if not one.called:
                one.callback(None)
        self.settle()
        self.clock.advance(1.0)
        self.settle()
