"""Several protocols on one port that speaks TLS: which one is spoken is agreed on in the handshake (ALPN).

Nothing of a protocol is made before the handshake is over: Perspective Broker's server speaks first. Until then a
connection has a place among those of its network and a few seconds. A handshake costs this side a millisecond or two:
so they are made in slices. Those from where a known key was shown before have their own; all others have as much until
too many of them come to nothing.

Whoever does not speak TLS at all is told in one line of plain HTTP, which people see in a browser and in what other
programs print.
"""

# Much of Twisted's TLS carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.adapters.network.connection_shares import ConnectionShares, NoRoom
from buildtool.adapters.network.endpoints import address_of, network_at
from buildtool.adapters.network.slices import SLICE, Slices
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.client_hello import named_protocols
from buildtool.adapters.tls.contexts import ANY_HTTP, PortTls, ServerTls
from buildtool.adapters.tls.words import ALERT_RECORD, SPOKEN
from buildtool.concurrency.asker import Asker
from buildtool.concurrency.rates import FairShares, RateBudget
from buildtool.errors import LimitReached

HANDSHAKE = 10.0
"""Seconds that a peer has for its handshake."""

SILENT = 1.0
"""Seconds after which a peer that has said nothing is looked at; at the second look it is told that TLS is spoken here.

Twice, since timers come first after a long turn of the reactor: what had arrived is read between the two looks.
"""

FAREWELL = 5.0
"""Seconds that a peer has to end TLS on its side once we have; OpenSSL would wait for that for ever."""

UNREAD = 60.0
"""Seconds after that for what was written and is not read yet."""

ATTACKED = 0.001
"""Seconds of each turn of the reactor for handshakes of those who are not known, while many of them come to nothing."""

PAUSE = 0.005
"""Seconds from there to the next turn of the reactor that has any for them."""

CAME_TO_NOTHING = RateBudget(at_once=100, per_second=20)
"""Connections of those who are not known that may end without a known key before they have only that much."""

MOST = 400
"""Connections that may be in the middle of a handshake."""

_RECORD = 22
"""The first byte of a handshake in TLS."""

_PLAIN = b"%s: use https://, or --use-tls\n" % SPOKEN
PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PLAIN), _PLAIN)
)


ALERT = bytes((ALERT_RECORD, 3, 3, 0, 2, 2, 40))
"""What a peer is told that waits for this side to speak first: a record of TLS that says that no handshake came."""


DIALECT = b"\2"
"""The first byte of what a client of Perspective Broker says first: the length of the word ``pb``."""


def anybody_may(_network: str) -> None:
    """Refuse no peer that begins."""


class OnePort(Factory):
    """A factory of connections that become one of ``spoken`` (by the name in ALPN) once their handshake is over."""

    noisy = False

    def __init__(
        self,
        spoken: Mapping[bytes, IProtocolFactory],
        clock: IReactorTime,
        complaints: ViolationLog,
        most: int = MOST,
        begins: Callable[[str], None] = anybody_may,
        met: Container[str] = (),
    ) -> None:
        """``begins`` is called with the network of a peer that begins a handshake, and raises LimitReached.

        From networks in ``met`` a known key was shown: strangers take none of their time.
        """
        self.spoken = spoken
        self.clock = clock
        self.complaints = complaints
        self.begins = begins
        self.met = met
        self.known, self.strangers = Slices(clock), Slices(clock)
        self._nothing = FairShares(CAME_TO_NOTHING)
        self.beginning: ConnectionShares[_Beginning] = ConnectionShares(most)

    def buildProtocol(self, addr: IAddress | None) -> _Beginning | None:
        """Return the connection's protocol, or None (which closes it) when there is no room for one more."""
        network, now = network_at(addr), self.clock.seconds()
        try:
            self.begins(network)
            other = self.beginning.make_room(network, now)
        except (NoRoom, LimitReached) as full:
            self.complaints.say(f"connection with {address_of(addr)} not taken: {full}")
            return None
        if other is not None:
            other.drop("it made room for somebody else")
        made = _Beginning(self, addr)
        self.beginning.arrived(made, network, now)
        return made

    def slices(self, network: str) -> Slices:
        """Return the share of time for handshakes that a network has a part in."""
        if network in self.met:
            return self.known
        quiet = self._nothing.has_room("", self.clock.seconds())
        self.strangers.length, self.strangers.pause = (SLICE, 0.0) if quiet else (ATTACKED, PAUSE)
        return self.strangers

    def ended(self, network: str) -> None:
        """Count a connection that has ended, where no known key was shown from its network."""
        now = self.clock.seconds()
        if network not in self.met and self._nothing.has_room("", now):
            self._nothing.take("", now)

    def doStart(self) -> None:
        """Start what is spoken."""
        for factory in self.spoken.values():
            factory.doStart()

    def doStop(self) -> None:
        """Stop what is spoken."""
        for factory in self.spoken.values():
            factory.doStop()


@implementer(IHandshakeListener)
class _Beginning(Protocol):
    """A connection whose handshake may not be over; afterwards all goes to the protocol that was agreed on."""

    transport: _PlainSpokenToo

    def __init__(self, port: OnePort, address: IAddress | None) -> None:
        self.factory = port
        self._port = port
        self._address = address
        self._spoken: IProtocol | None = None
        self._late: IDelayedCall | None = None
        self.asker = Asker(network_at(address), id(self))
        self.over = False

    def connectionMade(self) -> None:
        """Give the peer a few seconds."""
        self._late = self._port.clock.callLater(SILENT, self._look, SILENT)

    def _look(self, since: float) -> None:
        """Send a peer that says nothing at all what is spoken here; wait for one that has begun."""
        clock = self._port.clock
        if not self.transport.silent:
            late = f"made no TLS handshake within {HANDSHAKE:g} s"
            self._late = clock.callLater(HANDSHAKE - since, self.drop, late)
        elif since < 2 * SILENT:
            self._late = clock.callLater(SILENT, self._look, since + SILENT)
        else:
            self._leave()
            self._complain(f"said nothing within {since:g} s")
            self.transport.say_plainly(ALERT)

    def handshakeCompleted(self) -> None:
        """Make the protocol that was agreed on, and hand over to it."""
        self._leave()
        self.over = True
        name = self.transport.negotiatedProtocol or ANY_HTTP
        made = self._port.spoken[name].buildProtocol(self._address)  # type: ignore[arg-type]
        if made is None:
            self.transport.loseConnection()
            return
        self._spoken = made
        made.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Hand over what came."""
        if self._spoken is not None:
            self._spoken.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand over the end, or log once in a while why there was no beginning.

        A peer that says nothing and leaves only looks whether the port is open, as doctors and watchers do.
        """
        self._port.ended(self.asker.address)
        if self._spoken is not None:
            self._spoken.connectionLost(reason)
        elif self._leave() and not self.transport.silent:
            self._complain(reason.getErrorMessage())

    def drop(self, why: str) -> None:
        """End a connection that has not begun."""
        self._leave()
        self._complain(why)
        self.transport.abortConnection()

    def _leave(self) -> bool:
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._late = None
        return self._port.beginning.left(self)

    def _complain(self, why: str) -> None:
        self._port.complaints.say(f"connection with {address_of(self._address)} ended before it began: {why}")


class _PlainSpokenToo(TLSMemoryBIOProtocol):
    """TLS over a transport, for a peer that may not know that TLS is spoken here, and may not end it with us."""

    factory: _Listening

    silent = True
    """Whether nothing came at all."""
    _ending: IDelayedCall | None = None

    _hello: bytes | None = b""
    """What came of the first message; None once it has been looked at."""
    _needed = 0

    def __init__(self, factory: _Listening, spoken: _Beginning) -> None:
        super().__init__(factory, spoken)
        self._beginning = spoken
        self._came = b""
        self.asker = spoken.asker

    def dataReceived(self, data: bytes) -> None:
        """Decrypt, in its turn while the handshake is not over."""
        if self._beginning.over:
            super().dataReceived(data)
            return
        self.silent = False
        self._came += data
        if not self._port.slices(self.asker.address).ask(self, ahead=True):
            IPushProducer(
                self.transport
            ).pauseProducing()  # what comes meanwhile waits in the system, which has bounds for it

    def look(self, _enough: Callable[[], bool]) -> bool:
        """Go on with the handshake; return that nothing is left. A defect ends the connection, not its neighbours'."""
        came, self._came = self._came, b""
        if not self.connected:
            return False
        try:
            IPushProducer(self.transport).resumeProducing()
            self._go_on(came)
        except Exception:  # noqa: BLE001 - see above
            self._port.complaints.defect("a defect in a handshake", Failure())
            self.abortConnection()
        return False

    def _go_on(self, data: bytes) -> None:
        if self._hello is not None:
            if not self._hello and data[:1] != bytes((_RECORD,)):
                self.say_plainly(ALERT if data.startswith(DIALECT) else PLAIN)
                return
            self._hello += data
            named = named_protocols(self._hello) if len(self._hello) >= self._needed else self._needed
            if isinstance(named, int):
                self._needed = named
                return
            data, self._hello = self._hello, None
            self.getHandle().set_context(self.factory.shown.context(named))
        super().dataReceived(data)

    def say_plainly(self, words: bytes) -> None:
        """Send what is not encrypted, and end the connection."""
        if self.transport is not None:
            self.transport.write(words)
            self.transport.loseConnection()

    def loseConnection(self) -> None:
        """End TLS, and then the connection, whatever the peer does about it."""
        super().loseConnection()
        if self.connected and self._ending is None:
            self._ending = self._port.clock.callLater(FAREWELL, self._end)

    def _end(self) -> None:
        """End the connection once what was written is sent, or in a while."""
        if self.transport is not None:
            self._ending = self._port.clock.callLater(UNREAD, self.abortConnection)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Wait for nothing more."""
        if self._ending is not None and self._ending.active():
            self._ending.cancel()
        super().connectionLost(reason)

    @property
    def _port(self) -> OnePort:
        port: OnePort = self.factory.wrappedFactory
        return port


class _Listening(TLSMemoryBIOFactory):
    """What listens with TLS; ``shown`` says which certificate a client sees, ``spoken`` are the names for ALPN."""

    protocol = _PlainSpokenToo

    def __init__(self, shown: ServerTls, port: OnePort) -> None:
        super().__init__(PortTls(shown), isClient=False, wrappedFactory=port, clock=port.clock)
        self.shown, self.spoken = shown, tuple(port.spoken)

    def buildProtocol(self, addr: IAddress | None) -> _PlainSpokenToo | None:  # type: ignore[override] # a factory may
        """Return the connection's protocol, or None (which closes it) where the port takes no more."""
        spoken = self.wrappedFactory.buildProtocol(addr)
        return None if spoken is None else self.protocol(self, spoken)


def listening(tls: ServerTls, port: OnePort) -> TLSMemoryBIOFactory:
    """Return the factory to listen with on a port."""
    return _Listening(tls, port)
