"""The transfer port: artifacts and logs over HTTP.

===========  ============================  =====================================================================
PUT, HEAD    /uploads/<build>/<epoch>      one artifact, with a ticket; resumable (Upload-Offset, -Length, -Digest);
                                           with If-None-Match: * only when nothing of it is there
POST         /logs/<build>/<epoch>         bytes of a log at Upload-Offset, with a ticket; sending again is harmless
GET, HEAD    /logs/<build>/<epoch>         the log; Range, or ``?offset=N&wait=S`` to follow it
GET, HEAD    /artifacts/<digest>/<name>    an artifact that was compared with its digest; Range, immutable
GET, HEAD    /sources/<build>/<epoch>      with a ticket: the commit of a build as a git bundle, for build servers whose
                                           origin does not give it out; Range. 202 while it is being made
===========  ============================  =====================================================================

Bytes alone decide nothing: an upload becomes an artifact when the metaserver publishes it. A ticket is enough to send
as long as its Attempt lives; what came later would lie about for ever, since nobody would publish or discard it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qs, unquote_to_bytes

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as WaitedLongEnough
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web import http

from buildtool.adapters.disk import RealDisk, storage_unavailable
from buildtool.adapters.files import DIGEST, ArtifactStore, Stored
from buildtool.adapters.flow import Inlet
from buildtool.adapters.logs import LogStore
from buildtool.adapters.streaming import (
    Admission,
    Answer,
    Handler,
    Headers,
    Limits,
    Refusal,
    StreamingRequest,
    StreamingSite,
)
from buildtool.adapters.vcs_bundles import BeingMade, Bundle
from buildtool.domain.incarnations import Keys
from buildtool.domain.tickets import Ticket, TicketKind, read
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
    WrongDigest,
)
from buildtool.ports import Clock, Executor

LOG_WAIT = 30.0
"""The longest that a follower of a log waits for an answer, in seconds."""

LOG_ANSWER = 1024 * 1024
"""Most bytes of log in one answer to a follower; who asks for the log without ``offset`` gets all of it."""

_UPLOADS = re.compile(r"/uploads/([1-9][0-9]{0,17})/([0-9]{1,9})")
_LOGS = re.compile(r"/logs/([1-9][0-9]{0,17})/([0-9]{1,9})")
_SOURCES = re.compile(r"/sources/([1-9][0-9]{0,17})/([0-9]{1,9})")
_ARTIFACTS = re.compile(r"/artifacts/([0-9a-f]{64})/([^/]*)")
_NUMBER = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,199}")

_STATUS: tuple[tuple[type[BuildToolError], int], ...] = (
    (BadTicket, http.UNAUTHORIZED),
    (BadOffset, http.CONFLICT),
    (Superseded, http.CONFLICT),
    (TooLong, http.REQUEST_ENTITY_TOO_LARGE),
    (WrongDigest, 422),
    (BadUpload, http.CONFLICT),
    (StorageUnavailable, http.INSUFFICIENT_STORAGE_SPACE),
    (NotFound, http.NOT_FOUND),
    (Damaged, http.GONE),
)

_COMMON: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
)
_LIVE: Headers = (("Cache-Control", "no-store"),)


async def _no_bundle(build_id: int) -> Bundle:
    raise NotFound(f"there are no sources of build {build_id} here")


async def _unheard(_build_id: int, _epoch: int, _reason: str) -> None:
    """Nobody is to be told that an artifact cannot be kept."""


@frozen
class Oversight:
    """What the transfer port asks and tells the broker.

    ``lives`` says whether an Attempt, by build and epoch, has not ended. ``corrupt`` is called with the digest of an
    artifact whose bytes turned out to differ from it, so that it is withdrawn. ``bundle`` gives the commit of a Build.
    ``unkept`` hears that there is no room for the artifact of an Attempt, and why.
    """

    lives: Callable[[int, int], bool]
    corrupt: Callable[[str], object]
    bundle: Callable[[int], Awaitable[Bundle]] = _no_bundle
    unkept: Callable[[int, int, str], Awaitable[object]] = _unheard


class TransferSite(StreamingSite):
    """The factory to listen with on the transfer port. ``keys`` sign tickets."""

    def __init__(
        self,
        reactor: IReactorTime,
        keys: Keys,
        clock: Clock,
        artifacts: ArtifactStore,
        logs: LogStore,
        broker: Oversight,
        limits: Limits | None = None,
    ) -> None:
        tickets = _Tickets(keys, clock)
        uploads = _Uploads(tickets, artifacts, broker)
        downloads = _Downloads(artifacts, broker.corrupt)
        sources = _Sources(tickets, broker, artifacts.executor)
        routes = _Routes(uploads, _Logs(tickets, logs, reactor), downloads, sources, clock)
        super().__init__(reactor, routes, limits or Limits())


class _Routes:
    """Which handler a path and method have."""

    def __init__(self, uploads: _Uploads, logs: _Logs, downloads: _Downloads, sources: _Sources, clock: Clock) -> None:
        self._uploads = uploads
        self._logs = logs
        self._downloads = downloads
        self._sources = sources
        self._clock = clock

    def admit(self, request: StreamingRequest) -> Admission:
        path = request.path.decode("latin-1")
        if found := _UPLOADS.fullmatch(path):
            _allow(request, "PUT", "HEAD")
            return self._uploads.admit(request, int(found[1]), int(found[2]))
        if found := _LOGS.fullmatch(path):
            _allow(request, "GET", "HEAD", "POST")
            return self._logs.admit(request, int(found[1]), int(found[2]))
        if found := _ARTIFACTS.fullmatch(path):
            _allow(request, "GET", "HEAD")
            return Admission(partial(self._downloads.send, digest=found[1], name=found[2]))
        if found := _SOURCES.fullmatch(path):
            _allow(request, "GET", "HEAD")
            return self._sources.admit(request, int(found[1]), int(found[2]))
        raise Refusal(http.NOT_FOUND, "there is nothing at this address")

    def refusal(self, error: BuildToolError) -> Answer:
        code = next((code for kind, code in _STATUS if isinstance(error, kind)), http.INTERNAL_SERVER_ERROR)
        headers = _LIVE
        if isinstance(error, BadTicket):
            headers += (("WWW-Authenticate", "Ticket"),)
        if isinstance(error, BadOffset):
            headers += (("Upload-Offset", str(error.length)),)
        return Answer(code, str(error), headers)

    def headers(self) -> Headers:
        return (*_COMMON, ("Date", http.datetimeToString(self._clock.wall()).decode()))


class _Tickets:
    """Reads the ticket of a request and compares it with what the request is about."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def check(self, request: StreamingRequest, kind: TicketKind, build_id: int, epoch: int) -> Ticket:
        scheme, _, text = (request.header("Authorization") or "").partition(" ")
        if scheme.lower() != "ticket" or not text:
            raise BadTicket("a ticket is needed here: send the header Authorization: Ticket <text>")
        ticket = read(text.strip(), self._keys.build(build_id), self._clock.wall())
        if (ticket.kind, ticket.build_id, ticket.epoch) != (kind, build_id, epoch):
            raise Refusal(
                http.FORBIDDEN,
                f"that ticket is for the {ticket.kind.value} of build {ticket.build_id}, attempt {ticket.epoch}",
                _LIVE,
            )
        return ticket


@frozen
class _Promise:
    """What an upload says of itself: where it goes on, the whole size, and the digest of the whole.

    ``fresh`` (If-None-Match: *) says that it begins at the beginning only if nothing of it is there.
    """

    offset: int
    size: int
    digest: str
    fresh: bool


class _Uploads:
    """Artifacts on their way in."""

    def __init__(self, tickets: _Tickets, artifacts: ArtifactStore, broker: Oversight) -> None:
        self._tickets = tickets
        self._artifacts = artifacts
        self._lives = broker.lives
        self._unkept = broker.unkept

    def admit(self, request: StreamingRequest, build_id: int, epoch: int) -> Admission:
        ticket = self._tickets.check(request, TicketKind.ARTIFACT, build_id, epoch)
        if not self._lives(build_id, epoch):
            raise NotFound(f"attempt {epoch} of build {build_id} has ended: nothing is taken for it any more")
        if request.method == b"HEAD":
            promised = request.header("Upload-Length") is not None
            promise = _promise(request, ticket.max_bytes) if promised else None
            progress = partial(self._progress, build_id=build_id, epoch=epoch, promise=promise)
            return Admission(partial(self._watched, progress, build_id, epoch))
        promise = _promise(request, ticket.max_bytes)
        _length_needed(request)
        receive = partial(self._receive, build_id=build_id, epoch=epoch, promise=promise)
        return Admission(partial(self._watched, receive, build_id, epoch), promise.size - promise.offset)

    async def _watched(
        self, handle: Handler, build_id: int, epoch: int, request: StreamingRequest, body: Inlet
    ) -> Answer:
        """Answer, and have it known where there is no room for the artifact."""
        try:
            return await handle(request, body)
        except StorageUnavailable as error:
            await self._unkept(build_id, epoch, str(error))
            raise

    async def _progress(
        self, _request: StreamingRequest, _body: Inlet, build_id: int, epoch: int, promise: _Promise | None
    ) -> Answer:
        if promise is None:
            there = await self._artifacts.uploaded(build_id, epoch)
        else:
            there = await self._there(build_id, epoch, promise)
            await self._artifacts.room(promise.size - there)
        return Answer(http.OK, "", (*_LIVE, ("Upload-Offset", str(there))))

    async def _there(self, build_id: int, epoch: int, promise: _Promise) -> int:
        """Return how much of what is promised need not be sent."""
        if self._artifacts.present(promise.digest, promise.size):
            return promise.size
        there = await self._artifacts.uploaded(build_id, epoch)
        return there if there <= promise.size else 0

    async def _receive(
        self, request: StreamingRequest, body: Inlet, build_id: int, epoch: int, promise: _Promise
    ) -> Answer:
        if promise.offset == promise.size and self._artifacts.present(promise.digest, promise.size):
            return _arrived(promise, promise.size)
        if promise.fresh and (there := await self._there(build_id, epoch, promise)):
            text = f"{there} of {promise.size} bytes are here already: go on from there"
            raise Refusal(http.PRECONDITION_FAILED, text, (*_LIVE, ("Upload-Offset", str(there))))
        upload = await self._artifacts.begin(build_id, epoch, promise.offset, promise.size, request.abort)
        try:
            async for pieces in body:
                await upload.write(pieces)
            if upload.received.length == promise.size:
                await upload.verify(promise.digest)
            return _arrived(promise, upload.received.length)
        finally:
            await upload.close()


def _arrived(promise: _Promise, length: int) -> Answer:
    code = http.CREATED if length == promise.size else http.ACCEPTED
    text = f"{length} of {promise.size} bytes have arrived"
    return Answer(code, text, (*_LIVE, ("Upload-Offset", str(length))))


def _promise(request: StreamingRequest, max_bytes: int) -> _Promise:
    digest = request.header("Upload-Digest") or ""
    if not DIGEST.fullmatch(digest):
        raise Refusal(http.BAD_REQUEST, "the header Upload-Digest must be a SHA-256: 64 lower-case hex digits")
    size = _number(request, "Upload-Length", None)
    if size > max_bytes:
        raise TooLong(f"the artifact has {size} bytes, but the ticket allows {max_bytes}")
    offset = _number(request, "Upload-Offset", 0)
    if offset > size:
        raise Refusal(http.BAD_REQUEST, f"Upload-Offset {offset} lies behind the Upload-Length {size}")
    return _Promise(offset, size, digest, fresh=request.header("If-None-Match") == "*")


class _Logs:
    """Logs: in from build servers, out to whoever follows."""

    def __init__(self, tickets: _Tickets, logs: LogStore, reactor: IReactorTime) -> None:
        self._tickets = tickets
        self._logs = logs
        self._reactor = reactor

    def admit(self, request: StreamingRequest, build_id: int, epoch: int) -> Admission:
        if request.method == b"POST":
            ticket = self._tickets.check(request, TicketKind.LOG, build_id, epoch)
            offset = _number(request, "Upload-Offset", None)
            _length_needed(request)
            if offset > ticket.max_bytes:
                raise TooLong(f"the log may have {ticket.max_bytes} bytes: nothing can be put at byte {offset}")
            append = partial(self._append, build_id=build_id, epoch=epoch, offset=offset, limit=ticket.max_bytes)
            return Admission(append, ticket.max_bytes - offset)
        asked = _query(request)
        if "offset" not in asked and "wait" not in asked:
            return Admission(partial(self._whole, build_id=build_id, epoch=epoch))
        offset, wait = asked.get("offset", 0), min(float(asked.get("wait", 0)), LOG_WAIT)
        return Admission(partial(self._follow, build_id=build_id, epoch=epoch, offset=offset, wait=wait))

    async def _append(
        self, _request: StreamingRequest, body: Inlet, build_id: int, epoch: int, offset: int, limit: int
    ) -> Answer:
        length = None
        async for pieces in body:
            data = b"".join(pieces)
            length = await self._logs.append(build_id, epoch, offset, data, limit)
            offset += len(data)
        if length is None:
            length = await self._logs.append(build_id, epoch, offset, b"", limit)
        return Answer(http.OK, f"the log has {length} bytes", (*_LIVE, ("Log-Length", str(length))))

    async def _whole(self, request: StreamingRequest, _body: Inlet, build_id: int, epoch: int) -> Answer:
        state = await self._logs.state(build_id, epoch)
        code, start, end, headers = _ranged(request, state.length, "")
        if code == http.REQUESTED_RANGE_NOT_SATISFIABLE:
            return Answer(code, f"the log has {state.length} bytes", (*_LIVE, *headers))
        content = _LogPart(partial(self._logs.read, build_id, epoch), start, end)
        return Answer(code, "", (*_LIVE, *headers, *_log_headers(state.length, finished=state.finished)), content)

    async def _follow(
        self, request: StreamingRequest, _body: Inlet, build_id: int, epoch: int, offset: int, wait: float
    ) -> Answer:
        deadline = self._reactor.seconds() + wait
        if wait:
            request.waits_for_news()
        while True:
            changed = self._logs.changed(build_id, epoch)
            request.when_lost(changed.cancel)
            left = deadline - self._reactor.seconds()
            try:
                # Whoever waits says that the log is expected, though its first byte has not come.
                state = await self._logs.state(build_id, epoch)
                length, finished = state.length, state.finished
            except NotFound:
                if not wait:
                    changed.addErrback(_gave_up)
                    changed.cancel()
                    raise
                length, finished = 0, False
            if offset != length or finished or left <= 0 or request.lost:
                changed.addErrback(_gave_up)
                changed.cancel()
                break
            changed.addTimeout(left, self._reactor)
            changed.addErrback(_gave_up)
            await changed
        if offset > length:
            raise BadOffset(f"the log has {length} bytes, so there is nothing at byte {offset}", length)
        end = min(length, offset + LOG_ANSWER)
        content = _LogPart(partial(self._logs.read, build_id, epoch), offset, end)
        return Answer(http.OK, "", (*_LIVE, *_log_headers(length, finished=finished)), content)


def _gave_up(failure: Failure) -> None:
    failure.trap(CancelledError, WaitedLongEnough)


@frozen
class _LogPart:
    """A piece of a log as the content of an answer. It stays the same while the log grows, or is compressed."""

    source: Callable[[int, int], Awaitable[bytes]]
    start: int
    end: int

    async def read(self, start: int, size: int) -> bytes:
        return await self.source(start, size)

    def close(self) -> None:
        """Nothing is held open."""


def _log_headers(length: int, *, finished: bool) -> Headers:
    return (("Log-Length", str(length)), ("Log-Finished", "yes" if finished else "no"))


class _Downloads:
    """Artifacts on their way out."""

    def __init__(self, artifacts: ArtifactStore, corrupt: Callable[[str], object]) -> None:
        self._artifacts = artifacts
        self._corrupt = corrupt

    async def send(self, request: StreamingRequest, _body: Inlet, digest: str, name: str) -> Answer:
        tag = f'"{digest}"'
        try:
            stored = await self._artifacts.open(digest)
        except Damaged:
            self._corrupt(digest)
            raise
        headers: Headers = (
            ("Content-Type", "application/zip"),
            ("ETag", tag),
            ("Cache-Control", "public, max-age=31536000, immutable"),
            ("Content-Disposition", f'attachment; filename="{_safe_name(name, digest)}"'),
        )
        if _names_tag(request.header("If-None-Match"), tag):
            stored.close()
            return Answer(http.NOT_MODIFIED, "", headers)
        try:
            code, start, end, ranged = _ranged(request, stored.size, tag)
        except Refusal:
            stored.close()
            raise
        if code == http.REQUESTED_RANGE_NOT_SATISFIABLE:
            stored.close()
            return Answer(code, f"the artifact has {stored.size} bytes", (*_LIVE, *ranged))
        return Answer(code, "", (*headers, *ranged), _StoredPart(stored, start, end))


class _Sources:
    """Commits on their way to build servers."""

    def __init__(self, tickets: _Tickets, broker: Oversight, executor: Executor) -> None:
        self._tickets = tickets
        self._broker = broker
        self._executor = executor
        self._disk = RealDisk()

    def admit(self, request: StreamingRequest, build_id: int, epoch: int) -> Admission:
        ticket = self._tickets.check(request, TicketKind.SOURCE, build_id, epoch)
        if not self._broker.lives(build_id, epoch):
            raise NotFound(f"attempt {epoch} of build {build_id} has ended")
        return Admission(partial(self._send, build_id=build_id, most=ticket.max_bytes))

    async def _send(self, request: StreamingRequest, _body: Inlet, build_id: int, most: int) -> Answer:
        try:
            bundle = await self._broker.bundle(build_id)
        except BeingMade as error:
            return Answer(http.ACCEPTED, str(error), (*_LIVE, ("Retry-After", "2")))
        if bundle.size > most:
            raise TooLong(f"the sources have {bundle.size} bytes, but the ticket allows {most}")
        tag = f'"{bundle.digest}"'
        code, start, end, ranged = _ranged(request, bundle.size, tag)
        headers = (*_LIVE, ("ETag", tag), ("Source-Length", str(bundle.size)), *ranged)
        if code == http.REQUESTED_RANGE_NOT_SATISFIABLE:
            return Answer(code, f"the sources have {bundle.size} bytes", headers)
        try:
            file = await self._executor.run(lambda: os.open(bundle.path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise storage_unavailable("read packed sources", error) from error
        stored = Stored(self._executor, self._disk, file, bundle.size)
        return Answer(
            code, "", (("Content-Type", "application/x-git-bundle"), *headers), _StoredPart(stored, start, end)
        )


class _StoredPart:
    """A piece of an artifact as the content of an answer."""

    def __init__(self, stored: Stored, start: int, end: int) -> None:
        self._stored = stored
        self.start = start
        self.end = end

    async def read(self, start: int, size: int) -> bytes:
        return await self._stored.read(start, size)

    def close(self) -> None:
        self._stored.close()


def _safe_name(name: str, digest: str) -> str:
    """The name in the URL is only for people; what is not plainly a file's name is replaced."""
    plain = unquote_to_bytes(name).decode("latin-1")
    return plain if _NAME.fullmatch(plain) else f"{digest[:16]}.zip"


def _names_tag(header: str | None, tag: str) -> bool:
    names = [name.strip().removeprefix("W/") for name in (header or "").split(",")]
    return tag in names or names == ["*"]


def _ranged(request: StreamingRequest, size: int, tag: str) -> tuple[int, int, int, Headers]:
    """Return status, first byte, byte after the last, headers. Several ranges are ignored (RFC 9110, 14.2)."""
    everything: Headers = (("Accept-Ranges", "bytes"),)
    found = _RANGE.fullmatch(request.header("Range") or "")
    unchanged = request.header("If-Range") in {None, tag}
    if request.method != b"GET" or found is None or not unchanged or not (found[1] or found[2]):
        return http.OK, 0, size, everything
    if found[1]:
        start, end = int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)
        if found[2] and int(found[2]) < int(found[1]):
            return http.OK, 0, size, everything
    else:
        start, end = max(size - int(found[2]), 0), size
    if start >= end:
        return http.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0, (("Content-Range", f"bytes */{size}"),)
    return http.PARTIAL_CONTENT, start, end, (*everything, ("Content-Range", f"bytes {start}-{end - 1}/{size}"))


def _allow(request: StreamingRequest, *methods: str) -> None:
    if request.method.decode("latin-1") not in methods:
        allowed = ", ".join(methods)
        raise Refusal(http.NOT_ALLOWED, f"only {allowed} can be done here", (("Allow", allowed),))


def _length_needed(request: StreamingRequest) -> None:
    if request.header("Content-Length") is None and request.header("Transfer-Encoding") is None:
        raise Refusal(http.LENGTH_REQUIRED, "the header Content-Length is needed here")


def _number(request: StreamingRequest, name: str, default: int | None) -> int:
    text = request.header(name)
    if text is None and default is not None:
        return default
    if text is None or not _NUMBER.fullmatch(text):
        raise Refusal(http.BAD_REQUEST, f"the header {name} must be a number of bytes")
    return int(text)


def _query(request: StreamingRequest) -> dict[str, int]:
    try:
        given = parse_qs(request.query, keep_blank_values=True, max_num_fields=10)
    except ValueError:
        given = {"query": []}
    for name, values in given.items():
        if name not in {"offset", "wait"} or len(values) != 1 or not _NUMBER.fullmatch(values[0]):
            raise Refusal(http.BAD_REQUEST, "a log takes ?offset=<bytes>&wait=<seconds>, both whole numbers")
    return {name: int(values[0]) for name, values in given.items()}
