"""Endpoints: whatever `domain.hosts` takes for a machine can be connected to, or is told as not known."""

from typing import cast

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.endpoints import TCP6ServerEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import URI

from buildtool.adapters.http.client import SiteEndpoints
from buildtool.adapters.network.endpoints import machine_at
from buildtool.errors import Unavailable
from buildtool.model.addresses import in_url, valid_host
from tests.support.ports import full_port


class Reaching(TestCase):
    timeout = 20

    async def test_a_name_with_an_underscore_is_looked_up_as_any_other(self) -> None:
        from twisted.internet import reactor

        for host in ("farm_one.invalid", "bücher.invalid"):
            with self.assertRaises(DNSLookupError):
                await machine_at(reactor, valid_host(host, ""), 1).connect(Factory.forProtocol(Protocol))

    async def test_an_ipv6_address_is_reached_as_it_stands_and_from_a_url(self) -> None:
        from twisted.internet import reactor

        try:
            port = await TCP6ServerEndpoint(reactor, 0, interface="::1").listen(Factory.forProtocol(Protocol))
        except OSError:
            self.skipTest("this machine has no IPv6 on loopback")
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        host = valid_host("[::1]", "")
        for endpoint in (
            machine_at(reactor, host, number),
            SiteEndpoints(reactor, 5.0).endpointForURI(URI.fromBytes(f"http://{in_url(host)}:{number}/x".encode())),
        ):
            protocol = cast(Protocol, await endpoint.connect(Factory.forProtocol(Protocol)))
            ITCPTransport(protocol.transport).abortConnection()

    async def test_connecting_that_is_called_off_or_takes_too_long_is_told_as_that_whatever_it_was_at(self) -> None:
        """It looks up a name first, even that of an address, and then waits for whoever listens."""
        from twisted.internet import reactor

        with full_port() as number:
            for turns in range(10):
                connecting = machine_at(reactor, "127.0.0.1", number).connect(Factory.forProtocol(Protocol))
                for _ in range(turns):
                    await deferLater(reactor, 0)
                connecting.cancel()
                with self.assertRaises(CancelledError):
                    await connecting
            for seconds in (0.0, 0.2):
                connecting = machine_at(reactor, "127.0.0.1", number).connect(Factory.forProtocol(Protocol))
                with self.assertRaises(TooLate):
                    await connecting.addTimeout(seconds, reactor)

    def test_a_name_that_no_certificate_has_is_refused_in_one_line_where_one_is_needed(self) -> None:
        from twisted.internet import reactor

        with self.assertRaisesRegex(Unavailable, "no certificate for a name like farm_one.example"):
            SiteEndpoints(reactor, 5.0).endpointForURI(URI.fromBytes(b"https://farm_one.example/x"))
