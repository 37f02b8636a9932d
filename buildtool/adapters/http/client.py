"""HTTP as a client: one try per call, bodies as streams, each refusal as an error of ours, and no endless wait."""

# Much of twisted.web.client carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from buildtool.adapters.http.client_bodies import BodyReceiver, FileBody, PacedBody, SmallBody
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.network.head_limit import HeadLimited
from buildtool.adapters.tls.contexts import OverTls
from buildtool.adapters.tls.words import tls_errors, tls_words
from buildtool.concurrency.backpressure import HIGH_WATER, BodyReader, Connection, StallWatch
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import (
    BadOffset,
    BadTicket,
    BadUpload,
    BuildToolError,
    Damaged,
    DecodeError,
    Expired,
    NotFound,
    StorageUnavailable,
    Superseded,
    TooLong,
    Unavailable,
    WrongDigest,
)
from buildtool.protocol.http_headers import NOT_KEPT
from buildtool.protocol.json_text import TextBounds, parsed

PROBLEM = "application/problem+json"
"""The type of what RFC 9457 calls a problem, as the API answers."""

TEXT_LIMIT = 1000
"""Most bytes of an error's text that are read."""

SLOWEST = 16 * 1024
"""Bytes a second that bodies which are taken whole come with at least, once a first stall is over."""

_LOST = (
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    PotentialDataLoss,
    CancelledError,
)

_ERRORS: Mapping[int, type[BuildToolError]] = {
    HTTPStatus.UNAUTHORIZED: BadTicket,
    HTTPStatus.FORBIDDEN: BadTicket,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Superseded,
    HTTPStatus.GONE: Damaged,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLong,
    HTTPStatus.UNPROCESSABLE_ENTITY: WrongDigest,
    HTTPStatus.INSUFFICIENT_STORAGE: StorageUnavailable,
    HTTPStatus.TOO_MANY_REQUESTS: StorageUnavailable,
}

_ELSEWHERE = (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
"""What is answered, with an Upload-Offset, to an upload or a log that should go on from another place."""

_PROBLEM_BOUNDS = TextBounds(50, 4)
_URL = re.compile(r"https?://[!-~]+")


@frozen
class HttpTimeouts:
    """The time-outs in seconds: to connect, without anything flowing, and until an answer begins once all was sent.

    The last is longer because the metaserver may have to read a large upload again, after a restart.
    """

    connect: float = 15.0
    stall: float = 60.0
    answer: float = 120.0


FarmTls = Callable[[str, int], IOpenSSLClientConnectionCreator | None]
"""Returns how to speak TLS to a host's port that is the farm's own, and None for others, checked as any site is."""


@implementer(IAgentEndpointFactory)
class SiteEndpoints:
    """The endpoints that URLs lead to."""

    def __init__(self, reactor: IReactorTime, timeout: float, farm: FarmTls | None = None) -> None:
        """``timeout`` is in seconds; ``farm`` says how to speak to what is the farm's own."""
        self._reactor = reactor
        self._timeout = timeout
        self._farm = farm

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a site. Raises Unavailable where its certificate could not be checked."""
        host = uri.host.decode("ascii").replace("%25", "%")
        endpoint = machine_at(self._reactor, host, uri.port, self._timeout)
        if uri.scheme != b"https":
            return HeadLimited(endpoint)
        own = self._farm(host, uri.port) if self._farm is not None else None
        if own is not None:
            return HeadLimited(OverTls(own, endpoint))
        try:
            usual = BrowserLikePolicyForHTTPS().creatorForNetloc(uri.host, uri.port)
            return HeadLimited(OverTls(usual, endpoint))
        except (UnicodeError, ValueError) as error:
            raise Unavailable(f"there is no certificate for a name like {host}: give it one without _") from error


class HttpClient:
    """An HTTP client that keeps its connections for a while."""

    def __init__(
        self,
        reactor: IReactorTime,
        patience: HttpTimeouts,
        farm: FarmTls | None = None,
        agent: IAgent | None = None,
        downloading: TokenBucket | None = None,
    ) -> None:
        """``farm`` says how to speak to what is the farm's own; ``agent`` stands for the network where that is said.

        ``downloading`` bounds how many bytes of bodies that are taken piece by piece come each second.
        """
        self._downloading = downloading or TokenBucket(reactor)
        self._reactor = reactor
        self._patience = patience
        self._farm = farm
        self._pool = HTTPConnectionPool(reactor)
        self._pool.cachedConnectionTimeout = 30  # less than the server waits, so that it is seldom the one to close
        endpoints = SiteEndpoints(reactor, patience.connect, farm)
        self._agent = agent or Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._pool.closeCachedConnections()

    @asynccontextmanager
    async def asked(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: SmallBody | FileBody | None = None,
        *,
        wait: float = 0.0,
    ) -> AsyncIterator[HttpAnswer]:
        """Send a request and yield its answer; what is left of it afterwards is cut off.

        ``wait`` is added to the seconds until the answer. Raises Unavailable, and BadUpload for a file that cannot be
        read to its end: another try would not do.
        """
        if not _URL.fullmatch(url):
            raise Unavailable(f"{url[:200]!r} is not the address of a transfer port")
        patience = self._patience
        fields = Headers({name: [value] for name, value in headers.items()})
        pending: Deferred[IResponse] | None = None
        response: HttpAnswer | None = None

        def stalled() -> None:
            if response is not None:
                response.cut()
            elif pending is not None:
                pending.cancel()

        watch = StallWatch(self._reactor, patience.connect + patience.answer + wait, stalled)
        agent: IAgent = self._agent
        own = None
        if isinstance(body, FileBody):
            own = _OwnConnection(self._reactor, patience.connect, self._farm)
            agent = Agent.usingEndpointFactory(self._reactor, own)
            body.flowing = partial(watch.again, patience.stall)
            body.sent = partial(watch.again, patience.answer)
        try:
            pending = agent.request(method.encode(), url.encode("ascii"), fields, cast(IBodyProducer, body))
            answered = await pending
            watch.again(patience.stall)
            response = HttpAnswer(url, answered, watch, patience.stall, self._downloading)
            yield response
        except _LOST as error:
            raise _told(url, error, watch) from error
        finally:
            watch.stop()
            if response is not None:
                response.cut()
            if own is not None:
                own.cut()


def _told(url: str, error: Exception, watch: StallWatch) -> Exception:
    """Return what a request that failed is told as; ``watch`` is what ended it if it took too long."""
    if _is_called_off(error) and not watch.expired:
        return CancelledError()  # by whoever asked: it is no reason to try again
    if isinstance(error, RequestGenerationFailed) and any(one.check(OSError, BadUpload) for one in error.reasons):
        return BadUpload(f"the file cannot be read to its end: {_reason(error)}")
    late = "sends too slowly" if watch.in_all else "did nothing for too long"
    said = f"{site(url)} {late}" if watch.expired else f"{site(url)}: {_reason(error)}"
    return Unavailable(f"{said}: try again")


def _is_called_off(error: Exception) -> bool:
    """Return whether a request failed because somebody cancelled it, as Twisted's client tells it in several ways."""
    reasons: Sequence[Failure] = getattr(error, "reasons", ())
    return isinstance(error, CancelledError) or any(one.check(CancelledError) for one in reasons)


@implementer(IAgentEndpointFactory)
class _OwnConnection:
    """Lets one request have a connection to itself, which is cut when it is over.

    A server that refuses an upload does so before it has taken everything. Twisted's client then waits for the
    rest to be written, which it never is, and would keep the connection for ever.
    """

    def __init__(self, reactor: IReactorTime, patience: float, farm: FarmTls | None) -> None:
        self._sites = SiteEndpoints(reactor, patience, farm)
        self._transports: list[Connection] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return _Noticed(self._sites.endpointForURI(uri), self._transports)

    def cut(self) -> None:
        """End the connection if there is one."""
        for transport in self._transports:
            transport.abortConnection()


@implementer(IStreamClientEndpoint)
class _Noticed:
    """An endpoint whose connections are noted in a list."""

    def __init__(self, endpoint: IStreamClientEndpoint, transports: list[Connection]) -> None:
        self._endpoint = endpoint
        self._transports = transports

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        def note(protocol: IProtocol) -> IProtocol:
            self._transports.append(cast(Protocol, protocol).transport)  # type: ignore[arg-type]
            return protocol

        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(note)


class HttpAnswer:
    """An answer whose body is taken piece by piece, or not at all."""

    def __init__(
        self, url: str, response: IResponse, watch: StallWatch, stall: float, downloading: TokenBucket
    ) -> None:
        self._downloading = downloading
        self._url = url
        self._response = response
        self._watch = watch
        self._stall = stall
        self._receiver: BodyReceiver | None = None
        self.code = int(response.code)
        self.length = response.length if isinstance(response.length, int) else -1

    async def expect(self, *codes: int) -> None:
        """Raise the error that the answer tells, unless its status is one of ``codes``."""
        if self.code in codes:
            return
        text = (await self.body(TEXT_LIMIT, cut=True)).decode("utf-8", "replace")
        if self.header("Content-Type").startswith(PROBLEM):
            text = _detail(text)
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "no reason was given"
        told = f"{site(self._url)} answers {self.code}: {line}"
        if self.code in _ELSEWHERE and self.header("Upload-Offset"):
            raise BadOffset(told, self.number("Upload-Offset"))
        if self.code == HTTPStatus.GONE and self.header(NOT_KEPT):
            raise Expired(line)  # who answered does not matter: it is the same everywhere
        if self.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _ERRORS.get(self.code, Unavailable)(told)
        raise _ERRORS.get(self.code, BadUpload)(told)

    def header(self, name: str) -> str:
        """Return a header, "" when it is absent."""
        values: list[bytes] = self._response.headers.getRawHeaders(name.encode()) or [b""]
        return values[0].decode("latin-1")

    def number(self, name: str) -> int:
        """Return a header that must be a number. Raises Unavailable."""
        text = self.header(name)
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise Unavailable(f"{site(self._url)} does not answer like a transfer port: there is no {name}")
        return int(text)

    def pieces(self) -> PacedBody:
        """Return the body, to be iterated over once; raises ResponseFailed when it breaks off."""
        return PacedBody(self._reader(partial(self._downloading.piece, HIGH_WATER)), self._downloading, self._watch)

    def _reader(self, high: Callable[[], int] = lambda: HIGH_WATER) -> BodyReader:
        receiver = self._receiver = BodyReceiver(self._watch, high)
        self._response.deliverBody(cast(IProtocol, receiver))
        return receiver.reader

    async def body(self, limit: int, *, cut: bool = False) -> bytes:
        """Return the body. Of one longer than ``limit`` bytes return the beginning if ``cut``, else raise BadUpload.

        It has as long as a stall, and what ``limit`` bytes take at the ``SLOWEST``; then it breaks off.
        """
        self._watch.allow_in_all(self._stall + limit / SLOWEST)
        parts: list[bytes] = []
        size = 0
        async for batch in self._reader():
            parts.extend(batch)
            size += sum(map(len, batch))
            if size > limit:
                if not cut:
                    raise BadUpload(f"{site(self._url)} sends more than {limit} bytes")
                break
        return b"".join(parts)[:limit]

    def cut(self) -> None:
        """End the connection unless the body has come to its end, after which it serves the next request."""
        if self._receiver is None:
            self._receiver = BodyReceiver(self._watch, lambda: HIGH_WATER)
            self._receiver.reader.end()
            self._response.deliverBody(cast(IProtocol, self._receiver))
        self._receiver.cut()


def site(url: str) -> str:
    """Return the host and port of a URL, for messages."""
    return urlsplit(url).netloc[:100] or url[:100]


def _detail(text: str) -> str:
    """Return the line of a problem; a text that is none as it is."""
    try:
        said = parsed(text.encode(), _PROBLEM_BOUNDS)
    except DecodeError:
        return text
    found = said.get("detail") if isinstance(said, dict) else None
    return found if isinstance(found, str) else text


def _reason(error: BaseException) -> str:
    """The innermost reason of a failed request, in a few words."""
    reasons = getattr(error, "reasons", None)
    while reasons:
        error = reasons[0].value
        reasons = getattr(error, "reasons", None)
    if isinstance(error, tls_errors()):
        return tls_words(error)
    text = " ".join(str(error).split()).rstrip(".")
    return text[:200] or type(error).__name__
