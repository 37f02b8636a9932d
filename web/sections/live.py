"""What changes, as it happens: one stream a browser."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.web.server import Request

from buildtool.errors import LimitReached, NotFound
from buildtool.model.access.rights import Act
from buildtool.model.access.visitors import visitor
from buildtool.protocol.api.routes import EVENTS, PREFIX

from ..access import shown_by
from ..answers import plain, query_value
from ..api.decoding import read_query
from ..live.streams import EVENT_STREAM, Stream
from ..section import Section, page

_DIGITS = 18
"""Most digits of an event's number."""


class LiveSection(Section):
    """The stream of what changes."""

    @page(Act.SEE_FARM, "/events", "/api/v1/events")
    def events(self, request: Request) -> Deferred[None] | bytes:
        """Send what changes, after the event that ``Last-Event-ID`` or ``?last=`` names.

        Raises NotFound, DecodeError.
        """
        hub, shown = self.parts.upstream.live, shown_by(request)
        by = shown.by
        if hub is None:
            raise NotFound("nothing is live here")
        of_api = request.path.startswith(PREFIX.encode())
        if of_api:
            read_query(EVENTS, request.args or {})
        said = request.getHeader("last-event-id") or query_value(request, "last")
        stream = Stream(request, by, self.parts.access, hub)
        if shown.secret:
            before = visitor(by.address, trusted=False)
            stream.known = lambda: self.parts.sessions.again(before, shown.secret)
        if request.method == b"HEAD":
            _announce(request)
            return b""
        try:
            stream.left = hub.places.take(by.address, stream)
        except LimitReached as error:
            if of_api:
                raise  # which is told as a problem
            request.setResponseCode(503)
            request.setHeader("Retry-After", f"{error.again:.0f}")
            return plain(request, f"{error}\n")
        _announce(request)
        named = said.isascii() and said.isdecimal() and len(said) <= _DIGITS
        stream.start(int(said) if named else None)
        return stream.ended


def _announce(request: Request) -> None:
    """Set the headers of a stream: it is kept nowhere, and no proxy holds back or packs what comes."""
    request.setHeader("Content-Type", EVENT_STREAM)
    request.setHeader("Cache-Control", "no-store, no-transform")
    request.setHeader("X-Accel-Buffering", "no")
