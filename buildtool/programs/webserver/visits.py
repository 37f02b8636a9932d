"""One request of a visitor, and one connection: what each may take of the pages.

Tested by tests/web/test_webserver.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from buildtool.adapters.http.server import TLS_RECORD
from buildtool.adapters.network.connection_shares import ConnectionShares, ConnectionState
from buildtool.errors import LimitReached
from buildtool.model.hooks.signing import HOOK_LIMIT
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.programs.webserver.ceilings import LongBody, refuse
from buildtool.web.access import remember_visitor
from buildtool.web.hooks.section import DELIVERED_AT

BODY_LIMIT = 64 * 1024
"""Bytes that a visitor may send with a request and have looked at: forms and what the API takes are short."""

DROPPED = 1024 * 1024
"""Bytes of a longer one that are read and dropped, so that the answer is read, before the connection is cut."""

DELIVERY_DROPPED = 26 * 1024 * 1024
"""The same of a delivery of a forge: those send up to 25 MiB, and what was wrong with one is read there by people."""

DELIVERIES = 32 * 1024 * 1024
"""Bytes of deliveries that are in memory at once."""

DELIVERIES_OF_ONE = DELIVERIES // 4
"""How many of them one network may have: else whoever sends slowly keeps all forges from delivering."""

IDLE = 60
"""Seconds after which a connection that asks nothing is closed."""

EVENT_STREAM = b"text/event-stream"
"""What begins the content type of an answer that has no end: whoever gets it is right to be silent."""

UNREAD = 128 * 1024
"""Bytes of answers that a visitor may leave unread and still be answered one more request on the same connection."""

_STRANGER = Principal(PrincipalRole.STRANGER)

_log = Logger("twisted.web.http")
"""Takes what Twisted says of time-outs of connections, else it would count as ours."""


class VisitedSite(Protocol):
    """The site of requests and connections. ``delivered`` is how many bytes of deliveries are in memory, by network."""

    delivered: Counter[str]

    def network(self, request: Request) -> str:
        """Return the network that a request comes from, as its connection or the farm's own proxies say."""

    admitting: ConnectionShares[PagesChannel]

    def entered(self, request: Request) -> Callable[[], None] | None:
        """Count a request that a proxy passes on; return what is called at its end. Raises LimitReached."""

    def by_tls(self, request: Request, *, direct: bool) -> bool:
        """Return whether a request came by TLS, as its connection does, or as the farm's own proxies say."""

    def stands(self, channel: PagesChannel, state: ConnectionState) -> None:
        """Record what a visitor does."""

    def now(self) -> float:
        """Return the time in seconds by which idleness is measured."""


class SmallRequest(Request):
    """A request whose body is bounded."""

    _received = 0
    _held = 0
    _delivers = _crowded = False
    _network = ""

    def process(self) -> None:
        """Answer, unless who asks has as much under way as they may have, behind a proxy of the farm's own.

        Where a body that was too long is looked at, that is the error.
        """
        remember_visitor(self, _STRANGER)  # until it is found out who that is
        if self._received > self._most:
            self.content = LongBody(BODY_LIMIT)
        try:
            if self._crowded:
                raise LimitReached("too much is delivered at once: try again", 1)  # noqa: TRY301 - answered as others
            left = self._site.entered(self)
        except LimitReached as error:
            refuse(self, error)
            return
        if left is not None:
            self.notifyFinish().addBoth(lambda _: left())
        super().process()  # type: ignore[no-untyped-call]

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, whatever its length in bytes is said to be: files may not be made here."""
        self._delivers = self.channel.begins_delivery()  # type: ignore[attr-defined] # it is one of ours
        if self._delivers:
            self._network = self._site.network(self)
        super().gotLength(0)  # type: ignore[no-untyped-call]

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > (DELIVERY_DROPPED if self._delivers else DROPPED):
            self.channel.forceAbortClient()
        if self._received > self._most or self._crowded:
            return
        if self._delivers:
            before = self._site.delivered
            self._crowded = (
                before.total() + len(data) > DELIVERIES or before[self._network] + len(data) > DELIVERIES_OF_ONE
            )
            if self._crowded:
                return
            self._hold(len(data))
        super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """End the answer."""
        self._hold(-self._held)
        super().finish()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        self._hold(-self._held)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def isSecure(self) -> bool:
        """Return whether it came by TLS, as far as the farm's own proxies say."""
        return self._site.by_tls(self, direct=super().isSecure())  # type: ignore[no-untyped-call]

    def _hold(self, size: int) -> None:
        """Count so many bytes more of a delivery in memory."""
        self._held += size
        of = self._site.delivered
        of[self._network] += size
        if not of[self._network]:
            del of[self._network]

    @property
    def _most(self) -> int:
        return HOOK_LIMIT if self._delivers else BODY_LIMIT

    @property
    def _site(self) -> VisitedSite:
        site: VisitedSite = self.channel.site  # type: ignore[attr-defined] # it is one of ours
        return site


class PagesChannel(http.HTTPChannel):
    """One connection, counted by its site, which makes room for others when it is idle."""

    site: VisitedSite

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._log = _log
        self._clogged = self._delivery = False
        self._unread = 0

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a head, and note where it begins a delivery, of which more is taken."""
        if line.startswith(DELIVERED_AT):
            self._delivery = True
        super().lineReceived(line)  # type: ignore[no-untyped-call]

    def begins_delivery(self) -> bool:
        """Return whether the head that ends here is that of a delivery."""
        begun, self._delivery = self._delivery, False
        return begun

    @property
    def between_requests(self) -> bool:
        """Whether nothing of a request is there or unanswered."""
        return not (self.requests or self._buffer or self._dataBuffer)

    def dataReceived(self, data: bytes) -> None:
        """Read what came. Unlike in Twisted's, only a whole request prolongs the time-out, and not every byte."""
        if data[:1] == TLS_RECORD and self.between_requests:
            self._respondToBadRequestAndDisconnect()  # type: ignore[no-untyped-call]
            return
        LineReceiver.dataReceived(self, data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long, such as an address of 20,000 characters, before the end."""
        self._respondToBadRequestAndDisconnect()  # type: ignore[no-untyped-call]

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; a Content-Length of more digits than Python converts is none."""
        try:
            return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]
        except ValueError:
            self._respondToBadRequestAndDisconnect()  # type: ignore[no-untyped-call]
            return False

    def allHeadersReceived(self) -> None:
        """Take a request."""
        self.setTimeout(IDLE)  # type: ignore[no-untyped-call]
        self.site.stands(self, ConnectionState.BUSY)
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Send the headers of an answer."""
        if headers.getRawHeaders(b"content-type", [b""])[0].startswith(EVENT_STREAM):
            self.site.stands(self, ConnectionState.WAITS)
        super().writeHeaders(version, code, reason, headers)  # type: ignore[no-untyped-call]

    def requestDone(self, request: http.Request) -> None:
        """Wait for the next request; take none from a visitor who does not read what was answered."""
        self.site.stands(self, ConnectionState.IDLE)
        if self._unread > UNREAD:
            self.persistent = False
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def write(self, data: bytes) -> None:
        """Send a part of an answer."""
        super().write(data)  # type: ignore[no-untyped-call]
        if self._clogged:
            self._unread += len(data)

    def pauseProducing(self) -> None:
        """Count from now on: much is written that has not been read."""
        self._clogged = True
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        """Resume what was paused: everything that was written has been read."""
        self._clogged, self._unread = False, 0
        self.site.admitting.heard(self, self.site.now())
        super().resumeProducing()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.site.admitting.left(self)
