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
"""

from __future__ import annotations

import math
import re
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.web import http

from buildtool.adapters.http.downloads import DownloadHandler, SourceHandler
from buildtool.adapters.http.handling import LIVE, Oversight, TicketReader, allow
from buildtool.adapters.http.logs import LogHandler
from buildtool.adapters.http.routes import Admission, Headers, HttpLimits, HttpRefusal, HttpResponse, IncomingRequest
from buildtool.adapters.http.server import StreamingSite
from buildtool.adapters.http.uploads import UploadHandler
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.logs import LogStore
from buildtool.errors import (
    BadOffset,
    BadTicket,
    BadUpload,
    BuildToolError,
    Damaged,
    LimitReached,
    NotFound,
    StorageUnavailable,
    Superseded,
    TooLong,
    WrongDigest,
)
from buildtool.model.incarnations import Keys
from buildtool.ports.common import Clock

_UPLOADS = re.compile(r"/uploads/([1-9][0-9]{0,17})/([0-9]{1,9})")
_LOGS = re.compile(r"/logs/([1-9][0-9]{0,17})/([0-9]{1,9})")
_SOURCES = re.compile(r"/sources/([1-9][0-9]{0,17})/([0-9]{1,9})")
_ARTIFACTS = re.compile(r"/artifacts/([0-9a-f]{64})/([^/]*)")

_TRANSFER = re.compile(rb"/(?:uploads|sources|artifacts)(?:/.*)?|/logs/[^/]*/.*", re.DOTALL)

_STATUS: tuple[tuple[type[BuildToolError], int], ...] = (
    (BadTicket, http.UNAUTHORIZED),
    (BadOffset, http.CONFLICT),
    (Superseded, http.CONFLICT),
    (TooLong, http.REQUEST_ENTITY_TOO_LARGE),
    (WrongDigest, 422),
    (BadUpload, http.CONFLICT),
    (StorageUnavailable, http.INSUFFICIENT_STORAGE_SPACE),
    (LimitReached, 429),
    (NotFound, http.NOT_FOUND),
    (Damaged, http.GONE),
)

_COMMON: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
)


def is_transfer(path: bytes) -> bool:
    """Return whether a path is one of transfers, whether or not there is anything; ``/logs/17`` is a page's."""
    return _TRANSFER.fullmatch(path) is not None


class TransferSite(StreamingSite):
    """The factory to listen with on the transfer port, and its routes. ``keys`` sign tickets."""

    def __init__(
        self,
        reactor: IReactorTime,
        keys: Keys,
        clock: Clock,
        artifacts: ArtifactStore,
        logs: LogStore,
        oversight: Oversight,
        limits: HttpLimits | None = None,
    ) -> None:
        tickets = TicketReader(keys, clock)
        self._uploads = UploadHandler(tickets, artifacts, oversight)
        self._logs = LogHandler(tickets, logs, reactor, oversight)
        self._downloads = DownloadHandler(artifacts, oversight)
        self._sources = SourceHandler(tickets, oversight, artifacts.uploads.executor)
        self._clock = clock
        super().__init__(reactor, self, limits or HttpLimits())

    def admit(self, request: IncomingRequest) -> Admission:
        path = request.path.decode("latin-1")
        if found := _UPLOADS.fullmatch(path):
            allow(request, "PUT", "HEAD")
            return self._uploads.admit(request, int(found[1]), int(found[2]))
        if found := _LOGS.fullmatch(path):
            allow(request, "GET", "HEAD", "POST")
            return self._logs.admit(request, int(found[1]), int(found[2]))
        if found := _ARTIFACTS.fullmatch(path):
            allow(request, "GET", "HEAD")
            return Admission(partial(self._downloads.send, digest=found[1], name=found[2]))
        if found := _SOURCES.fullmatch(path):
            allow(request, "GET", "HEAD")
            return self._sources.admit(request, int(found[1]), int(found[2]))
        raise HttpRefusal(http.NOT_FOUND, "there is nothing at this address")

    def refusal(self, error: BuildToolError) -> HttpResponse:
        code = next((code for kind, code in _STATUS if isinstance(error, kind)), http.INTERNAL_SERVER_ERROR)
        headers = LIVE
        if isinstance(error, BadTicket):
            headers += (("WWW-Authenticate", "Ticket"),)
        if isinstance(error, BadOffset):
            headers += (("Upload-Offset", str(error.length)),)
        if isinstance(error, LimitReached):
            headers += (("Retry-After", str(max(1, math.ceil(error.again)))),)
        return HttpResponse(code, str(error), headers)

    def headers(self) -> Headers:
        return (*_COMMON, ("Date", http.datetimeToString(self._clock.wall()).decode()))
