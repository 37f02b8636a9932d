"""The bound on what a server sends before the body of its answer: Twisted's client would keep headers without end."""

# What is wrapped carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

HEAD_LIMIT = 256 * 1024
"""Most bytes of the head of an answer, with what interim answers come before it."""

_ENDS = (b"\r\n\r\n", b"\n\n")


class EndlessHead(ConnectionClosed):
    """The head of an answer has no end."""

    def __str__(self) -> str:
        return f"its answer has a head of more than {HEAD_LIMIT // 1024} KiB"


class HeadLimit(ProtocolWrapper):
    """A connection that is cut off where the head of an answer has no end; each request begins a new one."""

    _size = 0
    _tail = b""
    _over = False
    _cut = False

    def dataReceived(self, data: bytes) -> None:
        """Deliver what came, unless it is too much of a head."""
        if not self._over:
            seen = self._tail + data
            self._over = any(end in seen for end in _ENDS)
            self._size, self._tail = self._size + len(data), seen[-3:]
            if self._size > HEAD_LIMIT and not self._over:
                self._cut = True
                cast(ITCPTransport, self.transport).abortConnection()
                return
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report why the connection has ended."""
        super().connectionLost(Failure(EndlessHead()) if self._cut else reason)

    def write(self, data: bytes) -> None:
        """Send what is of a request."""
        self._asked()
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send what is of a request."""
        self._asked()
        super().writeSequence(data)

    def _asked(self) -> None:
        if self._over:
            self._size, self._tail, self._over = 0, b"", False


class _Limiting(WrappingFactory):
    protocol = HeadLimit
    noisy = False


@implementer(IStreamClientEndpoint)
class HeadLimited:
    """An endpoint whose connections have a ``HeadLimit``."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and return the protocol itself, which writes to what limits it."""

        def inner(wrapper: IProtocol) -> IProtocol:
            found: IProtocol = cast(HeadLimit, wrapper).wrappedProtocol
            return found

        connecting: Deferred[IProtocol] = self._endpoint.connect(_Limiting(protocolFactory))
        return connecting.addCallback(inner)
