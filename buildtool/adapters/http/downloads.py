"""What goes out of files, by ranges: artifacts, and commits for build servers whose origin gives them out no more.

An artifact was compared with its digest, and is not sent again to who has it.
"""

from __future__ import annotations

import os
import re
from functools import partial
from urllib.parse import parse_qs, unquote_to_bytes

from twisted.web import http
from werkzeug.http import quote_etag

from buildtool.adapters.http.handling import LIVE, Oversight, TicketReader, asked_part
from buildtool.adapters.http.routes import Admission, Headers, HttpRefusal, HttpResponse, IncomingRequest
from buildtool.adapters.storage.artifacts import ArtifactStore, StoredArtifact
from buildtool.adapters.storage.filesystem import RealDisk, on_disk
from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import Damaged, DecodeError, Expired, NotFound, TooLong, UsageError
from buildtool.model.tickets import TicketKind
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel, read_level
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import BeingMade
from buildtool.protocol.http_headers import ByteSpan, digest_header, has_copy
from buildtool.protocol.source_parts import SourcePart, read_part

_MOST_NAMES = 100
_NO_SANDBOX = SandboxLevel.NONE.value
_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,199}")


class DownloadHandler:
    """The handler of artifact downloads."""

    def __init__(self, artifacts: ArtifactStore, oversight: Oversight) -> None:
        self._artifacts = artifacts
        self._corrupt = oversight.corrupt
        self._reads = oversight.reads

    async def send(self, request: IncomingRequest, _body: BodyReader, digest: str, name: str) -> HttpResponse:
        if not await self._reads.artifact(request, digest):
            await self._check_kept(digest)
            raise NotFound("there is no artifact of that digest")
        if unmet := await self._reads.unmet(request, digest, _policy(request.query)):
            raise NotFound(unmet)
        try:
            stored = await self._artifacts.open(digest)
        except Damaged:
            self._corrupt(digest)
            raise
        except NotFound:
            await self._check_kept(digest)
            raise
        self._reads.given_out(digest)
        kept = "public" if self._reads.public() else "private"
        headers: Headers = (
            ("Content-Type", "application/zip"),
            ("ETag", quote_etag(digest)),
            ("Repr-Digest", digest_header(digest)),
            ("Cache-Control", f"{kept}, max-age=31536000, immutable"),
            ("Content-Disposition", f'attachment; filename="{_safe_name(name, digest)}"'),
        )
        if has_copy(request.header("If-None-Match"), digest):
            stored.close()
            return HttpResponse(http.NOT_MODIFIED, "", headers)
        try:
            code, span, ranged = asked_part(request, stored.size, digest)
        except HttpRefusal:
            stored.close()
            raise
        if code == http.REQUESTED_RANGE_NOT_SATISFIABLE:
            stored.close()
            return HttpResponse(code, f"the artifact has {stored.size} bytes", (*LIVE, *ranged))
        return HttpResponse(code, "", (*headers, *ranged), StoredPart(stored, span))

    async def _check_kept(self, digest: str) -> None:
        """Raise Expired for an artifact that is not kept any more."""
        if why := await self._reads.artifact_gone(digest):
            raise Expired(f"this artifact {why}")


class SourceHandler:
    """The handler of commits for build servers."""

    def __init__(self, tickets: TicketReader, oversight: Oversight, executor: Executor) -> None:
        self._tickets = tickets
        self._oversight = oversight
        self._executor = executor
        self._disk = RealDisk()

    def admit(self, request: IncomingRequest, build_id: int, epoch: int, kind: str) -> Admission:
        ticket = self._tickets.check(request, TicketKind.SOURCE, build_id, epoch)
        try:
            part = read_part(kind, request.query)
        except DecodeError as error:
            raise HttpRefusal(http.BAD_REQUEST, str(error), LIVE) from error
        if not self._oversight.lives(build_id, epoch):
            raise NotFound(f"attempt {epoch} of build {build_id} has ended")
        return Admission(partial(self._send, build_id=build_id, part=part, most=ticket.max_bytes))

    async def _send(
        self, request: IncomingRequest, _body: BodyReader, build_id: int, part: SourcePart, most: int
    ) -> HttpResponse:
        try:
            bundle = await self._oversight.bundle(build_id, part)
        except BeingMade as error:
            return HttpResponse(http.ACCEPTED, str(error), (*LIVE, ("Retry-After", "2")))
        if bundle.size > most:
            raise TooLong(f"the sources have {bundle.size} bytes, but the ticket allows {most}")
        code, span, ranged = asked_part(request, bundle.size, bundle.digest)
        headers = (*LIVE, ("ETag", quote_etag(bundle.digest)), ("Source-Length", str(bundle.size)), *ranged)
        if code == http.REQUESTED_RANGE_NOT_SATISFIABLE:
            return HttpResponse(code, f"the sources have {bundle.size} bytes", headers)
        opening = partial(os.open, bundle.path, os.O_RDONLY | os.O_CLOEXEC)
        file = await on_disk(self._executor, "read packed sources", opening)
        stored = StoredArtifact(self._executor, self._disk, file, bundle.size)
        kind = ("Content-Type", "application/x-git-bundle")
        return HttpResponse(code, "", (kind, *headers), StoredPart(stored, span))


def _policy(query: str) -> EvidencePolicy:
    """Return what is demanded of an artifact: nothing, unless ``sandbox`` is said. Raises HttpRefusal."""
    try:
        said = parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_NAMES).get("sandbox", [_NO_SANDBOX])
        return EvidencePolicy(max(map(read_level, said)))
    except (UsageError, ValueError) as error:
        raise HttpRefusal(http.BAD_REQUEST, str(error), LIVE) from error


class StoredPart:
    """A piece of an artifact as the content of an answer."""

    def __init__(self, stored: StoredArtifact, span: ByteSpan) -> None:
        self._stored = stored
        self.start = span.start
        self.end = span.end

    async def read(self, start: int, size: int) -> bytes:
        return await self._stored.read(start, size)

    def close(self) -> None:
        self._stored.close()


def _safe_name(name: str, digest: str) -> str:
    """The name in the URL is only for people; what is not plainly a file's name is replaced."""
    plain = unquote_to_bytes(name).decode("latin-1")
    return plain if _NAME.fullmatch(plain) else f"{digest[:16]}.zip"
