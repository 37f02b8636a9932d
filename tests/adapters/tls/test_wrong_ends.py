"""One side speaks TLS and the other does not, or something else by it: one clear line, soon, and nothing hangs."""

from __future__ import annotations

import time
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from zope.interface import implementer

from buildtool.adapters.control.client import greet
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.http.client import HttpClient, HttpTimeouts
from buildtool.adapters.http.routes import HttpLimits
from buildtool.adapters.http.server import StreamingSite
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.certificates import Identified, new_authority, new_key, server_certificate
from buildtool.adapters.tls.contexts import ANY_HTTP, ClientTls, ServerTls, named_connection
from buildtool.adapters.tls.one_port import OnePort, listening
from buildtool.adapters.tls.words import CONTROL
from buildtool.errors import Unavailable
from buildtool.programs.webserver.site import PagesSite

SOON = 5.0
"""Seconds within which the line has to be there, on a machine that does much else."""


CLOSES = b"\x15\x03\x03\x00\x02\x01\x00"
"""The alert with which TLS ends, as a record."""


class SaysGoodbye(Protocol):
    """One that ends TLS in the middle of the handshake, as soon as it hears anything."""

    def dataReceived(self, _data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(CLOSES)


class Ends(Protocol):
    """One that says hello, and with the first answer that it ends TLS; ``said`` fires with all that came."""

    def __init__(self, hello: bytes, said: Deferred[bytes]) -> None:
        self.hello, self.said, self.came = hello, said, b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.hello)

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        if not self.came:
            self.transport.write(CLOSES)
        self.came += data

    def connectionLost(self, _reason: Failure = connectionDone) -> None:
        self.said.callback(self.came)


class Silent(Protocol):
    """One that says nothing, whatever it hears."""


@implementer(IOpenSSLServerConnectionCreator)
class NoNames:
    """TLS as most sites speak it: what a client names in ALPN counts for nothing."""

    def __init__(self, shown: Identified) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.use_certificate(shown.certificate)
        self.context.use_privatekey(shown.key)
        self.named: list[bytes | None] = []
        self.context.set_tlsext_servername_callback(lambda connection: self.named.append(connection.get_servername()))

    def serverConnectionForTLS(self, _protocol: object) -> SSL.Connection:
        return SSL.Connection(self.context, None)


class WrongEnds(TestCase):
    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.clock = IReactorTime(reactor)
        now = time.time()
        self.authority, key = new_authority("farm", now), new_key()
        self.shown = Identified(key, server_certificate(self.authority, key.public_key(), ["localhost"], now))
        self.root = self.authority.certificate

    async def _port(self, factory: Any) -> int:
        made = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(made.stopListening)
        return int(made.getHost().port)

    async def _refused(self, asking: Any) -> str:
        began = time.monotonic()
        with self.assertRaises(Unavailable) as told:
            await asking
        self.assertLess(time.monotonic() - began, SOON)
        self.flushLoggedErrors(SSL.Error)
        line = str(told.exception)
        self.assertNotIn("\n", line)
        return line

    def _sites(self) -> tuple[StreamingSite, PagesSite]:
        """Both of our sites, which serve nothing."""
        routes: Any = None
        return StreamingSite(self.clock, routes, HttpLimits(linger=0.5)), PagesSite(Resource())

    def _control(self, number: int) -> Any:
        tls = ClientTls([self.root], name="localhost")
        endpoint = wrapClientTLS(tls, HostnameEndpoint(self.reactor, "127.0.0.1", number))
        return greet(endpoint, "there", "requester", self.clock)

    async def test_our_tls_at_a_control_port_without_it(self) -> None:
        gateway = Gateway(self.clock)
        number = await self._port(gateway.factory({}, {}))
        self.assertIn("it does not speak TLS there", await self._refused(self._control(number)))
        gateway.close()

    async def test_our_tls_at_a_plain_site(self) -> None:
        for site in self._sites():
            number = await self._port(site)
            self.assertIn("it does not speak TLS there", await self._refused(self._control(number)))

    async def test_our_tls_at_a_site_that_agrees_on_no_protocol(self) -> None:
        site = NoNames(self.shown)
        number = await self._port(TLSMemoryBIOFactory(site, False, Factory.forProtocol(Silent)))
        self.assertIn("it speaks another protocol there", await self._refused(self._control(number)))
        self.assertEqual(site.named, [b"localhost"])

    async def test_our_tls_at_a_port_of_ours_that_serves_transfers_alone(self) -> None:
        port = OnePort({ANY_HTTP: Factory.forProtocol(Silent)}, self.clock, ViolationLog(self.clock))
        number = await self._port(listening(ServerTls(self.shown, [self.root]), port))
        self.assertIn("it speaks another protocol there", await self._refused(self._control(number)))

    async def test_our_tls_at_a_peer_that_ends_it_in_the_handshake(self) -> None:
        number = await self._port(Factory.forProtocol(SaysGoodbye))
        self.assertIn("the peer ended the handshake", await self._refused(self._control(number)))

    async def test_a_client_that_ends_tls_in_the_handshake_is_no_defect(self) -> None:
        port = OnePort({ANY_HTTP: Factory.forProtocol(Silent)}, self.clock, ViolationLog(self.clock))
        number = await self._port(listening(ServerTls(self.shown, [self.root]), port))
        client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        client.set_connect_state()
        with self.assertRaises(SSL.WantReadError):
            client.do_handshake()
        said: Deferred[bytes] = Deferred()
        await TCP4ClientEndpoint(self.reactor, "127.0.0.1", number).connect(
            Factory.forProtocol(lambda: Ends(client.bio_read(65_536), said))
        )
        self.assertTrue((await said).startswith(b"\x16\x03\x03"))  # its ServerHello, and then it went

    async def test_our_transfers_by_tls_at_a_port_without_it(self) -> None:
        number = await self._port(self._sites()[0])
        tls = ClientTls([self.root], protocol=ANY_HTTP)
        client = HttpClient(self.clock, HttpTimeouts(), lambda _host, _port: tls)

        async def asked() -> None:
            async with client.asked("GET", f"https://127.0.0.1:{number}/artifacts/x", {}):
                self.fail("it was answered")

        self.assertIn("it does not speak TLS there", await self._refused(asked()))
        await client.close()

    async def test_our_plain_transfers_at_a_port_with_tls(self) -> None:
        port = OnePort({CONTROL: Factory(), ANY_HTTP: Factory()}, self.clock, ViolationLog(self.clock))
        number = await self._port(listening(ServerTls(self.shown, [self.root]), port))
        client = HttpClient(self.clock, HttpTimeouts())

        async def asked() -> None:
            async with client.asked("GET", f"http://127.0.0.1:{number}/artifacts/x", {}) as answer:
                await answer.expect(200)

        line = ""
        try:
            await asked()
        except Exception as error:  # noqa: BLE001 - whichever it is, its text counts
            line = str(error)
        self.assertIn("this port speaks TLS", line)
        await client.close()

    def test_an_address_is_not_named_to_a_proxy(self) -> None:
        for host in ("192.0.2.1", "2001:db8::1", "fe80::1%eth0", ""):
            named_connection(SSL.Context(SSL.TLS_METHOD), host)
