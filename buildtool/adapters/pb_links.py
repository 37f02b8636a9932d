"""Connections to build servers, by Session: orders go out, their answers and the end of a connection come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.spread import pb

from buildtool.adapters.pb_door import call, call_plain, decoded
from buildtool.adapters.pb_guard import Guarded
from buildtool.asker import working_for
from buildtool.domain.model import AttemptEnd
from buildtool.errors import BuildToolError, StorageUnavailable, Unavailable
from buildtool.ports import BuildServerDesk
from buildtool.protocol import AbortOrder, Accepted, Ended, Ok, Order, Refused

__all__ = ["Link", "Links"]

ORDER_TIMEOUT = 30.0
"""Seconds that a build server may take to accept or refuse, its client checkers included."""

ASKED = 3.0
"""Seconds that a build server has to answer when it is asked whether it is there."""

SILENCE = 60.0
"""Seconds after which a build server that was not heard of is gone, although its connection is still open: its machine
was unplugged, its network swallows everything, or it was stopped."""

_RETRY_FIRST, _RETRY_MOST = 1.0, 30.0

_NOTHING = AbortOrder(0, 0, "are you there?")

Send = Callable[["Link"], Coroutine[Any, Any, None]]


@define(eq=False)
class Link:
    """The connection of one build server. ``session`` is None until the desk has opened one.

    What is to be sent before ``is_open`` (the answer to ``register`` has gone out) waits in ``waiting``.
    """

    server: str
    broker: Guarded
    orders: pb.RemoteReference
    desk: BuildServerDesk
    session: int | None = None
    is_open: bool = False
    lost: bool = False
    goodbye: str = ""
    waiting: list[Send] = field(factory=list)
    silence: IDelayedCall | None = None


class Links:
    """Implements ``ports.BuildServers``.

    Each Session that the desk opened is told to it as disconnected exactly once, however the connection ended. The
    desk may ask for a dispatch before its answer to ``register`` has returned; that waits until the Session is open.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, silence: float = SILENCE) -> None:
        self._clock = clock
        self._silence = silence
        self._links: dict[tuple[str, int], Link] = {}
        self._arriving: list[Link] = []
        self._early: dict[tuple[str, int], list[Send]] = {}
        self._pauses: set[Deferred[None]] = set()
        self._asking: dict[tuple[str, int], list[Deferred[float]]] = {}
        self._desk: BuildServerDesk | None = None
        self._closed = False

    # --- connections ------------------------------------------------------------------------------------

    def arriving(self, server: str, broker: Guarded, orders: pb.RemoteReference, desk: BuildServerDesk) -> Link:
        """Return the link of a build server that is about to be registered."""
        self._desk = desk
        link = Link(server, broker, orders, desk)
        broker.patient += 1
        broker.notifyOnDisconnect(lambda: self._lost(link))  # type: ignore[no-untyped-call]
        self._arriving.append(link)
        return link

    def turned_away(self, link: Link) -> None:
        """The registration was refused."""
        link.lost = True
        link.broker.patient -= 1
        self._arrived(link)

    def opened(self, link: Link, session: int) -> None:
        """The desk has opened a Session."""
        link.session = session
        link.waiting += self._early.pop((link.server, session), [])
        self._arrived(link)
        if link.lost:
            self._gone(link)
            return
        self._links[link.server, session] = link
        link.silence = self._clock.callLater(self._silence, self._silent, link)
        self._clock.callLater(0, self._open, link)

    def heard(self, server: str, session: int) -> None:
        """A build server was heard of."""
        link = self._links.get((server, session))
        if link is not None and link.silence is not None:
            link.silence.reset(self._silence)

    def _silent(self, link: Link) -> None:
        link.silence = None
        link.broker.drop(f"build server {link.server} was not heard of for {self._silence:g} s")

    def _arrives(self, server: str) -> bool:
        return any(other.server == server for other in self._arriving)

    def _arrived(self, link: Link) -> None:
        self._arriving.remove(link)
        if not self._arrives(link.server):
            for key in [key for key in self._early if key[0] == link.server]:
                del self._early[key]

    def _open(self, link: Link) -> None:
        link.is_open = True
        waiting, link.waiting = link.waiting, []
        for send in waiting:
            self._start(link, send)

    def _lost(self, link: Link) -> None:
        if link.lost:
            return
        link.lost = True
        if link.session is not None:
            self._gone(link)

    def _gone(self, link: Link) -> None:
        session = link.session
        assert session is not None  # noqa: S101 - there is nothing to tell before
        self._links.pop((link.server, session), None)
        link.waiting.clear()
        if link.silence is not None:
            link.silence.cancel()
            link.silence = None
        reason = link.goodbye or link.broker.why or "the connection was lost"
        with working_for(link.broker.asker):  # in its place behind what it sent before
            self._tell_gone(link.desk, link.server, session, reason, clean=bool(link.goodbye))

    def _tell_gone(self, desk: BuildServerDesk, server: str, session: int, reason: str, *, clean: bool) -> None:
        async def tell() -> None:
            await desk.disconnected(server, session, reason, clean=clean)

        self._background(self._insist(tell, f"that {server} left", lambda: True))

    def close(self) -> None:
        """Tell the desks nothing any more."""
        self._closed = True
        for pause in list(self._pauses):
            pause.cancel()
        for link in self._links.values():
            if link.silence is not None:
                link.silence.cancel()
                link.silence = None

    # --- what is sent -----------------------------------------------------------------------------------

    def dispatch(self, server: str, session: int, order: Order) -> None:
        """Send an order to its build server."""

        async def send(link: Link) -> None:
            await self._order(link, order)

        self._send(server, session, send)
        if (server, session) not in self._links and self._desk is not None and not self._arrives(server):
            # Its login was refused for a commit that took effect all the same, or the desk has not yet taken in that
            # it left: it would be given orders for ever.
            self._tell_gone(self._desk, server, session, "there is no connection to it", clean=False)

    def abort(self, server: str, session: int, order: AbortOrder) -> None:
        """Tell the build server to stop an Attempt."""

        async def send(link: Link) -> None:
            await call(link.orders, "abort", order, Ok, clock=self._clock)

        self._send(server, session, send)

    def fence(self, server: str, session: int) -> None:
        """Close the connection of an older Session."""
        link = self._links.get((server, session))
        if link is not None:
            link.broker.drop(f"build server {server} has logged in anew")

    async def silence(self, server: str, session: int) -> float:
        """Ask a build server whether it is there; return for how many seconds nothing was heard of it, 0 if it answers.

        However many want to know at the same time, it is asked once. Infinity when it has no connection any more.
        """
        key = (server, session)
        link = self._links.get(key)
        if link is None:
            return math.inf
        waiting = self._asking.get(key)
        if waiting is not None:
            mine: Deferred[float] = Deferred()
            waiting.append(mine)
            return await mine
        self._asking[key] = []
        try:
            found = await self._ask(link)
        except BaseException:
            found = 0.0
            raise
        finally:
            for other in self._asking.pop(key):
                other.callback(found)
        return found

    async def _ask(self, link: Link) -> float:
        """Ask for something that peers of every version answer: to stop a build that there is not."""
        try:
            await call_plain(link.orders, "abort", _NOTHING, clock=self._clock, within=ASKED)
        except Unavailable:
            return math.inf if link.lost else link.broker.silent_for
        return 0.0

    def _send(self, server: str, session: int, send: Send) -> None:
        link = self._links.get((server, session))
        if link is None:
            # Of a Session that is just being opened; of any other the desk hears, or has heard, that it ended.
            if self._arrives(server):
                self._early.setdefault((server, session), []).append(send)
        elif link.is_open:
            self._start(link, send)
        else:
            link.waiting.append(send)

    def _start(self, link: Link, send: Send) -> None:
        async def guarded() -> None:
            try:
                await send(link)
            except BuildToolError as error:
                link.broker.drop(f"build server {link.server}: {error}")

        with working_for(link.broker.asker):
            self._background(guarded())

    async def _order(self, link: Link, order: Order) -> None:
        data = await call_plain(link.orders, "build", order, clock=self._clock, within=ORDER_TIMEOUT)
        answer = decoded(data, Accepted)
        session = link.session
        assert session is not None  # noqa: S101 - orders are sent in a Session only
        here = f"what {link.server} answered to build {order.build_id}"
        if isinstance(answer, Refused):
            ended = Ended(order.build_id, order.epoch, AttemptEnd.REFUSED, answer.message, "")
            await self._insist(lambda: link.desk.ended(link.server, session, ended), here, lambda: not link.lost)
        elif answer != Accepted(order.build_id, order.epoch):
            link.broker.drop(f"build server {link.server} accepted something else than it was asked to build")
        else:
            await self._insist(lambda: link.desk.accepted(link.server, session, answer), here, lambda: not link.lost)

    # --- telling the desk -------------------------------------------------------------------------------

    async def _insist(
        self, tell: Callable[[], Coroutine[Any, Any, object]], what: str, wanted: Callable[[], bool]
    ) -> None:
        """Tell the desk, again while it cannot store it, as long as it is ``wanted``."""
        delay = _RETRY_FIRST
        while wanted() and not self._closed:
            try:
                await tell()
            except StorageUnavailable as error:
                self._log.warn("{what} could not be stored, trying again: {why}", what=what, why=str(error))
            except BuildToolError as error:
                self._log.warn("{what} was not taken: {why}", what=what, why=str(error))
                return
            else:
                return
            pause: Deferred[None] = deferLater(self._clock, delay)
            self._pauses.add(pause)
            try:
                await pause
            finally:
                self._pauses.discard(pause)
            delay = min(2 * delay, _RETRY_MOST)

    def _background(self, act: Coroutine[Any, Any, None]) -> None:
        def failed(failure: Any) -> None:  # noqa: ANN401 - a Failure of anything
            if not self._closed:
                self._log.failure("a defect in the way to a build server", failure)

        Deferred.fromCoroutine(act).addErrback(failed)
