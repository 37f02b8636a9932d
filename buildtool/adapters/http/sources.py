"""Commits on their way to build servers whose origin does not give them out any more."""

from __future__ import annotations

import os
from functools import partial

from twisted.web import http
from werkzeug.http import quote_etag

from buildtool.adapters.http.downloads import StoredPart
from buildtool.adapters.http.handling import LIVE, TicketReader, asked_part
from buildtool.adapters.http.oversight import Oversight
from buildtool.adapters.http.routes import Admission, HttpResponse, IncomingRequest
from buildtool.adapters.storage.artifacts import StoredArtifact
from buildtool.adapters.storage.filesystem import RealDisk, on_disk
from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import NotFound, TooLong
from buildtool.model.tickets import TicketKind
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import BeingMade


class SourceHandler:
    """The handler of commits for build servers."""

    def __init__(self, tickets: TicketReader, oversight: Oversight, executor: Executor) -> None:
        self._tickets = tickets
        self._oversight = oversight
        self._executor = executor
        self._disk = RealDisk()

    def admit(self, request: IncomingRequest, build_id: int, epoch: int) -> Admission:
        ticket = self._tickets.check(request, TicketKind.SOURCE, build_id, epoch)
        if not self._oversight.lives(build_id, epoch):
            raise NotFound(f"attempt {epoch} of build {build_id} has ended")
        return Admission(partial(self._send, build_id=build_id, most=ticket.max_bytes))

    async def _send(self, request: IncomingRequest, _body: BodyReader, build_id: int, most: int) -> HttpResponse:
        try:
            bundle = await self._oversight.bundle(build_id)
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
