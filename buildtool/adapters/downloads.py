"""The client's side of the transfer port: sending logs and artifacts, fetching artifacts, following logs.

Implements ``ports.Uploads`` and ``ports.Downloads``. Nothing waits for ever: connecting is bounded, and so is the time
in which nothing at all flows. One call is one try; who calls decides whether and when to try again.
"""

# Much of twisted.web.client carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import (
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from buildtool.adapters.files import storage_unavailable, sync_directory, write_all
from buildtool.adapters.flow import PIECE, Connection, Inlet, Outlet, Source, StallWatch
from buildtool.errors import (
    BadOffset,
    BadTicket,
    BadUpload,
    BuildToolError,
    Damaged,
    NotFound,
    StorageUnavailable,
    Superseded,
    TooLong,
    Unavailable,
    WrongDigest,
)
from buildtool.ports import Executor

if TYPE_CHECKING:
    from hashlib import _Hash

T = TypeVar("T")

TEXT_LIMIT = 1000
"""Most bytes of an error's text that are read."""

LOG_LIMIT = 4 * 1024 * 1024
"""Most bytes of log that are taken in one answer."""

RESUMES = 3
"""How often one ``upload`` follows a server that has another idea of how much it has got."""

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
}


_PART_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_URL = re.compile(r"https?://[!-~]+")


@frozen
class Patience:
    """Seconds: to connect, without anything flowing, and until an answer begins once all was sent.

    The last is longer because the metaserver may have to read a large upload again, after a restart.
    """

    connect: float = 15.0
    stall: float = 60.0
    answer: float = 120.0


class TransferClient:
    """Sends to, and fetches from, transfer ports. ``executor`` runs what touches files."""

    def __init__(self, reactor: IReactorTime, executor: Executor, patience: Patience | None = None) -> None:
        self._reactor = reactor
        self._executor = executor
        self._patience = patience or Patience()
        self._pool = HTTPConnectionPool(reactor)
        self._pool.cachedConnectionTimeout = 30  # less than the server waits, so that it is seldom the one to close
        self._agent = Agent(reactor, connectTimeout=self._patience.connect, pool=self._pool)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._pool.closeCachedConnections()

    # --- ports.Uploads ---------------------------------------------------------------------------------

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes) -> int:
        """As the port says; BadOffset tells by its ``length`` how far the log at the other end has got."""
        body = _Bytes(data)
        headers = {**_ticket(ticket), "Upload-Offset": str(offset)}
        async with self._asked("POST", url, headers, body) as response:
            await response.expect(HTTPStatus.OK)
            await response.body(TEXT_LIMIT)
            return response.number("Log-Length")

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        headers = {**_ticket(ticket), "Upload-Digest": digest, "Upload-Length": str(size)}
        for again in range(RESUMES, -1, -1):
            async with self._asked("HEAD", url, headers) as response:
                await response.expect(HTTPStatus.OK)
                offset = response.number("Upload-Offset")
            if offset > size:
                raise BadUpload(f"{_site(url)} has {offset} bytes of a file of {size}")
            try:
                await self._put(url, {**headers, "Upload-Offset": str(offset)}, path, offset, size)
            except BadOffset:
                if not again:
                    raise
            else:
                return

    async def _put(self, url: str, headers: Mapping[str, str], path: str, offset: int, size: int) -> None:
        try:
            descriptor = await self._executor.run(partial(_open_sized, path, size))
        except OSError as error:
            raise BadUpload(f"{path} cannot be read: {error.strerror}") from error
        body = _FileBody(self._executor, descriptor, offset, size)
        own = _OwnConnection(self._reactor, self._patience.connect)
        agent = Agent.usingEndpointFactory(self._reactor, own)
        try:
            async with self._asked("PUT", url, headers, body, agent=agent) as response:
                await response.expect(HTTPStatus.CREATED)
                await response.body(TEXT_LIMIT)
        finally:
            body.stopProducing()
            own.cut()
            await body.done

    # --- ports.Downloads -------------------------------------------------------------------------------

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        target = Path(path)
        part = await self._disk(target, partial(_Part.begin, target, size, digest))
        try:
            progress(part.length)
            if part.length < size or not size:
                await self._receive(url, target, part, size, progress)
            arrived = part.hasher.hexdigest()
            if arrived != digest:
                await self._disk(target, part.remove)
                raise WrongDigest(
                    f"what {_site(url)} sent has SHA-256 {arrived}, not {digest}: it was thrown away, fetch it again"
                )
            await self._disk(target, partial(part.publish, target))
        finally:
            await self._disk(target, part.close)

    async def _receive(
        self, url: str, target: Path, part: _Part, size: int, progress: Callable[[int], None]
    ) -> None:
        headers = {"Range": f"bytes={part.length}-", "If-Range": f'"{part.digest}"'} if part.length else {}
        async with self._asked("GET", url, headers) as response:
            await response.expect(HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
            if response.code == HTTPStatus.OK and part.length:
                await self._disk(target, part.restart)
            if response.length != size - part.length:
                raise BadUpload(f"{_site(url)} sends {response.length} bytes where {size - part.length} were promised")
            async for pieces in response.pieces():
                if part.length + sum(map(len, pieces)) > size:
                    raise BadUpload(f"{_site(url)} sends more than the {size} bytes that were promised")
                await self._disk(target, partial(part.write, pieces))
                progress(part.length)
        if part.length != size:
            raise Unavailable(f"{_site(url)} sent {part.length} of {size} bytes: what came is kept, try again")

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        """As the port says. Raises Unavailable, NotFound, BadOffset."""
        query = f"{url}?offset={offset}&wait={max(int(wait), 0)}"
        async with self._asked("GET", query, {}, wait=wait) as response:
            await response.expect(HTTPStatus.OK)
            data = await response.body(LOG_LIMIT)
            return data, response.header("Log-Finished") == "yes"

    # --- how it goes -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def _asked(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: _Bytes | _FileBody | None = None,
        *,
        wait: float = 0.0,
        agent: Agent | None = None,
    ) -> AsyncIterator[_Response]:
        """Send a request and give its answer; whatever is left of it afterwards is cut off."""
        if not _URL.fullmatch(url):
            raise Unavailable(f"{url[:200]!r} is not the address of a transfer port")
        patience = self._patience
        fields = Headers({name: [value] for name, value in headers.items()})
        pending: Deferred[IResponse] | None = None
        response: _Response | None = None

        def stalled() -> None:
            if response is not None:
                response.cut()
            elif pending is not None:
                pending.cancel()

        watch = StallWatch(self._reactor, patience.connect + patience.answer + wait, stalled)
        if isinstance(body, _FileBody):
            body.flowing = partial(watch.again, patience.stall)
            body.sent = partial(watch.again, patience.answer)
        try:
            asking = agent or self._agent
            pending = asking.request(method.encode(), url.encode("ascii"), fields, cast(IBodyProducer, body))
            answered = await pending
            watch.again(patience.stall)
            response = _Response(url, answered, watch)
            yield response
        except _LOST as error:
            said = f"{_site(url)} did nothing for too long" if watch.expired else f"{_site(url)}: {_reason(error)}"
            raise Unavailable(f"{said}: try again") from error
        finally:
            watch.stop()
            if response is not None:
                response.cut()

    async def _disk(self, target: Path, function: Callable[[], T]) -> T:
        try:
            return await self._executor.run(function)
        except OSError as error:
            raise storage_unavailable(f"write {target}", error) from error


@implementer(IAgentEndpointFactory)
class _OwnConnection:
    """Lets one request have a connection to itself, which is cut when it is over.

    A server that refuses an upload does so before it has taken everything. Twisted's client then waits for the
    rest to be written, which it never is, and would keep the connection for ever.
    """

    def __init__(self, reactor: IReactorTime, patience: float) -> None:
        self._reactor = reactor
        self._patience = patience
        self.transports: list[Connection] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, host, uri.port, timeout=self._patience)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(BrowserLikePolicyForHTTPS().creatorForNetloc(uri.host, uri.port), endpoint)
        return _Noticed(endpoint, self.transports)

    def cut(self) -> None:
        """End the connection if there is one."""
        for transport in self.transports:
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


class _Response:
    """An answer whose body is taken piece by piece, or not at all."""

    def __init__(self, url: str, response: IResponse, watch: StallWatch) -> None:
        self._url = url
        self._response = response
        self._watch = watch
        self._receiver: _Receiver | None = None
        self.code = int(response.code)
        self.length = response.length if isinstance(response.length, int) else -1

    async def expect(self, *codes: int) -> None:
        """Raise the error that the answer tells, unless its status is one of ``codes``."""
        if self.code in codes:
            return
        text = (await self.body(TEXT_LIMIT, cut=True)).decode("utf-8", "replace")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "no reason was given"
        told = f"{_site(self._url)} answers {self.code}: {line}"
        if self.code == HTTPStatus.CONFLICT and self.header("Upload-Offset"):
            raise BadOffset(told, self.number("Upload-Offset"))
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
            raise Unavailable(f"{_site(self._url)} does not answer like a transfer port: there is no {name}")
        return int(text)

    def pieces(self) -> Inlet:
        """Return the body, to be iterated over once; raises ResponseFailed when it breaks off."""
        receiver = self._receiver = _Receiver(self._watch)
        self._response.deliverBody(cast(IProtocol, receiver))
        return receiver.inlet

    async def body(self, limit: int, *, cut: bool = False) -> bytes:
        """Return the body; of one longer than ``limit`` bytes the beginning if ``cut``, else BadUpload is raised."""
        parts: list[bytes] = []
        size = 0
        async for batch in self.pieces():
            parts.extend(batch)
            size += sum(map(len, batch))
            if size > limit:
                if not cut:
                    raise BadUpload(f"{_site(self._url)} sends more than {limit} bytes")
                break
        return b"".join(parts)[:limit]

    def cut(self) -> None:
        """End the connection unless the body has come to its end, after which it serves the next request."""
        if self._receiver is None:
            self._receiver = _Receiver(self._watch)
            self._receiver.inlet.end()
            self._response.deliverBody(cast(IProtocol, self._receiver))
        self._receiver.cut()


class _Receiver(Protocol):
    """Feeds a response's body to an Inlet."""

    def __init__(self, watch: StallWatch) -> None:
        self._watch = watch
        self._over = False
        self.inlet = Inlet(_Paused(self))

    def dataReceived(self, data: bytes) -> None:
        self._watch.progress()
        self.inlet.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        if reason.check(ResponseDone):
            self.inlet.end()
        else:
            self.inlet.fail(cast(Exception, reason.value))

    def cut(self) -> None:
        if not self._over and self.transport is not None:
            self.transport.loseConnection()


class _Paused:
    """The response's transport as a source, as long as it has one."""

    def __init__(self, receiver: _Receiver) -> None:
        self._receiver = receiver

    def pauseProducing(self) -> None:
        if self._receiver.transport is not None:
            cast(Source, self._receiver.transport).pauseProducing()

    def resumeProducing(self) -> None:
        if self._receiver.transport is not None:
            cast(Source, self._receiver.transport).resumeProducing()


@implementer(IBodyProducer)
class _Bytes:
    """A small body."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """It has all been written."""

    def resumeProducing(self) -> None:
        """It has all been written."""

    def stopProducing(self) -> None:
        """It has all been written."""


@implementer(IBodyProducer)
class _FileBody:
    """A file from ``offset`` to ``size``, read in a thread piece by piece as the connection takes it.

    ``done`` fires when the file is closed, which is after ``stopProducing`` or at the end.
    """

    def __init__(self, executor: Executor, descriptor: int, offset: int, size: int) -> None:
        self.length = size - offset
        self.flowing: Callable[[], object] = lambda: None
        self.sent: Callable[[], object] = lambda: None
        self.done: Deferred[None] = Deferred()
        self._executor = executor
        self._descriptor = descriptor
        self._position = offset
        self._end = size
        self._outlet = Outlet()
        self._written: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        written = self._written = Deferred(lambda _: self.stopProducing())
        Deferred.fromCoroutine(self._copy(consumer)).addErrback(self._failed).addBoth(self._close)
        return written

    def pauseProducing(self) -> None:
        self._outlet.pauseProducing()

    def resumeProducing(self) -> None:
        self._outlet.resumeProducing()

    def stopProducing(self) -> None:
        self._outlet.stopProducing()
        if self._written is None:
            self._written = Deferred()
            self._close(None)

    async def _copy(self, consumer: IConsumer) -> None:
        while self._position < self._end:
            size = min(PIECE, self._end - self._position)
            piece = await self._executor.run(partial(os.pread, self._descriptor, size, self._position))
            if not piece:
                raise BadUpload("the file became shorter while it was sent")
            if not await self._outlet.ready():
                return
            self._position += len(piece)
            self.flowing()
            consumer.write(piece)
        if await self._outlet.ready():
            self.sent()
            self._tell(None)

    def _failed(self, failure: Failure) -> None:
        self._tell(failure)

    def _tell(self, result: Failure | None) -> None:
        if self._written is not None and not self._written.called:
            self._written.callback(result)

    def _close(self, _result: object) -> None:
        os.close(self._descriptor)
        self.done.callback(None)


class _Part:
    """What has come of a file, beside the place where it will be. All methods run in threads."""

    def __init__(self, path: Path, descriptor: int, digest: str) -> None:
        self._path = path
        self._descriptor = descriptor
        self.digest = digest
        self.hasher: _Hash = hashlib.sha256()
        self.length = 0
        self._kept = True
        self._published = False

    @classmethod
    def begin(cls, target: Path, size: int, digest: str) -> _Part:
        """Open what an earlier try has left, or a new file. A second program that fetches the same has its own."""
        common = target.with_name(f".{target.name[:200]}.{digest[:16]}.part")
        descriptor = _locked(common)
        part = cls(common, descriptor, digest) if descriptor is not None else cls._private(target, digest)
        try:
            part.resume(size)
        except BaseException:
            part.close()
            raise
        return part

    @classmethod
    def _private(cls, target: Path, digest: str) -> _Part:
        path = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.part")
        part = cls(path, os.open(path, _PART_FLAGS | os.O_EXCL, 0o666), digest)
        part._kept = False
        return part

    def resume(self, size: int) -> None:
        """Take up what is there."""
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, 0)
        while piece := os.read(self._descriptor, PIECE):
            self.hasher.update(piece)
            self.length += len(piece)

    def restart(self) -> None:
        """Begin at the beginning."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.hasher, self.length = hashlib.sha256(), 0

    def write(self, pieces: list[bytes]) -> None:
        """Append."""
        for piece in pieces:
            write_all(self._descriptor, piece)
            self.hasher.update(piece)
            self.length += len(piece)

    def publish(self, target: Path) -> None:
        """Give it its name, durably."""
        os.fsync(self._descriptor)
        self._path.rename(target)
        self._published = True
        sync_directory(target.parent)

    def remove(self) -> None:
        """Throw it away."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it; what came stays for the next try, unless no next try would look for it."""
        if not self._published and (not self.length or not self._kept):
            self.remove()
        os.close(self._descriptor)


def _locked(path: Path) -> int | None:
    """Open a file, made if need be, for this program alone; None when another one has it."""
    while True:
        descriptor = os.open(path, _PART_FLAGS, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat(follow_symlinks=False).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # the other program has just given it its final name, so this one is not ours to touch
        os.close(descriptor)


def _open_sized(path: str, size: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    there = os.fstat(descriptor).st_size
    if there != size:
        os.close(descriptor)
        raise BadUpload(f"{path} has {there} bytes, not {size}: it has changed since it was packed")
    return descriptor


def _ticket(text: str) -> dict[str, str]:
    return {"Authorization": f"Ticket {text}"}


def _site(url: str) -> str:
    """The host and port of a URL, for messages."""
    return urlsplit(url).netloc[:100] or url[:100]


def _reason(error: BaseException) -> str:
    """The innermost reason of a failed request, in a few words."""
    reasons = getattr(error, "reasons", None)
    while reasons:
        error = reasons[0].value
        reasons = getattr(error, "reasons", None)
    text = " ".join(str(error).split()).rstrip(".")
    return text[:200] or type(error).__name__
