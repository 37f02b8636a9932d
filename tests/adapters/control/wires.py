"""Connections to a Gateway in memory: real brokers and real bytes, pumped by hand under a Clock."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.spread import jelly, pb
from twisted.test import iosim

from buildtool.adapters.control.connection import Guarded
from buildtool.adapters.control.listener import GuardedFactory

T = TypeVar("T")


class RawClient(Protocol):
    """A peer that sends what it likes and keeps what it gets."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


@define(eq=False)
class Wires:
    """All connections to one factory. It is an endpoint: ``connect`` makes one more; ``address`` is who calls.

    ``tried`` says when somebody tried to connect.
    """

    clock: Clock
    server: GuardedFactory | None = None
    address: str = "192.0.2.1"
    pumps: list[iosim.IOPump] = field(factory=list)
    tried: list[float] = field(factory=list)

    def connect(self, factory: Any) -> Deferred[Any]:
        self.tried.append(self.clock.seconds())
        protocol = factory.buildProtocol(None)
        return succeed(protocol) if self.join(protocol) else fail(error.ConnectionRefusedError())

    def join(self, client: Any) -> bool:
        """Connect a protocol; False when the factory does not take it."""
        address = IPv4Address("TCP", self.address, 40_000 + len(self.pumps))
        server = self.server.buildProtocol(address) if self.server is not None else None
        if server is None:
            return False
        theirs = iosim.FakeTransport(client, isServer=False)
        ours = iosim.FakeTransport(server, isServer=True, peerAddress=address)
        self.pumps.append(iosim.connect(server, ours, client, theirs, clock=self.clock))
        return True

    def raw(self) -> RawClient:
        """Connect a peer that is none of ours."""
        client = RawClient()
        assert self.join(client)
        self.run()
        return client

    def run(self) -> None:
        """Let everything flow until nothing does."""
        moved = True
        while moved:
            moved = bool(sum(pump.flush() or 0 for pump in self.pumps))

    def advance(self, seconds: float) -> None:
        """Let time pass in small steps, and everything flow."""
        for _ in range(10):
            self.clock.advance(seconds / 10)
            self.run()

    def cut(self, index: int = -1) -> None:
        """Break a connection from outside."""
        pump = self.pumps[index]
        for transport in (pump.clientIO, pump.serverIO):
            transport.disconnecting = True
        self.run()

    def brokers(self) -> list[Guarded]:
        return [pump.server for pump in self.pumps]

    def result(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns once everything has flowed, or raise what it raises."""
        return self.outcome(Deferred.fromCoroutine(coroutine))

    def outcome(self, deferred: Deferred[T]) -> T:
        found: list[Any] = []
        deferred.addBoth(found.append)
        self.run()
        assert found, "nothing came of it yet"
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        result: T = found[0]
        return result


def banana(*commands: object) -> bytes:
    """Return the bytes of Perspective Broker for commands, dialect first: what a hostile peer may send."""
    written = bytearray()
    sender = pb.Broker(isClient=1)
    sender.transport = type("Sink", (), {"write": lambda _, data: written.extend(data)})()
    sender.setPrefixLimit(64)
    sender.currentDialect = None
    sender.sendEncoded(b"pb")
    sender.currentDialect = b"pb"
    for command in commands:
        sender.sendEncoded(command)
    return bytes(written)


def message(target: object, name: bytes, *arguments: object, request: object = 1) -> list[object]:
    """Return a call as Perspective Broker has it, for ``banana``."""
    sent = jelly.jelly(tuple(arguments), jelly.globalSecurity)
    return [b"message", request, target, name, 1, sent, [b"dictionary"]]


def turn(clock: Clock) -> None:
    """Do what is due now, and not what comes of it: one turn of a reactor, where ``Clock.advance`` takes several."""
    due = [call for call in clock.calls if call.getTime() <= clock.seconds()]
    clock.calls = [call for call in clock.calls if call not in due]
    for call in due:
        call.called = 1
        call.func(*call.args, **call.kw)
