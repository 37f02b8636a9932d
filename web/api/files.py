"""What the API sends as bytes: logs and artifacts, by ranges, no faster than who asks takes them.

Tested by tests/web/api/test_files.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.http import quote_etag

from buildtool.errors import BadOffset, Expired, NotFound, Overloaded, StorageUnavailable
from buildtool.model.access.rights import Act
from buildtool.model.matching.acceptance import refusal
from buildtool.model.names import is_artifact_name, is_digest
from buildtool.model.records import Artifact
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel, read_level
from buildtool.ports.pages import ArtifactReader, LogExtent, OpenArtifact
from buildtool.protocol.api.routes import ApiCall
from buildtool.protocol.http_headers import ByteSpan, asked_span, digest_header, has_copy, is_unchanged

from ..access import visitor_of
from ..answers import headers
from ..section import Parts
from ..streaming import send_bytes
from .problems import NoSuchRange
from .reading import ApiReader, Values
from .waiting import LOOK_EVERY, WaitingPlaces

LOG_ANSWER = 1024 * 1024
"""Most bytes of a log that are sent to who asks for what follows a byte; who asks for a range gets all of it."""

SENDING = 100
"""Most artifacts that are sent at once: each is an open file beside its connection."""

_FOR_EVER = "private, max-age=31536000, immutable"
_PARTIAL = 206


@define
class _HeldArtifact:
    """An artifact that is closed once nothing reads it any more, also where who asked for it has gone meanwhile."""

    stored: OpenArtifact
    _reading: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)

    async def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start`` on. Raises StorageUnavailable."""

        def ended(result: object, *, gone: bool) -> None:
            self._reading = False
            if self._over:
                self.stored.close()

        self._reading = True
        data: bytes = await _undisturbed(Deferred.fromCoroutine(self.stored.read(start, size)), ended)
        return data

    def close(self) -> None:
        """Close it, as soon as that can be."""
        self._over = True
        if not self._reading:
            self.stored.close()


class _AtEnd(Protocol):
    """What is called at the end of some work: whether who waited is ``gone``, and what came of it."""

    def __call__(self, result: object, *, gone: bool) -> None: ...


def _undisturbed(working: Deferred[Any], ended: _AtEnd) -> Deferred[Any]:
    """Return what some work comes to; cancelling that leaves the work alone, whose result ``ended`` gets."""
    told: Deferred[Any] = Deferred()

    def passed_on(result: Any) -> None:  # noqa: ANN401 - whatever came of it
        gone = told.called
        ended(result, gone=gone)
        if not gone:
            told.callback(result)

    working.addBoth(passed_on)
    return told


@define
class ApiFiles:
    """The sender of bytes. ``waiting`` are the places for those who wait for more of a log."""

    parts: Parts
    reader: ApiReader
    waiting: WaitingPlaces
    _sending: int = field(default=0, init=False)

    def of(self, call: ApiCall) -> Callable[[Request, Values], Awaitable[None]]:
        """Return what sends the answer of a route."""
        found: Callable[[ApiCall, Request, Values], Awaitable[None]] = getattr(self, call.read)
        return partial(found, call)

    # --- logs -----------------------------------------------------------------------------------------------

    async def log(self, call: ApiCall, request: Request, values: Values) -> None:
        """Send a log, a range of it, or what follows a byte. Raises NotFound, BadOffset, NoSuchRange, LimitReached."""
        build_id, epoch = await self.reader.attempt(request, values)
        wait, follows = float(values.get("wait", 0)), "from" in values or "wait" in values
        start = values.get("from", 0)
        length, finished = await self._extent(build_id, epoch, start, wait)
        if follows:
            if start > length:
                raise BadOffset(f"the log has {length} bytes, so there is nothing at byte {start}", length)
            span = ByteSpan(start, min(length, start + LOG_ANSWER), length, partial=False)
        else:
            span = _ranged(request, length, "")
        request.setHeader("Log-Length", str(length))
        request.setHeader("Log-Finished", "yes" if finished else "no")
        await _sent(request, call, span, "no-store", partial(self.parts.logs.read, build_id, epoch))

    async def _extent(self, build_id: int, epoch: int, start: int, wait: float) -> tuple[int, bool]:
        """Return the length of a log and whether it is finished, once it is longer than ``start`` or time is over.

        Who waits says that the log is expected, though its first byte has not come. Raises NotFound, LimitReached.
        """
        expected = wait > 0

        async def now() -> tuple[int, bool]:
            try:
                extent: LogExtent = await self.parts.logs.state(build_id, epoch)
            except NotFound:
                if not expected:
                    raise
                return 0, False
            return extent.length, extent.finished

        length, finished = await now()
        if wait and length == start and not finished:
            with self.waiting.place("logs are waited for already: ask without wait"):
                while wait > 0 and length == start and not finished:
                    await self.parts.tools.later(min(wait, LOOK_EVERY))
                    wait -= LOOK_EVERY
                    length, finished = await now()
        return length, finished

    # --- artifacts ------------------------------------------------------------------------------------------

    async def artifact(self, call: ApiCall, request: Request, values: Values) -> None:
        """Send an artifact. Raises NotFound, also where who asks may not fetch it, or wants more than is known.

        Raises UsageError, Damaged, NoSuchRange, StorageUnavailable, Overloaded.
        """
        policy = EvidencePolicy(read_level(values.get("sandbox", SandboxLevel.NONE.value)))
        digest, by = str(values["digest"]), visitor_of(request)
        made = await self.parts.pages.artifacts_of(digest) if is_digest(digest) else ()
        seen = [
            one
            for one in made
            if self.parts.access.sees(by, one.shelf.project, Act.SEE_ARTIFACT, one.platform) and not one.withdrawn
        ]
        if not seen:
            if is_digest(digest) and (why := await self.parts.pages.artifact_gone(digest)):
                raise Expired(f"this artifact {why}")
            raise NotFound("there is no artifact of that digest")
        if unmet := refusal((one.evidence for one in seen), policy):
            raise NotFound(unmet)
        artifacts = self.parts.tools.artifacts
        if artifacts is None:
            raise StorageUnavailable("these pages give out no artifacts")
        request.setHeader("ETag", quote_etag(digest))
        request.setHeader("Repr-Digest", digest_header(digest))
        request.setHeader("Content-Disposition", f'attachment; filename="{_file_name(seen[0])}"')
        if has_copy(request.getHeader("if-none-match"), digest):
            request.setResponseCode(304)
            request.setHeader("Cache-Control", _FOR_EVER)
            return
        if self._sending >= SENDING:
            raise Overloaded(f"{SENDING} artifacts are sent already: try again in a moment")
        self._sending += 1
        try:
            held = await _opened(artifacts, digest)
            try:
                span = _ranged(request, held.stored.size, digest)
                await _sent(request, call, span, _FOR_EVER, held.read)
            finally:
                held.close()
        finally:
            self._sending -= 1


async def _opened(artifacts: ArtifactReader, digest: str) -> _HeldArtifact:
    """Return an artifact that is open; where who asked has gone meanwhile, it is closed. Raises NotFound, Damaged."""

    def ended(result: object, *, gone: bool) -> None:
        if gone and not isinstance(result, Failure):
            cast(OpenArtifact, result).close()

    return _HeldArtifact(await _undisturbed(Deferred.fromCoroutine(artifacts.open(digest)), ended))


def _file_name(made: Artifact) -> str:
    return made.name if is_artifact_name(made.name) else f"{made.digest[:16]}.zip"


def _ranged(request: Request, length: int, digest: str) -> ByteSpan:
    """Return which bytes of ``length`` are asked for, of those tagged ``digest``. Raises NoSuchRange."""
    wanted = is_unchanged(request.getHeader("if-range"), digest)
    span = asked_span(request.getHeader("range") if wanted else None, length)
    request.setHeader("Accept-Ranges", "bytes")
    if span is None:
        raise NoSuchRange(f"there are {length} bytes, and none where the range begins", length)
    return span


async def _sent(
    request: Request, call: ApiCall, span: ByteSpan, caching: str, read: Callable[[int, int], Awaitable[bytes]]
) -> None:
    headers(request, call.raw, span.end - span.start, caching)
    if span.partial:
        request.setResponseCode(_PARTIAL)
        request.setHeader("Content-Range", span.content_range)
    if request.method != b"HEAD":
        await send_bytes(request, read, span)
