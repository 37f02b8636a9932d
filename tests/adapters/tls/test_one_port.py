"""One port that speaks TLS: ALPN's name says what is spoken, with real sockets and OpenSSL's own client."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from buildtool.adapters.network.slices import SLICE
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.certificates import (
    Identified,
    client_certificate,
    cross_signed,
    key_id,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.adapters.tls.contexts import ANY_HTTP, ClientTls, ServerTls
from buildtool.adapters.tls.one_port import ALERT, CAME_TO_NOTHING, DIALECT, PAUSE, OnePort, listening
from buildtool.adapters.tls.words import CONTROL
from buildtool.concurrency.asker import Asker
from buildtool.errors import LimitReached
from tests.adapters.control.wires import turn
from tests.support import logs

HOUR = 3600.0


class Speaks(Protocol):
    """A server that speaks first: its own name, and who is there."""

    def connectionMade(self) -> None:
        peer = self.transport.getPeerCertificate()  # type: ignore[union-attr]
        who = key_id(peer.to_cryptography()) if peer is not None else "nobody"
        self.transport.write(f"{self.factory.name} {who}".encode())  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class Speaking(Factory):
    protocol = Speaks

    def __init__(self, name: str) -> None:
        self.name = name


class Listens(Protocol):
    """A client that collects what comes until the end."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(SSL.Error):
            self.ended.errback(reason)
        else:
            self.ended.callback(self.heard)


class Takes:
    """Takes the whole slice of a turn."""

    asker = Asker()

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def look(self, _enough: Callable[[], bool]) -> bool:
        self.clock.rightNow += SLICE
        return False


def first_message(tls: ClientTls) -> bytes:
    """Return what a client sends first."""
    connection = tls.clientConnectionForTLS(Protocol())  # type: ignore[arg-type] # it is not looked at
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65_536)


class OnePortTests(TestCase):
    timeout = 20

    async def _listen(self, tls: ServerTls) -> int:
        from twisted.internet import reactor

        clock = IReactorTime(reactor)
        self.port = OnePort({CONTROL: Speaking("control"), ANY_HTTP: Speaking("http")}, clock, ViolationLog(clock))
        made = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(listening(tls, self.port))
        self.addCleanup(made.stopListening)
        return int(made.getHost().port)

    async def _ask(self, number: int, tls: ClientTls | None, says: bytes = b"GET / HTTP/1.1\r\n\r\n") -> bytes:
        from twisted.internet import reactor

        endpoint: Any = HostnameEndpoint(reactor, "127.0.0.1", number)
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)
        listens = Listens()
        factory = Factory.forProtocol(lambda: listens)
        protocol = await endpoint.connect(factory)
        if tls is None:
            protocol.transport.write(says)
        return await listens.ended

    def setUp(self) -> None:
        now = time.time()
        self.authority = new_authority("farm", now)
        key = new_key()
        self.shown = Identified(key, server_certificate(self.authority, key.public_key(), ["127.0.0.1"], now))
        self.root = self.authority.certificate
        self.tls = ServerTls(self.shown, [self.root], [self.root])

    def _client(self, authority: Identified, now: float, life: float = HOUR) -> Identified:
        key = new_key()
        return Identified(key, client_certificate(authority, key.public_key(), "anna", now, life))

    async def test_a_peer_that_names_the_control_protocol_gets_it_and_any_other_gets_http(self) -> None:
        number = await self._listen(self.tls)
        self.assertEqual(await self._ask(number, ClientTls([self.root])), b"control nobody")
        self.assertEqual(await self._ask(number, ClientTls([self.root], protocol=ANY_HTTP)), b"http nobody")

    async def test_a_handshake_that_is_too_many_for_its_network_is_not_begun(self) -> None:
        number = await self._listen(self.tls)
        begun: list[str] = []

        def begins(network: str) -> None:
            begun.append(network)
            if len(begun) > 1:
                raise LimitReached("the limit of 1 handshakes a minute is reached: try again in 60 s", 60.0)

        self.port.begins = begins
        self.assertEqual(await self._ask(number, ClientTls([self.root])), b"control nobody")
        self.assertEqual(await self._ask(number, ClientTls([self.root])), b"")
        self.assertEqual(begun, ["127.0.0.1"] * 2)
        self.assertEqual(len(self.port.beginning), 0)

    async def test_a_peer_that_names_only_another_protocol_is_refused(self) -> None:
        number = await self._listen(self.tls)
        with self.assertRaises(SSL.Error):
            await self._ask(number, ClientTls([self.root], protocol=b"h2"))
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_the_key_of_a_client_is_known_whatever_its_certificate(self) -> None:
        number = await self._listen(self.tls)
        anna = self._client(self.authority, time.time())
        self.assertEqual(await self._ask(number, ClientTls([self.root], anna)), f"control {key_id(anna.key)}".encode())

    async def test_an_expired_certificate_of_a_client_passes_and_one_of_another_farm_does_not(self) -> None:
        number = await self._listen(self.tls)
        late = self._client(self.authority, time.time() - 2 * HOUR)
        self.assertEqual(await self._ask(number, ClientTls([self.root], late)), f"control {key_id(late.key)}".encode())
        strange = self._client(new_authority("farm", time.time()), time.time())
        with self.assertRaises(SSL.Error):
            await self._ask(number, ClientTls([self.root], strange))

    async def test_a_certificate_whose_time_has_not_come_and_a_server_s_own_do_not_pass_as_a_client_s(self) -> None:
        number = await self._listen(self.tls)
        for wrong in (self._client(self.authority, time.time() + 2 * HOUR), self.shown):
            with self.assertRaises(SSL.Error):
                await self._ask(number, ClientTls([self.root], wrong))

    async def test_a_client_does_not_believe_another_authority_nor_a_client_that_plays_the_server(self) -> None:
        number = await self._listen(self.tls)
        with self.assertRaises(SSL.Error):
            await self._ask(number, ClientTls([new_authority("farm", time.time()).certificate]))
        self.tls.take(self._client(self.authority, time.time()), [self.root], [self.root])
        with self.assertRaises(SSL.Error):
            await self._ask(number, ClientTls([self.root]))

    async def test_one_whose_clock_is_wrong_is_let_through_where_it_says_so(self) -> None:
        key = new_key()
        for when in (time.time() + 2 * HOUR, time.time() - 2 * HOUR):
            certificate = server_certificate(self.authority, key.public_key(), ["127.0.0.1"], when, HOUR)
            number = await self._listen(ServerTls(Identified(key, certificate), [self.root], [self.root]))
            with self.assertRaises(SSL.Error):
                await self._ask(number, ClientTls([self.root]))
            self.assertEqual(await self._ask(number, ClientTls([self.root], any_time=True)), b"control nobody")

    async def test_who_believes_an_old_authority_believes_the_new_one_that_it_signed(self) -> None:
        now = time.time()
        new, key = new_authority("farm anew", now), new_key()
        shown = Identified(key, server_certificate(new, key.public_key(), [], now))
        bridge = cross_signed(new.certificate, self.authority, now, HOUR)
        number = await self._listen(ServerTls(shown, [bridge, new.certificate], [self.root, new.certificate]))
        for believed in (self.root, new.certificate):
            for authority in (self.authority, new):
                anna = self._client(authority, now)
                told = await self._ask(number, ClientTls([believed], anna))
                self.assertEqual(told, f"control {key_id(anna.key)}".encode())

    async def test_another_certificate_is_shown_from_the_next_connection_on(self) -> None:
        number = await self._listen(self.tls)
        other = new_authority("other farm", time.time())
        key = new_key()
        shown = Identified(key, server_certificate(other, key.public_key(), [], time.time()))
        self.tls.take(shown, [other.certificate], [other.certificate])
        self.assertEqual(await self._ask(number, ClientTls([other.certificate])), b"control nobody")

    async def test_a_peer_that_speaks_no_tls_is_told_so_in_one_line(self) -> None:
        number = await self._listen(self.tls)
        self.assertIn(b"this port speaks TLS: use https://", await self._ask(number, None))
        self.assertEqual(len(self.port.beginning), 0)

    async def test_a_peer_that_waits_for_the_server_to_speak_is_told_within_seconds_that_tls_is_spoken(self) -> None:
        number, began = await self._listen(self.tls), time.monotonic()
        self.assertEqual(await self._ask(number, None, says=b""), ALERT)
        self.assertTrue(1.5 < time.monotonic() - began < 5)
        self.assertEqual(len(self.port.beginning), 0)

    def test_a_client_of_perspective_broker_that_speaks_first_is_told_so_at_once(self) -> None:
        clock = Clock()
        factory = listening(self.tls, OnePort({ANY_HTTP: Speaking("http")}, clock, ViolationLog(clock)))
        made, there = factory.buildProtocol(None), StringTransport()
        made.makeConnection(there)
        made.dataReceived(DIALECT + b"\x82pb")
        clock.advance(0)
        self.assertEqual((there.value(), there.disconnecting), (ALERT, True))

    def test_who_spoke_while_the_program_was_busy_is_not_taken_for_silent(self) -> None:
        clock = Clock()
        port = OnePort({ANY_HTTP: Speaking("http")}, clock, ViolationLog(clock))
        factory, there = listening(self.tls, port), StringTransport()
        made = factory.buildProtocol(None)
        made.makeConnection(there)
        clock.advance(2.5)  # one long turn: what arrived meanwhile is read after it
        made.dataReceived(b"\x16\x03\x01")
        clock.advance(2)
        self.assertEqual((there.value(), there.disconnecting), (b"", False))
        clock.advance(10)
        self.assertTrue(there.disconnected or there.disconnecting)

    def test_who_only_looks_whether_the_port_is_open_is_no_line_in_the_log(self) -> None:
        clock = Clock()
        factory = listening(self.tls, OnePort({ANY_HTTP: Speaking("http")}, clock, ViolationLog(clock)))
        with logs.listening() as said:
            for first in (b"", b"GET / HTTP/1.0\r\n\r\n"):
                self.assertEqual(said, [])
                made = factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
                made.makeConnection(StringTransport())
                made.dataReceived(first) if first else None
                made.connectionLost(Failure(ConnectionDone()))
        self.assertIn("ended before it began", said[0])

    def test_handshakes_are_made_in_slices_and_strangers_take_none_of_the_time_of_those_who_are_known(self) -> None:
        clock = Clock()

        class Slow(ServerTls):
            def context(self, named: Iterable[bytes]) -> SSL.Context:
                clock.rightNow += 0.3 * SLICE if named else 0.0
                return super().context(named)

        port = OnePort({ANY_HTTP: Speaking("http")}, clock, ViolationLog(clock), met={"10.0.0.99"})
        factory = listening(Slow(self.shown, [self.root], [self.root]), port)

        def says_hello(address: str) -> tuple[Protocol, StringTransport]:
            there = StringTransport()
            made = factory.buildProtocol(IPv4Address("TCP", address, 1))
            made.makeConnection(there)
            made.dataReceived(first_message(ClientTls([self.root], protocol=ANY_HTTP)))
            return made, there

        def crowd() -> list[StringTransport]:
            return [says_hello(f"10.{each}.0.1")[1] for each in range(12)]

        def answered(strangers: list[StringTransport]) -> int:
            return sum(bool(one.value()) for one in strangers)

        strangers = crowd()
        self.assertEqual(answered(strangers), 4)
        self.assertEqual([one.producerState for one in strangers[4:]], ["paused"] * 8)
        self.assertTrue(says_hello("10.0.0.99")[1].value())
        turn(clock)
        self.assertEqual(answered(strangers), 8)
        turn(clock)
        self.assertTrue(all(one.value() and one.producerState == "producing" for one in strangers))
        turn(clock)

        for _ in range(int(CAME_TO_NOTHING.at_once)):  # an attack
            port.ended("10.1.2.3")
        strangers = crowd()
        for _ in range(8):
            turn(clock)
        self.assertEqual(answered(strangers), 4)  # in what was left of a turn
        self.assertTrue(says_hello("10.0.0.99")[1].value())
        clock.pump([2 * PAUSE] * 12)
        self.assertEqual(answered(strangers), 12)
        clock.advance(CAME_TO_NOTHING.at_once / CAME_TO_NOTHING.per_second)  # over
        strangers = crowd()
        turn(clock)
        self.assertGreater(answered(strangers), 3)

    def test_a_peer_that_has_gone_before_its_turn_takes_none(self) -> None:
        clock = Clock()
        port = OnePort({ANY_HTTP: Speaking("http")}, clock, ViolationLog(clock))
        port.strangers.ask(Takes(clock), ahead=True)
        there = StringTransport()
        made = listening(self.tls, port).buildProtocol(None)
        made.makeConnection(there)
        made.dataReceived(first_message(ClientTls([self.root], protocol=ANY_HTTP)))
        made.connectionLost(Failure(ConnectionDone()))
        farewell = there.value()
        clock.advance(0)
        self.assertEqual(there.value(), farewell)
        self.assertEqual(len(port.beginning), 0)

    def test_a_certificate_of_another_key_is_not_taken(self) -> None:
        with self.assertRaisesRegex(ValueError, "not of this private key"):
            ServerTls(Identified(new_key(), self.shown.certificate), [])
