"""Several addresses of a metaserver: a dead one costs nothing but time, and the one that was good is asked first."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, cast

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.network.in_turn import InTurn, Way
from buildtool.errors import Unavailable
from buildtool.programs.startcompile.connecting import over_pb
from tests.fakes import FakeBuildServerService, FakeRequestService


def the_reactor() -> Any:
    """Return the reactor, as it is rather than as it is declared."""
    from twisted.internet import reactor

    return reactor


class Mute(Protocol):
    """A server that ends each connection, as something else than a metaserver may."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


@implementer(IHostResolution)
@frozen
class Asked:
    """A question that was answered at once."""

    name: str

    def cancel(self) -> None:
        """Do nothing: it was answered."""


@implementer(IHostnameResolver)
class BothKinds:
    """A resolver to which each name has an address of IPv6 and one of IPv4 on this machine."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        asked = Asked(hostName)
        resolutionReceiver.resolutionBegan(asked)
        resolutionReceiver.addressResolved(IPv6Address("TCP", "::1", portNumber))
        resolutionReceiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        resolutionReceiver.resolutionComplete()
        return asked


class InTurnTests(TestCase):
    timeout = 20

    def _listening(self, factory: Factory, interface: str = "127.0.0.1") -> int:
        made = the_reactor().listenTCP(0, factory, interface=interface)
        self.addCleanup(made.stopListening)
        return int(made.getHost().port)

    def _metaserver(self, interface: str = "127.0.0.1") -> int:
        from twisted.internet import reactor

        gateway = Gateway(IReactorTime(reactor))
        return self._listening(
            gateway.factory(FakeRequestService().handlers, FakeBuildServerService().handlers), interface
        )

    def _dead(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def _ways(self, *ports: int, host: str = "127.0.0.1") -> InTurn:
        from twisted.internet import reactor

        return InTurn(tuple(Way(f"farm:{port}", machine_at(reactor, host, port)) for port in ports))

    async def _greet(self, ways: InTurn) -> Session:
        from twisted.internet import reactor

        session = await greet(ways, ways.where, "requester", IReactorTime(reactor))
        ended = session.closed()
        self.addCleanup(lambda: ended)
        self.addCleanup(session.close)
        return session

    async def test_a_dead_address_and_one_that_is_no_metaserver_are_passed_over(self) -> None:
        dead, other, good = self._dead(), self._listening(Factory.forProtocol(Mute)), self._metaserver()
        ways = self._ways(dead, other, good)
        session = await self._greet(ways)
        self.assertEqual(session.where, f"farm:{good}")
        self.assertEqual([one.where for one in ways.order()], [f"farm:{one}" for one in (good, dead, other)])
        again = await self._greet(ways)
        self.assertEqual(again.where, f"farm:{good}")

    async def test_where_none_is_good_each_is_told(self) -> None:
        dead, other = self._dead(), self._listening(Factory.forProtocol(Mute))
        with self.assertRaisesRegex(Unavailable, f"farm:{dead}: nothing listens there.*farm:{other} is not a"):
            await self._greet(self._ways(dead, other))

    async def test_one_that_is_being_started_is_waited_for_at_several_addresses_too(self) -> None:
        from twisted.internet import reactor

        dead, starting = self._dead(), self._dead()
        ways = self._ways(dead, starting)
        connecting = Deferred.fromCoroutine(over_pb(ways, ways.where, IReactorTime(reactor))())
        gateway = Gateway(IReactorTime(reactor))
        factory = gateway.factory(FakeRequestService().handlers, FakeBuildServerService().handlers)

        def start() -> None:
            made = the_reactor().listenTCP(starting, factory, interface="127.0.0.1")
            self.addCleanup(made.stopListening)

        IReactorTime(reactor).callLater(0.3, start)
        session = await connecting
        ended = session.closed()
        self.addCleanup(lambda: ended)
        session.close()
        self.assertIsInstance(session, Session)
        self.assertEqual(cast(Session, session).where, f"farm:{starting}")

    async def test_a_name_with_addresses_of_both_kinds_is_reached_by_the_one_that_answers(self) -> None:
        """RFC 8305: of a name that has one of IPv6 and one of IPv4, either may be dead."""
        before = the_reactor().installNameResolver(BothKinds())
        self.addCleanup(the_reactor().installNameResolver, before)
        for interface in ("127.0.0.1", "::1"):
            port = self._metaserver(interface)
            await self._greet(self._ways(port, host="farm.example.org"))
