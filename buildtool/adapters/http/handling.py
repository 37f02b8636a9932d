"""What the handlers of the transfer port share: tickets, headers read strictly, and what they ask the broker."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import field, frozen
from twisted.web import http

from buildtool.adapters.http.routes import Headers, HttpRefusal, IncomingRequest
from buildtool.errors import BadTicket, Expired, NotFound
from buildtool.model.incarnations import Keys
from buildtool.model.matching.acceptance import refusal
from buildtool.model.tickets import Ticket, TicketKind, read
from buildtool.model.trust.evidence import EvidencePolicy
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import Bundle
from buildtool.ports.pages import LogExtent, LogReader
from buildtool.protocol.http_headers import ByteSpan, asked_span, is_unchanged
from buildtool.protocol.source_parts import SourcePart

NUMBER = re.compile(r"[0-9]{1,18}")

LIVE: Headers = (("Cache-Control", "no-store"),)
"""The headers of what changes, or is nobody else's."""


async def _no_bundle(build_id: int, _part: SourcePart) -> Bundle:
    raise NotFound(f"there are no sources of build {build_id} here")


async def _unheard(_build_id: int, _epoch: int, _reason: str) -> None:
    """Nobody is to be told that an artifact cannot be kept."""


def _any_number(_build_id: int, _epoch: int) -> None:
    """Any number of bytes may be stored."""


def _uncounted(_build_id: int, _epoch: int, _size: int) -> None:
    """What is stored is not counted."""


class Reads(Protocol):
    """The rights of who fetches something, by what it is of."""

    async def log(self, request: IncomingRequest, build_id: int) -> bool:
        """Return whether who sends a request may see the logs of a build."""

    async def artifact(self, request: IncomingRequest, digest: str) -> bool:
        """Return whether who sends a request may fetch an artifact with these bytes."""

    async def unmet(self, request: IncomingRequest, digest: str, policy: EvidencePolicy) -> str:
        """Return in a line why what they may fetch with these bytes does not do for a policy; empty where it does."""

    async def log_gone(self, build_id: int) -> str:
        """Return that the logs of a build have expired, and why; empty where that is not known of them."""

    async def artifact_gone(self, digest: str) -> str:
        """Return that an artifact has expired, and why; empty where that is not known of it."""

    def given_out(self, digest: str) -> None:
        """Take in that an artifact is given out."""

    def public(self) -> bool:
        """Return whether what is fetched may be kept for others on its way."""


class AllRead:
    """The ``Reads`` of a port at which all may be fetched by all."""

    async def log(self, _request: IncomingRequest, _build_id: int) -> bool:
        """Return that they may."""
        return True

    async def artifact(self, _request: IncomingRequest, _digest: str) -> bool:
        """Return that they may."""
        return True

    async def unmet(self, _request: IncomingRequest, _digest: str, policy: EvidencePolicy) -> str:
        """Return what nothing is known to meet."""
        return refusal((), policy)

    async def log_gone(self, _build_id: int) -> str:
        """Return that nothing is known of it."""
        return ""

    async def artifact_gone(self, _digest: str) -> str:
        """Return that nothing is known of it."""
        return ""

    def given_out(self, _digest: str) -> None:
        """Ignore the digest: at such a port nothing is counted."""

    def public(self) -> bool:
        """Return that it may."""
        return True


@frozen
class Oversight:
    """The broker, as the transfer port asks and informs it.

    ``lives`` says whether an Attempt, by build and epoch, has not ended. ``corrupt`` is called with the digest of an
    artifact whose bytes turned out to differ from it, so that it is withdrawn. ``bundle`` gives a part of a Build's
    sources. ``unkept`` is called with an Attempt whose artifact there is no room for, and why. ``check_storing`` raises
    LimitReached for an Attempt whose build server has stored too much, and ``stored`` is called with bytes that came.
    ``reads`` says who may fetch what.
    """

    lives: Callable[[int, int], bool]
    corrupt: Callable[[str], object]
    bundle: Callable[[int, SourcePart], Awaitable[Bundle]] = _no_bundle
    unkept: Callable[[int, int, str], Awaitable[object]] = _unheard
    check_storing: Callable[[int, int], None] = _any_number
    stored: Callable[[int, int, int], None] = _uncounted
    reads: Reads = field(factory=AllRead)


async def log_state(logs: LogReader, reads: Reads, build_id: int, epoch: int) -> LogExtent:
    """Return the extent of a log. Raises Expired for one that is not kept any more, NotFound."""
    try:
        return await logs.state(build_id, epoch)
    except NotFound:
        if why := await reads.log_gone(build_id):
            raise Expired(f"the log of build {build_id}, attempt {epoch}, {why}") from None
        raise


class TicketReader:
    """A reader of the ticket of a request, which it compares with what the request is about."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def check(self, request: IncomingRequest, kind: TicketKind, build_id: int, epoch: int) -> Ticket:
        scheme, _, text = (request.header("Authorization") or "").partition(" ")
        if scheme.lower() != "ticket" or not text:
            raise BadTicket("a ticket is needed here: send the header Authorization: Ticket <text>")
        ticket = read(text.strip(), self._keys.build(build_id), self._clock.wall())
        if (ticket.kind, ticket.build_id, ticket.epoch) != (kind, build_id, epoch):
            raise HttpRefusal(
                http.FORBIDDEN,
                f"that ticket is for the {ticket.kind.value} of build {ticket.build_id}, attempt {ticket.epoch}",
                LIVE,
            )
        return ticket


def asked_part(request: IncomingRequest, size: int, digest: str = "") -> tuple[int, ByteSpan, Headers]:
    """Return the status, the bytes and the headers that ``request`` gets of ``size`` bytes tagged with ``digest``."""
    everything: Headers = (("Accept-Ranges", "bytes"),)
    wanted = request.method == b"GET" and is_unchanged(request.header("If-Range"), digest)
    span = asked_span(request.header("Range") if wanted else None, size)
    if span is None:
        return http.REQUESTED_RANGE_NOT_SATISFIABLE, ByteSpan(0, 0, size), (("Content-Range", f"bytes */{size}"),)
    if not span.partial:
        return http.OK, span, everything
    return http.PARTIAL_CONTENT, span, (*everything, ("Content-Range", span.content_range))


def allow(request: IncomingRequest, *methods: str) -> None:
    """Raise HttpRefusal (405) unless the request's method is one of ``methods``."""
    if request.method.decode("latin-1") not in methods:
        allowed = ", ".join(methods)
        raise HttpRefusal(http.NOT_ALLOWED, f"only {allowed} can be done here", (("Allow", allowed),))


def length_needed(request: IncomingRequest) -> None:
    """Raise HttpRefusal (411) for a body of which neither a length nor a coding is told."""
    if request.header("Content-Length") is None and request.header("Transfer-Encoding") is None:
        raise HttpRefusal(http.LENGTH_REQUIRED, "the header Content-Length is needed here")


def number(request: IncomingRequest, name: str, default: int | None) -> int:
    """Return a header that is a number of bytes. Raises HttpRefusal (400), also where it is absent without default."""
    text = request.header(name)
    if text is None and default is not None:
        return default
    if text is None or not NUMBER.fullmatch(text):
        raise HttpRefusal(http.BAD_REQUEST, f"the header {name} must be a number of bytes")
    return int(text)
