"""HTTP whose bodies are streams: each request is one coroutine that is asked *before* a body is taken.

Twisted's own server collects a whole body before anybody sees the request. Here a request is admitted when its
headers are complete; its handler then takes the body in pieces and answers. A refusal is sent at once: what the
peer still sends is thrown away for a short while, so that it can read the answer, and then the connection is cut.

One of Twisted's private names is overridden (``_respondToBadRequestAndDisconnect``): nothing public says what is
answered to what is no HTTP. Two are read (``_buffer``, ``_dataBuffer``): nothing public says whether anything waits.
"""

# Much of twisted.web.http carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http

from buildtool.adapters.http.request import StreamingRequest
from buildtool.adapters.http.routes import HttpLimits, Routes
from buildtool.adapters.network.connection_shares import ConnectionShares, ConnectionState, NoRoom
from buildtool.adapters.network.endpoints import network_at
from buildtool.adapters.network.open_files import room_for
from buildtool.concurrency.backpressure import PIECE, Connection
from buildtool.concurrency.signal import Signal

_log = Logger()

TLS_RECORD = b"\x16"
"""The first byte of a handshake of TLS, where a request of HTTP is expected."""

MIN_PROGRESS = 64 * 1024
"""Bytes of a body that must arrive within the idle time-out: a peer that trickles is not waited for."""

BODIES = 16 * 1024 * 1024
"""Bytes of bodies, coming and going, that wait in memory for all connections together, about: each has a part of it."""

LEAST_PART = 16 * 1024
"""Bytes of a body that one connection may always have in memory."""

LINGER_BYTES = 8 * 1024 * 1024
"""What a refused peer may still send before it is left to block."""


_channel_log = Logger("twisted.web.http")
"""Takes what Twisted says of time-outs of connections, else it would count as ours."""


class StreamingChannel(http.HTTPChannel):
    """One HTTP connection whose bodies are streams."""

    site: StreamingSite
    requests: list[StreamingRequest]
    transport: Connection  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self._log = _channel_log
        self.lingering = False
        self._request_line = b""
        self._thrown_away = 0
        self._ending: IDelayedCall | None = None
        self._busy = False
        self._progress = 0

    def connectionMade(self) -> None:
        """Read more at once than Twisted usually does: what comes here is mostly long."""
        super().connectionMade()
        self.transport.bufferSize = PIECE

    @property
    def between_requests(self) -> bool:
        """Whether nothing of a request is there or unanswered."""
        return not (self.requests or self.lingering or self._buffer or self._dataBuffer)

    def stands(self, state: ConnectionState) -> None:
        self.site.admitting.stands(self, state, self.site.reactor.seconds())

    def dataReceived(self, data: bytes) -> None:
        """Read what came; unlike in Twisted's, not every byte prolongs the time-out: see ``HttpLimits.idle``."""
        if data[:1] == TLS_RECORD and self.between_requests:
            self._respondToBadRequestAndDisconnect()  # before a line ends, which what TLS begins with may not have
            return
        if self._busy:  # what trickles in before a request is complete makes nobody's place safer
            self.site.admitting.heard(self, self.site.reactor.seconds())
        self.transport.bufferSize = self.site.part(PIECE)
        self._progress += len(data)
        if not self._busy or self._progress >= MIN_PROGRESS:
            self._busy = True
            self._progress = 0
            self.resetTimeout()
        LineReceiver.dataReceived(self, data)

    def lineReceived(self, line: bytes) -> None:
        if self.lingering:
            return
        before = len(self.requests)
        super().lineReceived(line)
        if len(self.requests) > before:  # otherwise the channel tells it only after the body
            self._request_line = line

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # a Content-Length of more digits than Python converts
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        self.setTimeout(self.site.limits.idle)
        self.stands(ConnectionState.BUSY)
        request = self.requests[-1]
        method, uri, version = self._request_line.split()
        request.begin(method, uri, version, self.length)
        if not self.lingering:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self.lingering:
            super().rawDataReceived(data)
            return
        self._thrown_away += len(data)
        if self._thrown_away > LINGER_BYTES:
            self.transport.pauseProducing()

    def allContentReceived(self) -> None:
        if not self.lingering:
            super().allContentReceived()

    def requestDone(self, request: StreamingRequest) -> None:
        if self.lingering:
            self.requests.remove(request)
            return
        self._busy = False
        self._progress = 0
        self.stands(ConnectionState.IDLE)
        super().requestDone(request)

    def linger(self) -> None:
        self.lingering = True
        self.persistent = False
        self.setTimeout(None)
        self._ending = self.site.reactor.callLater(self.site.limits.linger, self._end)
        self.transport.resumeProducing()
        self.setRawMode()

    def _end(self) -> None:
        self._ending = None
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self.lingering:
            return
        self.linger()
        text = b"this is not a valid HTTP request\n"
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
        )
        for request in self.requests:
            request.broken()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        self.site.gone(self)


class StreamingSite(http.HTTPFactory):
    """A factory of connections that serve ``routes``. It keeps no access log: no peer can fill a disk with one."""

    noisy = False

    def __init__(self, reactor: IReactorTime, routes: Routes, limits: HttpLimits) -> None:
        # The time-out of a first request. It is not made shorter later: Twisted looks through all timers for that.
        super().__init__(timeout=min(limits.stranger, limits.idle), reactor=reactor)
        self.routes = routes
        self.limits = limits
        self.admitting: ConnectionShares[StreamingChannel] = ConnectionShares(room_for(limits.connections), limits.most)
        self._open: set[StreamingChannel] = set()
        self._empty = Signal()

    def part(self, most: int) -> int:
        """Return how many bytes of a body each connection may have in memory now, ``most`` while there are few."""
        return max(LEAST_PART, min(most, BODIES // max(1, len(self.admitting))))

    def buildProtocol(self, addr: IAddress | None) -> StreamingChannel | None:  # type: ignore[override]
        """Return the connection's protocol, or None (which closes it) when there is no room for one more."""
        network, now = network_at(addr), self.reactor.seconds()
        try:
            other = self.admitting.make_room(network, now)
        except NoRoom:
            return None
        if other is not None:
            other.transport.abortConnection()
        channel = StreamingChannel()
        channel.site = self
        channel.factory = self
        channel.requestFactory = StreamingRequest  # type: ignore[assignment]
        channel.callLater = self.reactor.callLater  # type: ignore[method-assign, assignment]
        channel.timeOut = self.timeOut  # type: ignore[assignment]
        self._open.add(channel)
        self.admitting.arrived(channel, network, now)
        return channel

    def startFactory(self) -> None:
        """Open nothing."""

    def stopFactory(self) -> None:
        """Close nothing."""

    def log(self, request: http.Request) -> None:
        """Write nothing."""

    def gone(self, channel: StreamingChannel) -> None:
        """Forget a connection that has ended."""
        self.admitting.left(channel)
        self._open.discard(channel)
        if not self._open:
            self._empty.notify()

    async def disconnect(self) -> None:
        """Close every connection, and return when all are gone: for the end of the program."""
        if self._open:
            what = "1 connection" if len(self._open) == 1 else f"{len(self._open)} connections"
            _log.info("cut off: {what} of the transfer port", what=what)
            gone = self._empty.wait()
            for channel in tuple(self._open):
                channel.transport.abortConnection()
            await gone
