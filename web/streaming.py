"""Bytes of a log or file to a visitor: no more of them in memory than the visitor takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from buildtool.errors import NotFound
from buildtool.ports.pages import LogReader
from buildtool.protocol.http_headers import ByteSpan

CHUNK = 128 * 1024
"""Bytes read at a time; about as much is in memory for each visitor."""


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


async def send_bytes(request: Request, read: Callable[[int, int], Awaitable[bytes]], span: ByteSpan) -> None:
    """Write the bytes of ``span`` as ``read`` returns them (from a byte, at most so many), as fast as they are taken.

    Raises NotFound when they go away meanwhile.
    """
    at = span.start

    async def following() -> bytes:
        nonlocal at
        if at >= span.end:
            return b""
        data = await read(at, min(CHUNK, span.end - at))
        if not data:
            raise NotFound("what was read went away meanwhile")
        at += len(data)
        return data

    await send_pieces(request, following)


async def send_pieces(request: Request, read: Callable[[], Awaitable[bytes]]) -> None:
    """Write what ``read`` returns, piece by piece until it is empty, as fast as the visitor takes it."""
    pace = _Pace()
    request.registerProducer(pace, True)
    try:
        while data := await read():
            request.write(data)
            await pace.wanted()
    finally:
        if request.channel is not None:  # as it is once the visitor left
            request.unregisterProducer()


async def send_log(request: Request, logs: LogReader, build_id: int, epoch: int, span: ByteSpan) -> None:
    """Write the bytes of ``span``, as fast as the visitor takes them.

    Raises NotFound when the log goes away meanwhile.
    """
    await send_bytes(request, partial(logs.read, build_id, epoch), span)
