"""A producer that rests while its consumer has enough, and while a bucket says that enough came for now."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from buildtool.concurrency.token_bucket import TokenBucket


@implementer(IPushProducer)
@define(eq=False)
class PacedFlow:
    """The producer that a consumer has in the place of ``source``. ``ended`` is set once that has nothing more."""

    source: IPushProducer
    bucket: TokenBucket
    ended: bool = False
    _full: bool = False
    _owed: int = 0  # payments that are not made yet

    def passed(self, amount: int) -> None:
        """Take what the source gave from the bucket; where that has not as much, the source rests until it has."""
        paying = Deferred.fromCoroutine(self.bucket.take(amount))
        if not paying.called:
            self._owed += 1
            self.source.pauseProducing()
            paying.addCallback(lambda _: self._paid())

    def _paid(self) -> None:
        self._owed -= 1
        self._go_on()

    def _go_on(self) -> None:
        if not (self._full or self._owed or self.ended):
            self.source.resumeProducing()

    def pauseProducing(self) -> None:
        self._full = True
        self.source.pauseProducing()

    def resumeProducing(self) -> None:
        self._full = False
        self._go_on()

    def stopProducing(self) -> None:
        self.ended = True
        self.source.stopProducing()
