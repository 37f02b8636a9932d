"""Artifacts on their way in: resumable uploads, each with a ticket.

Bytes alone decide nothing: an upload becomes an artifact when the metaserver publishes it. A ticket is enough to send
as long as its Attempt lives; what came later would lie about for ever, since nobody would publish or discard it.
"""

from __future__ import annotations

from functools import partial

from attrs import frozen
from twisted.web import http

from buildtool.adapters.http.handling import LIVE, Oversight, TicketReader, length_needed, number
from buildtool.adapters.http.routes import Admission, Handler, HttpRefusal, HttpResponse, IncomingRequest
from buildtool.adapters.storage.artifacts import DIGEST, ArtifactStore
from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import LimitReached, NotFound, StorageUnavailable, TooLong
from buildtool.model.tickets import TicketKind


@frozen
class _Promise:
    """The size, digest and offset that an upload claims; ``fresh`` (If-None-Match: *): only if nothing is there yet."""

    offset: int
    size: int
    digest: str
    fresh: bool


class UploadHandler:
    """The handler of artifact uploads."""

    def __init__(self, tickets: TicketReader, artifacts: ArtifactStore, oversight: Oversight) -> None:
        self._tickets = tickets
        self._artifacts = artifacts
        self._lives = oversight.lives
        self._oversight = oversight

    def admit(self, request: IncomingRequest, build_id: int, epoch: int) -> Admission:
        ticket = self._tickets.check(request, TicketKind.ARTIFACT, build_id, epoch)
        if not self._lives(build_id, epoch):
            raise NotFound(f"attempt {epoch} of build {build_id} has ended: nothing is taken for it any more")
        if request.method == b"HEAD":
            promised = request.header("Upload-Length") is not None
            promise = _promise(request, ticket.max_bytes) if promised else None
            progress = partial(self._progress, build_id=build_id, epoch=epoch, promise=promise)
            return Admission(partial(self._watched, progress, build_id, epoch))
        promise = _promise(request, ticket.max_bytes)
        length_needed(request)
        receive = partial(self._receive, build_id=build_id, epoch=epoch, promise=promise)
        return Admission(partial(self._watched, receive, build_id, epoch), promise.size - promise.offset)

    async def _watched(
        self, handle: Handler, build_id: int, epoch: int, request: IncomingRequest, body: BodyReader
    ) -> HttpResponse:
        """Answer, and have it known where there is no room for the artifact."""
        try:
            self._oversight.check_storing(build_id, epoch)
            return await handle(request, body)
        except (StorageUnavailable, LimitReached) as error:
            await self._oversight.unkept(build_id, epoch, str(error))
            raise

    async def _progress(
        self, _request: IncomingRequest, _body: BodyReader, build_id: int, epoch: int, promise: _Promise | None
    ) -> HttpResponse:
        if promise is None:
            there = await self._artifacts.uploads.uploaded(build_id, epoch)
        else:
            there = await self._there(build_id, epoch, promise)
            await self._artifacts.uploads.room(promise.size - there)
        return HttpResponse(http.OK, "", (*LIVE, ("Upload-Offset", str(there))))

    async def _there(self, build_id: int, epoch: int, promise: _Promise) -> int:
        """Return how much of what is promised need not be sent."""
        if await self._artifacts.present(promise.digest, promise.size):
            return promise.size
        there = await self._artifacts.uploads.uploaded(build_id, epoch)
        return there if there <= promise.size else 0

    async def _receive(
        self, request: IncomingRequest, body: BodyReader, build_id: int, epoch: int, promise: _Promise
    ) -> HttpResponse:
        if promise.offset == promise.size and await self._artifacts.present(promise.digest, promise.size):
            return _arrived(promise, promise.size)
        if promise.fresh and (there := await self._there(build_id, epoch, promise)):
            text = f"{there} of {promise.size} bytes are here already: go on from there"
            raise HttpRefusal(http.PRECONDITION_FAILED, text, (*LIVE, ("Upload-Offset", str(there))))
        upload = await self._artifacts.uploads.begin(build_id, epoch, promise.offset, promise.size, request.abort)
        try:
            async for pieces in body:
                await upload.write(pieces)
            if upload.received.length == promise.size:
                await upload.verify(promise.digest)
            return _arrived(promise, upload.received.length)
        finally:
            self._oversight.stored(build_id, epoch, max(0, upload.received.length - promise.offset))
            await upload.close()


def _arrived(promise: _Promise, length: int) -> HttpResponse:
    code = http.CREATED if length == promise.size else http.ACCEPTED
    text = f"{length} of {promise.size} bytes have arrived"
    return HttpResponse(code, text, (*LIVE, ("Upload-Offset", str(length))))


def _promise(request: IncomingRequest, max_bytes: int) -> _Promise:
    digest = request.header("Upload-Digest") or ""
    if not DIGEST.fullmatch(digest):
        raise HttpRefusal(http.BAD_REQUEST, "the header Upload-Digest must be a SHA-256: 64 lower-case hex digits")
    size = number(request, "Upload-Length", None)
    if size > max_bytes:
        raise TooLong(f"the artifact has {size} bytes, but the ticket allows {max_bytes}")
    offset = number(request, "Upload-Offset", 0)
    if offset > size:
        raise HttpRefusal(http.BAD_REQUEST, f"Upload-Offset {offset} lies behind the Upload-Length {size}")
    return _Promise(offset, size, digest, fresh=request.header("If-None-Match") == "*")
