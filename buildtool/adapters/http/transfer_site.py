"""The transfer port: artifacts and logs over HTTP.

===========  ============================  =====================================================================
PUT, HEAD    /uploads/<build>/<epoch>      one artifact, with a ticket; resumable (Upload-Offset, -Length, -Digest);
                                           with If-None-Match: * only when nothing of it is there
POST         /logs/<build>/<epoch>         bytes of a log at Upload-Offset, with a ticket; sending again is harmless
GET, HEAD    /logs/<build>/<epoch>         the log; Range, or ``?offset=N&wait=S`` to follow it
GET, HEAD    /logs/<build>/<epoch>/index   what is known of it (phases, errors, lines), as JSON; ``?from=N``
GET, HEAD    /logs/<build>/<epoch>/search  the lines that have the text ``?q=``, as JSON; ``&case=1``
GET, HEAD    /artifacts/<digest>/<name>    an artifact that was compared with its digest; Range, immutable
GET, HEAD    /sources/<build>/<epoch>      with a ticket: the commit of a build as a git bundle, for build servers whose
                                           origin does not give it out; Range. 202 while it is being made.
                                           With ``/tags`` after it: the tags that reach the commit now. With
                                           ``/commit`` or ``/tags`` and ``?inside=<path>``: of a submodule
===========  ============================  =====================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web import http

from buildtool.adapters.http.downloads import DownloadHandler, SourceHandler
from buildtool.adapters.http.handling import LIVE, Oversight, TicketReader, allow
from buildtool.adapters.http.log_looks import LogLooks
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
    Expired,
    LimitReached,
    NotFound,
    StorageUnavailable,
    Superseded,
    TooLong,
    WrongDigest,
)
from buildtool.model.access.rights import Act
from buildtool.model.incarnations import Keys
from buildtool.ports.common import Clock
from buildtool.protocol.http_headers import NOT_KEPT

_UPLOADS = re.compile(r"/uploads/([1-9][0-9]{0,17})/([0-9]{1,9})")
_LOGS = re.compile(r"/logs/([1-9][0-9]{0,17})/([0-9]{1,9})")
_LOG_LOOKS = re.compile(r"/logs/([1-9][0-9]{0,17})/([0-9]{1,9})/(index|search)")
_SOURCES = re.compile(r"/sources/([1-9][0-9]{0,17})/([0-9]{1,9})(?:/(commit|tags))?")
_ARTIFACTS = re.compile(r"/artifacts/([0-9a-f]{64})/([^/]*)")


@frozen
class TransferRoute:
    """A route of the transfer port: its paths, and which act of the table of rights each of its methods is.

    Who serves builds proves it by a ticket, which is for one attempt; what else may be fetched ``Reads`` says.
    """

    pattern: re.Pattern[str]
    acts: Mapping[str, Act]


UPLOADS = TransferRoute(_UPLOADS, {"PUT": Act.SERVE, "HEAD": Act.SERVE})
LOGS = TransferRoute(_LOGS, {"GET": Act.SEE_LOG, "HEAD": Act.SEE_LOG, "POST": Act.SERVE})
LOG_LOOKS = TransferRoute(_LOG_LOOKS, {"GET": Act.SEE_LOG, "HEAD": Act.SEE_LOG})
ARTIFACTS = TransferRoute(_ARTIFACTS, {"GET": Act.SEE_ARTIFACT, "HEAD": Act.SEE_ARTIFACT})
SOURCES = TransferRoute(_SOURCES, {"GET": Act.SERVE, "HEAD": Act.SERVE})
ROUTES = (UPLOADS, LOGS, LOG_LOOKS, ARTIFACTS, SOURCES)
"""All routes: what is none of them is answered as not found."""

_TRANSFER = re.compile(rb"/(?:uploads|sources|artifacts)(?:/.*)?|/logs/[^/]*/(?!(?:index|search)\Z).*", re.DOTALL)

_STATUS: tuple[tuple[type[BuildToolError], int], ...] = (
    (BadTicket, http.UNAUTHORIZED),
    (BadOffset, http.CONFLICT),
    (Superseded, http.CONFLICT),
    (TooLong, http.REQUEST_ENTITY_TOO_LARGE),
    (WrongDigest, 422),
    (BadUpload, http.CONFLICT),
    (StorageUnavailable, http.INSUFFICIENT_STORAGE_SPACE),
    (LimitReached, 429),
    (Expired, http.GONE),
    (NotFound, http.NOT_FOUND),
    (Damaged, http.GONE),
)

_COMMON: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
)


def is_transfer(path: bytes) -> bool:
    """Return whether a path is one of transfers, whether or not there is anything.

    ``/logs/17`` is a page's, and so is what is asked about it.
    """
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
        uploads, downloads = UploadHandler(tickets, artifacts, oversight), DownloadHandler(artifacts, oversight)
        of_log = LogHandler(tickets, logs, reactor, oversight)
        looks = LogLooks(logs, oversight)
        sources = SourceHandler(tickets, oversight, artifacts.uploads.executor)
        self._handlers: dict[re.Pattern[str], Callable[..., Admission]] = {
            UPLOADS.pattern: lambda request, *key: uploads.admit(request, *map(int, key)),
            LOGS.pattern: lambda request, *key: of_log.admit(request, *map(int, key)),
            LOG_LOOKS.pattern: lambda request, *of: looks.admit(request, int(of[0]), int(of[1]), of[2]),
            ARTIFACTS.pattern: lambda _request, *of: Admission(partial(downloads.send, digest=of[0], name=of[1])),
            SOURCES.pattern: lambda request, *of: sources.admit(request, int(of[0]), int(of[1]), of[2] or ""),
        }
        self._clock = clock
        super().__init__(reactor, self, limits or HttpLimits())

    def admit(self, request: IncomingRequest) -> Admission:
        path = request.path.decode("latin-1")
        for route in ROUTES:
            if found := route.pattern.fullmatch(path):
                allow(request, *route.acts)
                return self._handlers[route.pattern](request, *found.groups())
        raise HttpRefusal(http.NOT_FOUND, "there is nothing at this address")

    def refusal(self, error: BuildToolError) -> HttpResponse:
        code = next((code for kind, code in _STATUS if isinstance(error, kind)), http.INTERNAL_SERVER_ERROR)
        headers = LIVE
        if isinstance(error, BadTicket):
            headers += (("WWW-Authenticate", "Ticket"),)
        if isinstance(error, BadOffset):
            headers += (("Upload-Offset", str(error.length)),)
        if isinstance(error, Expired):
            headers += ((NOT_KEPT, "expired"),)
        if isinstance(error, LimitReached):
            headers += (("Retry-After", str(max(1, math.ceil(error.again)))),)
        return HttpResponse(code, str(error), headers)

    def headers(self) -> Headers:
        return (*_COMMON, ("Date", http.datetimeToString(self._clock.wall()).decode()))
