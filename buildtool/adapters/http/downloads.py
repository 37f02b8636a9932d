"""Artifacts on their way out: compared with their digest, by ranges, and never again for who has them.

Tested by tests/adapters/http/test_transfer_site.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from twisted.web import http
from werkzeug.http import quote_etag

from buildtool.adapters.http.handling import LIVE, asked_part
from buildtool.adapters.http.routes import Headers, HttpRefusal, HttpResponse, IncomingRequest
from buildtool.adapters.storage.artifacts import ArtifactStore, StoredArtifact
from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import Damaged
from buildtool.protocol.http_headers import ByteSpan, has_copy

_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,199}")


class DownloadHandler:
    """The handler of artifact downloads."""

    def __init__(self, artifacts: ArtifactStore, corrupt: Callable[[str], object]) -> None:
        self._artifacts = artifacts
        self._corrupt = corrupt

    async def send(self, request: IncomingRequest, _body: BodyReader, digest: str, name: str) -> HttpResponse:
        try:
            stored = await self._artifacts.open(digest)
        except Damaged:
            self._corrupt(digest)
            raise
        headers: Headers = (
            ("Content-Type", "application/zip"),
            ("ETag", quote_etag(digest)),
            ("Cache-Control", "public, max-age=31536000, immutable"),
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
