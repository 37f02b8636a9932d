"""One request whose body is a stream: it is asked *before* a body is taken whether it is wanted.

Its handler takes the body in pieces and answers. A refusal is sent at once, and then the connection is cut.
"""

# Much of twisted.web.http carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http

from buildtool.adapters.http.routes import Admission, Content, HttpLimits, HttpRefusal, HttpResponse, Routes
from buildtool.adapters.network.connection_shares import ConnectionState
from buildtool.concurrency.backpressure import HIGH_WATER, PIECE, BodyReader, BodyWriter, Connection, StallWatch
from buildtool.errors import BuildToolError, TooLong, Unavailable
from buildtool.model.access.visitors import header_texts

_log = Logger()


class RequestSite(Protocol):
    """The site that a request is sent to."""

    routes: Routes
    limits: HttpLimits
    reactor: IReactorTime

    def part(self, most: int) -> int:
        """Return how many bytes of a body may be in memory now, ``most`` at most."""


class RequestChannel(Protocol):
    """The connection of a request."""

    transport: Connection
    lingering: bool

    @property
    def site(self) -> RequestSite:
        """The site that the connection was made to."""

    def stands(self, state: ConnectionState) -> None:
        """Record what the peer is doing now."""

    def linger(self) -> None:
        """Stop taking requests, throw away what comes, and cut the connection soon."""


class StreamingRequest(http.Request):
    """One HTTP request. ``method``, ``path``, ``query`` and the headers are known when it is admitted."""

    channel: RequestChannel | None = None  # type: ignore[assignment]

    def __init__(self, channel: RequestChannel, _queued: object = None) -> None:
        super().__init__(cast(http.HTTPChannel, channel))
        self.site = channel.site
        self.query = ""
        self.refused = False
        self.lost = False
        self._started = False
        self._body = BodyReader(self._source, lambda: self.site.part(HIGH_WATER))
        self._arrived = 0
        self._complete = False
        self._admission: Admission | None = None
        self._early: HttpResponse | None = None
        self._on_lost: list[Callable[[], object]] = []

    # --- called by the channel ---------------------------------------------------------------------------

    def begin(self, method: bytes, uri: bytes, version: bytes, length: int | None) -> None:
        """Admit the request, whose headers are complete, or record a refusal; start its handler when a body follows.

        ``length`` is the body's in bytes, None where it is not told.
        """
        self.method, self.uri, self.clientproto = method, uri, version
        self.path, _, query = uri.partition(b"?")
        self.query = query.decode("latin-1")
        try:
            self._admission = self.site.routes.admit(self)
            limit = self._admission.body_limit
            if length is not None and length > limit:
                raise TooLong(f"the body has {length} bytes, but at most {limit} are taken here")
        except (HttpRefusal, BuildToolError) as error:
            self._early = _said(error, self.site.routes)
        if length == 0:
            return
        if self._early is not None:
            self._refuse(self._early)
        else:
            self._start(self._handle())

    def gotLength(self, length: int | None) -> None:
        """Skip Twisted's file for a body of ``length`` bytes: it goes to the handler as it comes."""

    def handleContentChunk(self, data: bytes) -> None:
        self._arrived += len(data)
        if self._admission is not None and self._arrived > self._admission.body_limit:
            self._body.fail(TooLong(f"the body is longer than the {self._admission.body_limit} bytes taken here"))
        self._body.feed(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self._complete = True
        if self.channel is not None:
            self.channel.stands(ConnectionState.WAITS)
        if self._early is not None:
            self._start(self._send(self._early))
            return
        if not self._started:
            self._start(self._handle())
        self._body.end()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.broken()

    def broken(self) -> None:
        """Stop the body and drop the answer: the connection is lost."""
        self.lost = True
        self._body.fail(Unavailable("the connection was lost"))
        for call in self._on_lost:
            call()

    # --- for handlers ------------------------------------------------------------------------------------

    def when_lost(self, call: Callable[[], object]) -> None:
        self._on_lost.append(call)

    def busy(self) -> None:
        if self.channel is not None:
            self.channel.stands(ConnectionState.BUSY)

    def abort(self) -> None:
        if self.channel is not None and not self.lost:
            self.channel.transport.abortConnection()

    def header(self, name: str) -> str | None:
        values = self.requestHeaders.getRawHeaders(name.encode(), [])
        if len(values) > 1:
            raise HttpRefusal(http.BAD_REQUEST, f"the header {name} may be there only once")
        return values[0].decode("latin-1") if values else None

    def headers_named(self, name: str) -> Sequence[str]:
        return header_texts(self.requestHeaders.getRawHeaders(name.encode(), []))

    def peer(self) -> object:
        return self.channel.transport if self.channel is not None else None

    def _source(self) -> Connection | None:
        return self.channel.transport if self.channel is not None and not self.refused else None

    # --- how it goes -------------------------------------------------------------------------------------

    def _start(self, act: Coroutine[Any, Any, None]) -> None:
        def defect(failure: Failure) -> None:
            _log.failure("an answer could not be sent: {path}", failure=failure, path=self.path)
            self.abort()

        Deferred.fromCoroutine(act).addErrback(defect)

    async def _handle(self) -> None:
        self._started = True
        if self._admission is None:
            return
        try:
            answer = await self._admission.handler(self, self._body)
        except (HttpRefusal, BuildToolError) as error:
            answer = _said(error, self.site.routes)
        except Exception:  # noqa: BLE001 - a defect: logged in full, told in one line, never to end the server
            _log.failure("a transfer failed: {method} {path}", method=self.method, path=self.path)
            answer = HttpResponse(http.INTERNAL_SERVER_ERROR, "an internal error, which was logged: try again later")
        if self._complete:
            await self._send(answer)
        else:
            self._body.fail(Unavailable("refused"))
            if answer.content is not None:
                answer.content.close()
            self._refuse(answer)

    def _refuse(self, answer: HttpResponse) -> None:
        """Answer although the body is not complete, and end the connection."""
        if self.lost or self.channel is None or self.channel.lingering:
            return
        self.refused = True
        self.channel.linger()
        self.responseHeaders.setRawHeaders("Connection", ["close"])
        self._head(answer, len(_line(answer)))
        self.write(_line(answer))
        self.finish()

    async def _send(self, answer: HttpResponse) -> None:
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

    def _head(self, answer: HttpResponse, length: int) -> None:
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
        writer = BodyWriter()
        self.registerProducer(writer, True)
        watch = StallWatch(self.site.reactor, self.site.limits.stall, self.abort)
        position, end = content.start, content.end
        pending = _reading(content, position, min(end, position + self.site.part(PIECE)))
        self.busy()
        try:
            while position < end:
                piece = await pending
                if not piece or not await writer.ready():
                    return False
                position += len(piece)
                pending = _reading(content, position, min(end, position + self.site.part(PIECE)))
                self.write(piece)
                watch.progress()
                self.busy()
            return await writer.ready()
        except BuildToolError as error:
            _log.warn("an answer was cut off: {error}", error=str(error))
            return False
        finally:
            watch.stop()
            pending.addErrback(lambda _: None)  # read ahead for a peer that has gone: nobody misses it
            await pending
            if self.channel is not None:
                self.unregisterProducer()


def _reading(content: Content, position: int, end: int) -> Deferred[bytes]:
    async def read() -> bytes:
        return await content.read(position, end - position) if position < end else b""

    return Deferred.fromCoroutine(read())


def _said(error: HttpRefusal | BuildToolError, routes: Routes) -> HttpResponse:
    return error.answer if isinstance(error, HttpRefusal) else routes.refusal(error)


def _line(answer: HttpResponse) -> bytes:
    return f"{answer.text}\n".encode() if answer.text else b""
