"""Tests of buildtool.adapters.network.head_limit."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.adapters.network.head_limit import HEAD_LIMIT, HeadLimited

HERE = IPv4Address("TCP", "127.0.0.1", 1)


class Hearing(Protocol):
    """A client that keeps what it hears."""

    def __init__(self) -> None:
        self.heard, self.ended = 0, ""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason.getErrorMessage()

    def dataReceived(self, data: bytes) -> None:
        self.heard += len(data)


@implementer(IStreamClientEndpoint)
class Connected:
    """An endpoint that is there at once; ``hear`` is what the other side sends."""

    def __init__(self) -> None:
        self.transport = StringTransport()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        made = protocolFactory.buildProtocol(HERE)
        assert made is not None
        self.hear, self.end = made.dataReceived, made.connectionLost
        made.makeConnection(self.transport)
        return succeed(made)


def connected() -> tuple[Connected, Hearing]:
    there, found = Connected(), list[IProtocol]()
    HeadLimited(there).connect(Factory.forProtocol(Hearing)).addCallback(found.append)
    assert isinstance(found[0], Hearing)
    return there, found[0]


def test_a_head_without_end_is_cut_off_whether_in_lines_or_in_one() -> None:
    for piece in (b"X-More: " + b"a" * 8_000 + b"\r\n", b"a" * 8_000):
        there, client = connected()
        for _ in range(HEAD_LIMIT // 8_000 + 2):
            if not there.transport.disconnecting:
                there.hear(piece)
        assert there.transport.disconnecting
        assert client.heard <= HEAD_LIMIT
        there.end(connectionDone)
        assert client.ended == "its answer has a head of more than 256 KiB"


@given(st.integers(1, 4), st.sampled_from([b"\r\n", b"\n"]), st.integers(1, 9))
def test_a_body_is_as_long_as_it_is_and_each_request_has_a_head_of_its_own(asks: int, end: bytes, step: int) -> None:
    there, client = connected()
    sent, body = 0, b"b" * (HEAD_LIMIT + 1)
    for _ in range(asks):
        assert client.transport is not None
        client.transport.writeSequence([b"GET / HTTP/1.1\r\n\r\n"])
        head = b"HTTP/1.1 200 OK" + end + b"A: " + b"a" * 100 + end + end
        for at in range(0, len(head), step):
            there.hear(head[at : at + step])
        there.hear(body)
        sent += len(head) + len(body)
    there.end(connectionDone)
    assert client.ended == "Connection was closed cleanly."
    assert (client.heard, there.transport.disconnecting) == (sent, False)
