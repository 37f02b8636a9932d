"""``ports.MetaserverClient`` over the API, for requesters whom Perspective Broker does not let through.

A request that is followed is asked for with ``wait``: the API answers once it is another. Several are asked for in
rounds, so that a matrix takes one connection. Tested by tests/ports/test_metaserver_client.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import attrs
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from buildtool.client.connection import ROUTES, USUAL, Answered, ApiConnection
from buildtool.errors import BuildToolError, LimitReached, Unavailable
from buildtool.model.lifecycle import RequestState
from buildtool.protocol import codec
from buildtool.protocol.hello import AskProjects, ProjectsDescribed
from buildtool.protocol.messages import AskExplain, AskStatus, Cancel, Follow, RequestStatus, Submit, SubmitTogether

T = TypeVar("T", bound=attrs.AttrsInstance)

WAIT = 55
"""Seconds for which a change is waited for in one question: less than proxies let pass without an answer."""

ROUND = 3.0
"""Seconds between two rounds of questions where several requests are followed, and where no place to wait is left."""

HASTY = 5
"""After how many answers in a row that came within a second there is a round's pause: such an API waits for nothing."""

LONG = 900.0
PATIENCE: Mapping[type[attrs.AttrsInstance], float] = dict.fromkeys((Submit, SubmitTogether, AskExplain, Cancel), LONG)
"""Seconds that an answer may take: the metaserver may have to mirror a large repository first."""


@define(eq=False)
class _Followed:
    """A Request that is followed: whom to tell, what was told last, and its entity tag."""

    message: AskStatus
    moved: Callable[[RequestStatus], None]
    told: RequestStatus
    tag: str


@define(eq=False)
class HttpSession:
    """A connection to the metaserver through the API; ``described`` is what it said of its projects at the beginning.

    It has ended at ``close``, and once the API does not answer a question about a request that is followed.
    """

    api: ApiConnection
    described: ProjectsDescribed
    _followed: dict[int, _Followed] = field(factory=dict, init=False)
    _watching: Deferred[None] | None = field(default=None, init=False)
    _ended: str = field(default="", init=False)
    _waiting: list[Deferred[str]] = field(factory=list, init=False)

    @property
    def projects(self) -> str:
        """The digest of what is described."""
        return self.described.digest

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return not self._ended

    async def ask(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        """Send a message and return its answer. Raises what it is refused with, Unavailable, UsageError."""
        self._check()
        if isinstance(message, AskProjects):
            return cast("T", self.described)
        return await self.api.ask(message, expected, within=PATIENCE.get(type(message), USUAL))

    async def follow(self, message: Follow, moved: Callable[[RequestStatus], None]) -> RequestStatus:
        """Follow a Request: call ``moved`` at every change. Returns its status now."""
        self._check()
        asked = AskStatus(message.request_id, message.token)
        answered = await self._status(asked)
        told = self.api.read(answered, RequestStatus)
        if told.state == RequestState.WAITING.value and self.is_open:
            self._followed[message.request_id] = _Followed(asked, moved, told, answered.tag)
            watching, self._watching = self._watching, None
            if watching is not None:
                watching.cancel()  # it may wait for a change of another one
            self._watching = Deferred.fromCoroutine(self._watch())
        return told

    def closed(self) -> Deferred[str]:
        """Return a Deferred of why it ended, once it has."""
        ended: Deferred[str] = Deferred()
        if self._ended:
            ended.callback(self._ended)
        else:
            self._waiting.append(ended)
        return ended

    def close(self) -> None:
        """End the connection to the metaserver; those of HTTP below are kept for others."""
        self._end("this side closed the connection")

    def _check(self) -> None:
        if self._ended:
            raise Unavailable(f"the connection to the metaserver at {self.api.url.where} is gone: {self._ended}")

    def _end(self, why: str) -> None:
        if self._ended:
            return
        self._ended = why
        watching, self._watching = self._watching, None
        self._followed.clear()
        if watching is not None:
            watching.cancel()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(why)

    async def _status(self, message: AskStatus, known: str = "", wait: int = 0) -> Answered:
        return await self.api.answered(ROUTES[AskStatus], codec.encode(message), known=known, wait=wait)

    async def _watch(self) -> None:
        """Ask for all that are followed until each has ended, or nothing answers."""
        pause, hasty = 0.0, 0
        try:
            while self._followed and self.is_open:
                if pause:
                    await deferLater(self.api.reactor, pause)
                several = len(self._followed) > 1 or pause > 0
                pause, begun = ROUND if several else 0.0, self.api.reactor.seconds()
                for number in list(self._followed):
                    if number in self._followed:
                        pause = max(pause, await self._look(number, 0 if several else WAIT))
                hasty = hasty + 1 if self.api.reactor.seconds() - begun < 1 else 0
                if hasty >= HASTY:
                    pause = max(pause, ROUND)
            self._watching = None
        except CancelledError:
            return  # another round has begun, or nobody follows any more
        except BuildToolError as error:
            self._watching = None
            self._end(str(error))

    async def _look(self, number: int, wait: int) -> float:
        """Ask for a Request that is followed, and tell a change; return in how many seconds to ask again at least.

        Raises BuildToolError.
        """
        one = self._followed[number]
        try:
            answered = await self._status(one.message, one.tag, wait)
        except LimitReached as error:
            return max(error.again, ROUND)
        if answered.plain is None or number not in self._followed:
            return 0.0
        told, before = self.api.read(answered, RequestStatus), one.told
        one.tag, one.told = answered.tag, told
        if told.state != RequestState.WAITING.value:
            del self._followed[number]
        if told != before:
            one.moved(told)
        return 0.0


async def connected(api: ApiConnection, within: float = USUAL) -> HttpSession:
    """Return a connection, once the API has said ``within`` so many seconds which projects there are.

    Raises Unavailable, Unauthorised.
    """
    return HttpSession(api, await api.ask(AskProjects(), ProjectsDescribed, within=within))
