"""Targets that are connections in memory, on a virtual clock: an input is a script of what the peer does.

A byte below 0xE0 sends as many of the bytes after it; 0xDF all that are left. 0xE0 to 0xEF let time pass, 2**N / 8
seconds; 0xF0 to 0xF7 send as many bytes as the next one says, a byte a second. 0xF8 to 0xFB end the peer's half of the
connection, 0xFC to 0xFF send the last bytes again, so many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from attrs import define, field
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.contexts import ANY_HTTP, ClientTls, ServerTls
from buildtool.adapters.tls.one_port import OnePort, listening
from buildtool.adapters.tls.peers import KeyHolders
from buildtool.adapters.tls.words import CONTROL
from buildtool.errors import Unauthorised
from buildtool.model.access.identities import Identity
from buildtool.model.principal import Principal
from buildtool.programs.webserver.site import PagesSite
from buildtool.web.access import EverythingSeen
from buildtool.web.app import WebApp, make_urls
from tests.fakes import FakeBuildServerService, FakeRequestService
from tests.fuzz.keys import authority, client, server
from tests.fuzz.target import Found, expect
from tests.support.memory import WallClock
from tests.web.fake_pages import NOW
from tests.web.farm import farm, logs
from tests.web.visitor import PUBLIC, TRANSFER

REST, HALF, AGAIN = 0xDF, 0xF8, 0xFC
WAIT, SLOW = 0xE0, 0xF0

PATIENCE = 700.0
"""Seconds after which no port waits any longer for whoever has said nothing that is worth waiting for."""

MOST_STEPS = 300
"""What one script may do, so that an input takes milliseconds."""

ADDRESS = IPv4Address("TCP", "192.0.2.7", 40_000)


def script(*parts: bytes | int) -> bytes:
    """Return a script that sends each text and does what each number says: what a corpus is made with."""
    made = bytearray()
    for part in parts:
        if isinstance(part, int):
            made.append(part)
            continue
        for at in range(0, len(part), REST - 1):
            piece = part[at : at + REST - 1]
            made += bytes((len(piece),)) + piece
    return bytes(made)


@implementer(ITCPTransport, IPushProducer)
@define(eq=False)
class Line:
    """A connection to a server's protocol: what it writes is kept, and it hears of its end as from a reactor."""

    clock: Clock
    protocol: Any = None
    written: list[bytes] = field(factory=list)
    ended: bool = False
    lost: bool = False
    disconnecting: bool = False
    paused: bool = False
    bufferSize: int = 2**16

    def begin(self, protocol: IProtocol) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def say(self, data: bytes) -> None:
        """Hand what the peer sent to the server, as a reactor would."""
        if data and not self.ended and not self.lost:
            self.protocol.dataReceived(data)

    def hang_up(self) -> None:
        """End the peer's half; the server hears so, and that is the end of the connection."""
        if not self.lost:
            self.ended = self.lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def write(self, data: bytes) -> None:
        expect(isinstance(data, bytes), "something that is no bytes was written")
        self.written.append(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.written += data

    def loseConnection(self, *_: object) -> None:
        if not self.ended:
            self.ended = self.disconnecting = True
            self.clock.callLater(0, self.hang_up)

    def abortConnection(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        if not streaming:
            producer.resumeProducing()  # type: ignore[attr-defined]

    def unregisterProducer(self) -> None:
        pass

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    stopConsuming = stopProducing

    def loseWriteConnection(self) -> None:
        pass

    def getPeer(self) -> IPv4Address:
        return ADDRESS

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 443)

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass


def _steps(data: bytes, line: Line) -> Iterator[float]:
    """Do what a script says; yield how much time passes after each step, in seconds."""
    at, last, most = 0, b"", MOST_STEPS
    while at < len(data) and not line.lost and (most := most - 1):
        said = data[at]
        at += 1
        if said < WAIT:
            last = data[at:] if said == REST else data[at : at + said]
            at += len(last)
            line.say(last)
            yield 0.0
        elif said < SLOW:
            yield 2 ** (said - WAIT) / 8
        elif said < HALF:
            many = data[at] if at < len(data) else 0
            for byte in data[at + 1 : at + 1 + many]:
                line.say(bytes((byte,)))
                yield 1.0
            at += 1 + many
        elif said < AGAIN:
            line.clock.callLater(0, line.hang_up)
            yield 0.0
        else:
            many = min(16 * (1 + said - AGAIN), most)
            most -= many - 1
            for _ in range(many):
                line.say(last)
                yield 0.0


def run_script(data: bytes, line: Line, speaks: Callable[[], bool] = lambda: False) -> None:
    """Run a script to its end, and wait until the server has let go of who says nothing more.

    ``speaks`` says that the peer is right to stay. Raises Found for a defect that was logged, a connection that stays
    and timers that are left.
    """
    defects: list[str] = []

    @implementer(ILogObserver)
    def heard(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            defects.append(failure.getTraceback())

    globalLogPublisher.addObserver(heard)
    try:
        for seconds in _steps(data, line):
            line.clock.advance(seconds)
        for _ in range(8):
            line.clock.advance(PATIENCE / 4)
        if not line.lost:
            expect(speaks(), "a connection stays although nothing comes over it any more")
            line.hang_up()
        line.clock.advance(1.0)
    finally:
        globalLogPublisher.removeObserver(heard)
    if defects:
        raise Found(defects[0])
    expect(not line.clock.getDelayedCalls(), f"timers are left: {line.clock.getDelayedCalls()[:3]}")


# --- the control port ---------------------------------------------------------------------------------------------


async def _nobody(_by: Principal, key: str) -> Identity:
    raise Unauthorised(f"this metaserver does not know the key {key[:16]}")


def control(data: bytes) -> None:
    """Talk to the control port, whose services are fakes: as anybody, or (first byte odd) as one without a key."""
    clock = Clock()
    closed = bool(data[:1] and data[0] % 2)
    how = {"identify": KeyHolders(_nobody, WallClock(NOW))} if closed else {}
    gateway = Gateway(clock, **how)  # type: ignore[arg-type]
    asked = FakeRequestService()
    factory = gateway.factory(asked.handlers, FakeBuildServerService().handlers)
    line = Line(clock)
    broker = factory.buildProtocol(ADDRESS)
    line.begin(broker)  # type: ignore[arg-type]
    run_script(data[1:], line, lambda: broker.waits)  # type: ignore[union-attr]
    expect(not closed or not asked.callers, "somebody without a key was served")
    gateway.close()
    expect(factory.memory == 0, "memory of a connection that has gone is still counted")


# --- TLS on the one port -------------------------------------------------------------------------------------------


class _Quiet(Protocol):
    """A server that does nothing with what it is told, but ends the connection when that is ``BYE``."""

    bye = False

    def dataReceived(self, data: bytes) -> None:
        if data == BYE:
            self.bye = True
            self.transport.loseConnection()  # type: ignore[union-attr]


BYE = b"bye"


def _port(clock: Clock, speaks: _Quiet) -> tuple[OnePort, Line]:
    quiet = Factory.forProtocol(lambda: speaks)
    port = OnePort({CONTROL: quiet, ANY_HTTP: quiet}, clock, ViolationLog(clock))
    root = authority().certificate
    line = Line(clock)
    line.begin(listening(ServerTls(server(), [root], [root]), port).buildProtocol(ADDRESS))
    return port, line


def tls_records(data: bytes) -> None:
    """Send a port that speaks TLS whatever bytes there are: nobody stays in the middle of a handshake."""
    clock = Clock()
    port, line = _port(clock, _Quiet())
    run_script(data, line)
    expect(len(port.beginning) == 0, "a connection that has gone still has a place")
    expect(sum(map(len, line.written)) < 64 * 1024, "much more was answered than was asked")


@cache
def _clients() -> tuple[ClientTls, ...]:
    root = authority().certificate
    return (
        ClientTls([root], any_time=True),
        ClientTls([root], client(), any_time=True),
        ClientTls([root], client(stranger=True), any_time=True),
        ClientTls([root], any_time=True, protocol=ANY_HTTP),
    )


def tls_handshakes(data: bytes) -> None:
    """Shake hands with a client of OpenSSL's whose flights are changed on the way.

    The first byte says which client, what its ALPN names are, and whether the last of what follows is encrypted. Then
    come which bytes of what it sends change (where, within 8 KiB, and how), and what is sent after that.
    """
    clock = Clock()
    speaks = _Quiet()
    port, line = _port(clock, speaks)
    first = data[0] if data else 0
    theirs = _clients()[first % 4].clientConnectionForTLS(None)  # type: ignore[arg-type]
    if first & 4:
        theirs.set_alpn_protos([data[1:9] or b"h2", b"buildtool/3" if first & 8 else b"x" * (1 + first)])
    theirs.set_connect_state()
    changes = {
        int.from_bytes(data[at : at + 2], "big") % 8192: data[at + 2] for at in range(9, min(len(data) - 2, 27), 3)
    }
    sent = 0
    for _ in range(4):
        try:
            theirs.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            break
        flight = bytearray(_flushed(theirs))
        for at, change in changes.items():
            if sent <= at < sent + len(flight):
                flight[at - sent] ^= change
        sent += len(flight)
        line.say(bytes(flight))
        clock.advance(0)
        for part in line.written:
            theirs.bio_write(part)
        line.written.clear()
    rest = data[27:]
    if first & 16 and rest:
        with suppress(SSL.Error):
            theirs.send(rest)
        line.say(_flushed(theirs))
        rest = b""
    run_script(rest, line, lambda: len(port.beginning) == 0 and not speaks.bye)
    expect(len(port.beginning) == 0, "a connection that has gone still has a place")


def _flushed(theirs: SSL.Connection) -> bytes:
    try:
        return theirs.bio_read(2**16)
    except SSL.Error:
        return b""


# --- pages --------------------------------------------------------------------------------------------------------


@cache
def _pages() -> WebApp:
    return WebApp(
        farm(), logs(), make_urls(PUBLIC, TRANSFER), WallClock(NOW), access=EverythingSeen(["testproject", "lua"])
    )


def pages(data: bytes) -> None:
    """Ask for pages: every answer is HTTP with the headers that all have, whatever was asked for."""
    clock = Clock()
    site = PagesSite(_pages().resource())
    site.reactor = clock
    line = Line(clock)
    line.begin(site.buildProtocol(ADDRESS))  # type: ignore[arg-type]
    run_script(data, line)
    expect(len(site.admitting) == 0, "a connection that has gone is still counted")
    said = b"".join(line.written)
    expect(not said or said.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ", b"<!DOCTYPE")), f"answered {said[:60]!r}")
    expect(b"Traceback" not in said and b" 500 " not in said[:20], "a defect was answered")
