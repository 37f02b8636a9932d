"""HTTP whose bodies are streams: each request is one coroutine that is asked *before* a body is taken.

Twisted's own server collects a whole body before anybody sees the request. Here a request is admitted when its
headers are complete; its handler then takes the body in pieces and answers. A refusal is sent at once: what the
peer still sends is thrown away for a short while, so that it can read the answer, and then the connection is cut.

Three of Twisted's private names are used (``_command``, ``_path``, ``_version``: the request line, which the channel
otherwise hands over only after the body) and one is overridden (``_respondToBadRequestAndDisconnect``).
"""

# Much of twisted.web.http carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http

from buildtool.adapters.admitting import Admitting, NoRoom, Standing
from buildtool.adapters.descriptors import room_for
from buildtool.adapters.flow import HIGH_WATER, PIECE, Connection, Inlet, Outlet, StallWatch
from buildtool.domain.networks import network_of
from buildtool.errors import BuildToolError, TooLong, Unavailable

_log = Logger()

MIN_PROGRESS = 64 * 1024
"""Bytes of a body that must arrive within the idle time-out: a peer that trickles is not waited for."""

BODIES = 16 * 1024 * 1024
"""Bytes of bodies, coming and going, that wait in memory for all connections together, about: each has a part of it."""

LEAST_PART = 16 * 1024
"""Bytes of a body that one connection may always have in memory."""

LINGER_BYTES = 8 * 1024 * 1024
"""What a refused peer may still send before it is left to block."""


@frozen
class Limits:
    """Bounds of one site: connections at once (of which each network has a share, see ``Admitting``), and seconds.

    ``stranger``: for the headers of the first request. ``idle``: between requests, for a request's headers, and for
    each MIN_PROGRESS bytes of a body. ``stall``: for a reader to take something of an answer (kernel buffers make slow
    readers look idle for a while). ``linger``: how long a refused peer is listened to.
    """

    connections: int = 400
    stranger: float = 20.0
    idle: float = 60.0
    stall: float = 300.0
    linger: float = 5.0


Headers = tuple[tuple[str, str], ...]


class Content(Protocol):
    """The body of an answer, read in pieces."""

    @property
    def start(self) -> int:
        """The first byte."""

    @property
    def end(self) -> int:
        """The byte after the last."""

    async def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start`` on."""

    def close(self) -> None:
        """Nothing more is read."""


@frozen
class Answer:
    """What a request is answered: a status, headers, and either one line of text or a content."""

    code: int
    text: str = ""
    headers: Headers = ()
    content: Content | None = None


class Refusal(Exception):
    """Raised by a handler for an answer that is no success and no error of this program."""

    def __init__(self, code: int, text: str, headers: Headers = ()) -> None:
        super().__init__(text)
        self.answer = Answer(code, text, headers)


Handler = Callable[["StreamingRequest", Inlet], Awaitable[Answer]]


@frozen
class Admission:
    """Who handles a request, and the most bytes its body may have."""

    handler: Handler
    body_limit: int = 0


class Routes(Protocol):
    """What a site serves."""

    def admit(self, request: StreamingRequest) -> Admission:
        """Decide, from the headers alone and without waiting. Raises Refusal or BuildToolError."""

    def refusal(self, error: BuildToolError) -> Answer:
        """Say an error in HTTP."""

    def headers(self) -> Headers:
        """Return what every answer carries."""


class StreamingRequest(http.Request):
    """One request. ``method``, ``path``, ``query`` and the headers are known when it is admitted."""

    _log = Logger()
    channel: StreamingChannel | None = None  # type: ignore[assignment]

    def __init__(self, channel: StreamingChannel, _queued: object = None) -> None:
        super().__init__(channel)
        self.site = channel.site
        self.query = ""
        self.refused = False
        self._started = False
        self._body = Inlet(_Transport(self), lambda: self.site.part(HIGH_WATER))
        self._arrived = 0
        self._complete = False
        self._admission: Admission | None = None
        self._early: Answer | None = None
        self._on_lost: list[Callable[[], object]] = []

    # --- called by the channel ---------------------------------------------------------------------------

    def begin(self, method: bytes, uri: bytes, version: bytes, length: int | None) -> None:
        """The headers are complete: ask whether this is wanted, and start the handler when a body follows."""
        self.method, self.uri, self.clientproto = method, uri, version
        self.path, _, query = uri.partition(b"?")
        self.query = query.decode("latin-1")
        try:
            self._admission = self.site.routes.admit(self)
            limit = self._admission.body_limit
            if length is not None and length > limit:
                raise TooLong(f"the body has {length} bytes, but at most {limit} are taken here")
        except (Refusal, BuildToolError) as error:
            self._early = self._said(error)
        if length == 0:
            return
        if self._early is not None:
            self._refuse(self._early)
        else:
            self._start()

    def gotLength(self, length: int | None) -> None:
        """No file is made for the body: it goes to the handler as it comes."""

    def handleContentChunk(self, data: bytes) -> None:
        self._arrived += len(data)
        if self._admission is not None and self._arrived > self._admission.body_limit:
            self._body.fail(TooLong(f"the body is longer than the {self._admission.body_limit} bytes taken here"))
        self._body.feed(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self._complete = True
        if self.channel is not None:
            self.channel.stands(Standing.WAITS)
        if self._early is not None:
            self._start_answer(self._early)
            return
        if not self._started:
            self._start()
        self._body.end()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.broken()

    def broken(self) -> None:
        """Nothing more comes of the body, and nobody waits for the answer."""
        self._body.fail(Unavailable("the connection was lost"))
        for call in self._on_lost:
            call()

    # --- for handlers ------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._disconnected)

    def when_lost(self, call: Callable[[], object]) -> None:
        """Call ``call`` when the connection is lost before the answer is finished."""
        self._on_lost.append(call)

    def waits_for_news(self) -> None:
        """Note that the peer waits for what may not happen: if it waits for long, it makes room for others."""
        if self.channel is not None:
            self.channel.stands(Standing.BUSY)

    def abort(self) -> None:
        """Cut the connection."""
        if self.channel is not None and not self.lost:
            self.channel.transport.abortConnection()

    def header(self, name: str) -> str | None:
        """Return the header's value, None when it is absent. Raises Refusal when it is there twice."""
        values = self.requestHeaders.getRawHeaders(name.encode(), [])
        if len(values) > 1:
            raise Refusal(http.BAD_REQUEST, f"the header {name} may be there only once")
        return values[0].decode("latin-1") if values else None

    # --- how it goes -------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._started = True
        Deferred.fromCoroutine(self._handle()).addErrback(self._defect)

    def _start_answer(self, answer: Answer) -> None:
        Deferred.fromCoroutine(self._send(answer)).addErrback(self._defect)

    async def _handle(self) -> None:
        if self._admission is None:
            return
        try:
            answer = await self._admission.handler(self, self._body)
        except (Refusal, BuildToolError) as error:
            answer = self._said(error)
        except Exception:  # noqa: BLE001 - a defect: logged in full, told in one line, never to end the server
            self._log.failure("a transfer failed: {method} {path}", method=self.method, path=self.path)
            answer = Answer(http.INTERNAL_SERVER_ERROR, "an internal error, which was logged: try again later")
        if self._complete:
            await self._send(answer)
        else:
            self._body.fail(Unavailable("refused"))
            if answer.content is not None:
                answer.content.close()
            self._refuse(answer)

    def _said(self, error: Refusal | BuildToolError) -> Answer:
        return error.answer if isinstance(error, Refusal) else self.site.routes.refusal(error)

    def _refuse(self, answer: Answer) -> None:
        """Answer although the body is not complete, and end the connection."""
        if self.lost or self.channel is None or self.channel.lingering:
            return
        self.refused = True
        self.channel.linger()
        self.responseHeaders.setRawHeaders("Connection", ["close"])
        self._head(answer, len(_line(answer)))
        self.write(_line(answer))
        self.finish()

    async def _send(self, answer: Answer) -> None:
        content = answer.content
        if content is None:
            if not self.lost:
                line = b"" if answer.code in http.NO_BODY_CODES else _line(answer)
                self._head(answer, len(line))
                self.write(line)
                self.finish()
            return
        try:
            if self.lost:
                return
            self._head(answer, content.end - content.start)
            if self.method != b"HEAD" and not await self._copy(content):
                self.abort()
                return
            if not self.lost:
                self.finish()
        finally:
            content.close()

    def _head(self, answer: Answer, length: int) -> None:
        self.setResponseCode(answer.code)
        said = {name.lower() for name, _ in answer.headers}
        for name, value in (*self.site.routes.headers(), *answer.headers):
            self.responseHeaders.addRawHeader(name, value)
        if "content-type" not in said:
            self.responseHeaders.addRawHeader("Content-Type", "text/plain; charset=utf-8")
        if answer.code not in http.NO_BODY_CODES:
            self.responseHeaders.addRawHeader("Content-Length", str(length))

    async def _copy(self, content: Content) -> bool:
        """Send a content, reading the next piece while the last one is on its way; False when it came to nothing."""
        outlet = Outlet()
        self.registerProducer(outlet, True)
        watch = StallWatch(self.site.reactor, self.site.limits.stall, self.abort)
        position, end = content.start, content.end
        pending = _reading(content, position, min(end, position + self.site.part(PIECE)))
        self._flows()
        try:
            while position < end:
                piece = await pending
                if not piece or not await outlet.ready():
                    return False
                position += len(piece)
                pending = _reading(content, position, min(end, position + self.site.part(PIECE)))
                self.write(piece)
                watch.progress()
                self._flows()
            return await outlet.ready()
        except BuildToolError as error:
            self._log.warn("an answer was cut off: {error}", error=str(error))
            return False
        finally:
            watch.stop()
            pending.addErrback(lambda _: None)  # read ahead for a peer that has gone: nobody misses it
            await pending
            if self.channel is not None:
                self.unregisterProducer()

    def _flows(self) -> None:
        if self.channel is not None:
            self.channel.stands(Standing.BUSY)

    def _defect(self, failure: Failure) -> None:
        self._log.failure("an answer could not be sent: {path}", failure=failure, path=self.path)
        self.abort()


def _reading(content: Content, position: int, end: int) -> Deferred[bytes]:
    async def read() -> bytes:
        return await content.read(position, end - position) if position < end else b""

    return Deferred.fromCoroutine(read())


def _line(answer: Answer) -> bytes:
    return f"{answer.text}\n".encode() if answer.text else b""


class _Transport:
    """The connection as a source that is paused and resumed, as long as the request has one."""

    def __init__(self, request: StreamingRequest) -> None:
        self._request = request

    def pauseProducing(self) -> None:
        if self._request.channel is not None and not self._request.refused:
            self._request.channel.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if self._request.channel is not None:
            self._request.channel.transport.resumeProducing()


_channel_log = Logger("twisted.web.http")
"""Takes what Twisted says of time-outs of connections, else it would count as ours."""


class StreamingChannel(http.HTTPChannel):
    """One connection."""

    site: StreamingSite
    requests: list[StreamingRequest]
    transport: Connection  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self._log = _channel_log
        self.lingering = False
        self._thrown_away = 0
        self._ending: IDelayedCall | None = None
        self._busy = False
        self._progress = 0

    def connectionMade(self) -> None:
        """Read more at once than Twisted usually does: what comes here is mostly long."""
        super().connectionMade()
        self.transport.bufferSize = PIECE

    def stands(self, standing: Standing) -> None:
        """Note what the peer is doing, and that it does it now."""
        self.site.admitting.stands(self, standing, self.site.reactor.seconds())

    def dataReceived(self, data: bytes) -> None:
        """Unlike Twisted's, do not let every byte prolong the time-out: see ``Limits.idle``."""
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
        if not self.lingering:
            super().lineReceived(line)

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
        self.stands(Standing.BUSY)
        request = self.requests[-1]
        request.begin(self._command, self._path, self._version, self.length)
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
        self.stands(Standing.IDLE)
        super().requestDone(request)

    def linger(self) -> None:
        """Take no more requests, throw away what comes, and cut the connection soon."""
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

    def __init__(self, reactor: IReactorTime, routes: Routes, limits: Limits) -> None:
        # The time-out of a first request. It is not made shorter later: Twisted looks through all timers for that.
        super().__init__(timeout=min(limits.stranger, limits.idle), reactor=reactor)
        self.routes = routes
        self.limits = limits
        self.admitting: Admitting[StreamingChannel] = Admitting(room_for(limits.connections))
        self._open: set[StreamingChannel] = set()
        self._waiting: list[Deferred[None]] = []

    def part(self, most: int) -> int:
        """Return how many bytes of a body each connection may have in memory now, ``most`` while there are few."""
        return max(LEAST_PART, min(most, BODIES // max(1, len(self.admitting))))

    def buildProtocol(self, addr: IAddress | None) -> StreamingChannel | None:  # type: ignore[override]
        """Return the connection's protocol, or None (which closes it) when there is no room for one more."""
        network, now = network_of(str(getattr(addr, "host", ""))), self.reactor.seconds()
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
        """Nothing to open."""

    def stopFactory(self) -> None:
        """Nothing to close."""

    def log(self, request: http.Request) -> None:
        """Nothing to write."""

    def gone(self, channel: StreamingChannel) -> None:
        """A connection has ended."""
        self.admitting.left(channel)
        self._open.discard(channel)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

    async def disconnect(self) -> None:
        """Cut every connection, and return when all are gone: for the end of the program."""
        if self._open:
            what = "1 connection" if len(self._open) == 1 else f"{len(self._open)} connections"
            _log.info("cut off: {what} of the transfer port", what=what)
            self._waiting.append(Deferred())
            gone = self._waiting[-1]
            for channel in tuple(self._open):
                channel.transport.abortConnection()
            await gone
