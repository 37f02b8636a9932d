"""The bodies of a client: what a request sends, whole or piece by piece, and an answer as it comes.

Covered by tests/adapters/http/test_transfer_client.py and tests/adapters/http/test_declared_downloads.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from buildtool.concurrency.backpressure import PIECE, BodyReader, BodyWriter, Source, StallWatch
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import BadUpload
from buildtool.ports.common import Executor


@implementer(IBodyProducer)
class SmallBody:
    """The body of a request that is sent at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """Ignore this: all has been written."""

    def resumeProducing(self) -> None:
        """Ignore this: all has been written."""

    def stopProducing(self) -> None:
        """Ignore this: all has been written."""


@implementer(IBodyProducer)
class FileBody:
    """A file from byte ``offset`` to ``size``, read in a thread piece by piece as the connection takes it.

    ``done`` fires when the file is closed, which is after ``stopProducing`` or at the end. ``pace`` bounds the bytes a
    second.
    """

    def __init__(
        self, executor: Executor, descriptor: int, offset: int, size: int, pace: TokenBucket | None = None
    ) -> None:
        self._pace = pace
        self.length = size - offset
        self.flowing: Callable[[], object] = lambda: None
        self.sent: Callable[[], object] = lambda: None
        self.done: Deferred[None] = Deferred()
        self._executor = executor
        self._descriptor = descriptor
        self._position = offset
        self._end = size
        self._writer = BodyWriter()
        self._written: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        written = self._written = Deferred(lambda _: self.stopProducing())
        Deferred.fromCoroutine(self._copy(consumer)).addErrback(self._failed).addBoth(self._close)
        return written

    def pauseProducing(self) -> None:
        self._writer.pauseProducing()

    def resumeProducing(self) -> None:
        self._writer.resumeProducing()

    def stopProducing(self) -> None:
        self._writer.stopProducing()
        if self._written is None:
            self._written = Deferred()
            self._close(None)

    async def _copy(self, consumer: IConsumer) -> None:
        while self._position < self._end:
            size = min(PIECE if self._pace is None else self._pace.piece(PIECE), self._end - self._position)
            piece = await self._executor.run(partial(os.pread, self._descriptor, size, self._position))
            if not piece:
                raise BadUpload("the file became shorter while it was sent")
            if self._pace is not None:
                await self._pace.take(len(piece))
            if not await self._writer.ready():
                return
            self._position += len(piece)
            self.flowing()
            consumer.write(piece)
        if await self._writer.ready():
            self.sent()
            self._tell(None)

    def _failed(self, failure: Failure) -> None:
        self._tell(failure)

    def _tell(self, result: Failure | None) -> None:
        if self._written is not None and not self._written.called:
            self._written.callback(result)

    def _close(self, _result: object) -> None:
        os.close(self._descriptor)
        self.done.callback(None)


@define(eq=False)
class PacedBody:
    """The pieces of a body, which come as fast as ``downloading`` allows: its source waits meanwhile."""

    _reader: BodyReader
    _downloading: TokenBucket
    _watch: StallWatch

    def __aiter__(self) -> PacedBody:
        return self

    async def __anext__(self) -> list[bytes]:
        batch = await anext(self._reader)
        left = sum(map(len, batch))
        while left:
            piece = self._downloading.piece(left)
            await self._downloading.take(piece)
            self._watch.progress()  # it is held up here, and not by the other end
            left -= piece
        return batch


class BodyReceiver(Protocol):
    """The taker of an answer's body; ``high`` returns above how many waiting bytes its source rests."""

    def __init__(self, watch: StallWatch, high: Callable[[], int]) -> None:
        self._watch = watch
        self._over = False
        self.reader = BodyReader(lambda: cast(Source, self.transport) if self.transport is not None else None, high)

    def dataReceived(self, data: bytes) -> None:
        self._watch.progress()
        self.reader.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        if reason.check(ResponseDone):
            self.reader.end()
        else:
            self.reader.fail(cast(Exception, reason.value))

    def cut(self) -> None:
        """End the connection, unless the body has come to its end."""
        if not self._over and self.transport is not None:
            self.transport.loseConnection()
