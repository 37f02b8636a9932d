"""Bytes of a log to a visitor: which of them were asked for, and no more in memory than the visitor takes."""

from __future__ import annotations

import re

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from buildtool.errors import NotFound
from buildtool.ports import LogReader

CHUNK = 128 * 1024
"""Bytes read at a time; about as much is in memory for each visitor."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")


@frozen
class Span:
    """Bytes from ``start`` up to, not including, ``end``; ``partial`` when a part was asked for."""

    start: int
    end: int
    partial: bool


def asked_span(header: str | None, length: int) -> Span | None:
    """Return what a Range header asks of ``length`` bytes, or None when there are no such bytes (status 416).

    A header that is none, malformed, or asks for several ranges asks for everything, as RFC 9110 allows.
    """
    found = _RANGE.match(header or "")
    if found is None or found.group(1, 2) == ("", ""):
        return Span(0, length, partial=False)
    first, last = found.groups()
    if not first:
        start, end = max(0, length - int(last)), length
    else:
        start, end = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < start:
            return Span(0, length, partial=False)
    return Span(start, end, partial=True) if start < end else None


@implementer(IPushProducer)
class _Pace:
    """Tells when the connection wants more."""

    def __init__(self) -> None:
        self._waiting: Deferred[None] | None = None

    async def wanted(self) -> None:
        """Return as soon as the connection takes more."""
        if self._waiting is not None:
            await self._waiting

    def pauseProducing(self) -> None:
        if self._waiting is None:
            self._waiting = Deferred()

    def resumeProducing(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The visitor left; Klein cancels whatever is awaited."""


async def send_log(request: Request, logs: LogReader, build_id: int, epoch: int, span: Span) -> None:
    """Write the bytes of ``span``, as fast as the visitor takes them.

    Raises NotFound when the log goes away meanwhile.
    """
    pace = _Pace()
    request.registerProducer(pace, True)
    try:
        at = span.start
        while at < span.end:
            data = await logs.read(build_id, epoch, at, min(CHUNK, span.end - at))
            if not data:
                raise NotFound(f"the log of build {build_id}, attempt {epoch}, went away while it was read")
            request.write(data)
            at += len(data)
            await pace.wanted()
    finally:
        request.unregisterProducer()
