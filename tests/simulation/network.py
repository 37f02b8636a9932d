"""A network in memory: streams between programs that are late, break, go silent or come to nothing at all.

Real protocols run over it unchanged. A connection keeps the order of its bytes, as TCP does; connections do not keep
the order among each other. What TCP itself would do about a peer that is gone (keep-alive) is done here too, later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.simulation.clock import Call, Life, VirtualTime
from tests.simulation.faults import Faults
from tests.simulation.keys import Certificate
from tests.simulation.trace import Trace

CONNECT_TIMEOUT = 30.0
Shown = Callable[[], Certificate | None]

KEEP_ALIVE = 120.0
"""Seconds after which the system gives a connection up whose other end is silent."""


@implementer(ITransport)
class End:
    """One end of a connection, as the transport of its protocol."""

    def __init__(self, wire: Wire, life: Life, here: str, there: str) -> None:
        self.wire = wire
        self.shown: Certificate | None = None
        self.life = life
        self.here = here
        self.there = there
        self.protocol: Any = None
        self.other: End = self
        self.open = False
        self.closing = False
        self.paused = False
        self._out: list[bytes] = []
        self._held: list[bytes] = []
        self._sending: Call | None = None
        self._sent_at = 0

    # --- what protocols call ------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self.open or self.closing or not data:
            return
        self._out.append(data)
        if self._sending is None:
            self._send()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self, _failure: object = None) -> None:
        if self.open and not self.closing:
            self.closing = True
            self.wire.time.call(0.0, self._finish)

    def abortConnection(self) -> None:
        if self.open:
            self.closing = True
            self._out.clear()
            self.wire.time.call(0.0, lambda: self.wire.end(self, error.ConnectionAborted(), error.ConnectionLost()))

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Everything is taken at once."""

    def unregisterProducer(self) -> None:
        """Everything is taken at once."""

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        if self._held:
            self.wire.time.call(0.0, self._take_held)

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self.there, 1)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self.here, 1)

    def getPeerCertificate(self) -> Certificate | None:
        return self.other.shown

    # --- how it goes --------------------------------------------------------------------------------------

    def _send(self) -> None:
        network = self.wire.network
        delay = network.delay(self.here, self.there)
        network.in_flight[self.there].append(network.stamp())
        self._sent_at = network.in_flight[self.there][-1]
        self._sending = self.wire.time.call(delay, self._arrive)

    def _arrive(self) -> None:
        self._sending = None
        network = self.wire.network
        network.arrived(self.there, self._sent_at)
        until = network.parted_until(self.here, self.there)
        if until > self.wire.time.now and not self.wire.silent:
            self._sending = self.wire.time.call(until - self.wire.time.now + 0.05, self._arrive_late)
            return
        self._deliver()

    def _arrive_late(self) -> None:
        self._sending = None
        self._deliver()

    def _deliver(self) -> None:
        data, self._out = b"".join(self._out), []
        other = self.other
        if self.wire.silent or not other.open or not data:
            return
        if other.life.ended:
            # Its system says that nobody is there, unless the whole machine is gone.
            self.wire.end(self, error.ConnectionLost(), None)
            return
        if other.life.frozen:
            self._out.insert(0, data)
            self._sending = self.wire.time.call(other.life.frozen, self._arrive_late)
            return
        other.take(data)

    def take(self, data: bytes) -> None:
        """Hand what arrived to the protocol."""
        if self.paused:
            self._held.append(data)
        else:
            self.wire.network.trace.bytes(data)
            self.protocol.dataReceived(data)

    def _take_held(self) -> None:
        if self.open and not self.paused and not self.life.ended:
            data, self._held = b"".join(self._held), []
            if data:
                self.take(data)

    def _finish(self) -> None:
        """Close in order: what was written arrives, and then the end of it."""
        if not self.open:
            return
        if self._sending is not None and self._sending.active():
            self.wire.time.call(0.01, self._finish)
            return
        self.wire.end(self, error.ConnectionDone(), error.ConnectionDone())

    def lose(self, why: Exception) -> None:
        """This end is no more; its protocol hears of it if its program still runs."""
        if self.open:
            self.open = False
            if self._sending is not None and self._sending.active():
                self._sending.cancel()
            if self.life.frozen:
                self.wire.time.call(self.life.frozen, lambda: self.protocol.connectionLost(Failure(why)), self.life)
            elif not self.life.ended:
                self.protocol.connectionLost(Failure(why))


class Wire:
    """One connection. ``silent``: from now on bytes vanish in both directions, and nobody is told."""

    def __init__(self, network: Network, caller: Life, callee: Life, here: str, there: str) -> None:
        self.network = network
        self.time = network.time
        self.silent = False
        self.near = End(self, caller, here, there)
        self.far = End(self, callee, there, here)
        self.near.other, self.far.other = self.far, self.near

    @property
    def open(self) -> bool:
        return self.near.open or self.far.open

    def end(self, first: End, why: Exception, other_hears: Exception | None) -> None:
        """``first`` is closed now, its other end when word of it has arrived, if it does."""
        first.lose(why)
        if other_hears is None:
            first.other.lose(error.ConnectionLost())
        elif not self.silent and first.other.open:
            until = self.network.parted_until(first.here, first.there)
            delay = self.network.delay(first.here, first.there) + max(0.0, until - self.time.now)
            heard = other_hears
            self.time.call(delay, lambda: None if self.silent else first.other.lose(heard))
        self.network.forget(self)

    def cut(self) -> None:
        """Break it: what is under way is lost, and both ends hear of it, one after the other."""
        self.silent = True
        self.near.lose(error.ConnectionLost())
        self.time.call(self.network.rng.uniform(0.0, 0.2), lambda: self.far.lose(error.ConnectionLost()))
        self.network.forget(self)

    def go_silent(self, *, for_ever: bool = False) -> None:
        """Half-open: no byte arrives any more. The systems notice after a while, unless ``for_ever``."""
        if self.silent:
            return
        self.silent = True
        self.network.quiet.append(self)
        if not for_ever:
            for end in (self.near, self.far):
                self.give_up(end, KEEP_ALIVE + self.network.rng.uniform(0.0, 60.0))

    def give_up(self, end: End, seconds: float) -> None:
        """Let the system of one end notice in so many seconds."""
        self.time.call(seconds, lambda: end.lose(error.TimeoutError()))


@define(eq=False)
class Host:
    """Who listens at a name, and in which life."""

    life: Life
    factory: Any


@define(eq=False)
class Network:
    """All connections between all programs."""

    time: VirtualTime
    rng: random.Random
    trace: Trace
    faults: Faults
    hosts: dict[str, Host] = field(factory=dict)
    wires: list[Wire] = field(factory=list)
    quiet: list[Wire] = field(factory=list)
    in_flight: dict[str, list[int]] = field(factory=dict)
    _parted: dict[frozenset[str], float] = field(factory=dict)
    _stamps: int = 0

    def listen(self, name: str, life: Life, factory: Any) -> None:
        """Take connections at ``name`` as long as ``life`` lasts."""
        self.hosts[name] = Host(life, factory)

    def node(self, name: str) -> None:
        self.in_flight.setdefault(name, [])

    def endpoint(self, life: Life, here: str, there: str, shown: Shown = lambda: None) -> Endpoint:
        """Return how the program ``here`` reaches ``there``, with the certificate whose key it proves to have."""
        self.node(here)
        self.node(there)
        return Endpoint(self, life, here, there, shown)

    def stamp(self) -> int:
        self._stamps += 1
        return self._stamps

    def delay(self, here: str, there: str) -> float:
        """Return how long the next bytes take, in seconds."""
        rng = self.rng
        if self.faults.happens("delay"):
            return rng.uniform(0.2, 12.0)
        if self.in_flight.get(there) and self.faults.happens("reorder", count=False):
            return rng.uniform(0.02, 0.5)
        return 0.0003 + 0.004 * rng.random()

    def arrived(self, there: str, stamp: int) -> None:
        """Count it when something that was sent later by another connection arrived before."""
        flying = self.in_flight[there]
        if flying.index(stamp) and self.faults.on:
            self.faults.count("reorder")
        flying.remove(stamp)

    # --- what goes wrong ------------------------------------------------------------------------------------

    def part(self, one: str, other: str, seconds: float) -> None:
        """Let nothing pass between two machines for a while; connections outlive that if it is short."""
        self._parted[frozenset((one, other))] = self.time.now + seconds
        for wire in self.between(one, other):
            if seconds > KEEP_ALIVE:
                wire.go_silent()

    def parted_until(self, one: str, other: str) -> float:
        return self._parted.get(frozenset((one, other)), 0.0)

    def heal(self) -> None:
        """End all partitions, and let all that is half-open be noticed."""
        self._parted.clear()
        for wire in self.quiet:
            for end in (wire.near, wire.far):
                if end.open:
                    wire.give_up(end, KEEP_ALIVE)
        self.quiet.clear()

    def between(self, one: str, other: str) -> list[Wire]:
        return [wire for wire in self.wires if {wire.near.here, wire.near.there} == {one, other}]

    def machine_gone(self, life: Life, *, silently: bool) -> None:
        """A program has ended without a word: its system closes what it had open, unless the machine went too."""
        for wire in list(self.wires):
            for end in (wire.near, wire.far):
                if end.life is life and end.open:
                    end.open = False
                    if silently:
                        wire.go_silent()
                    else:
                        wire.end(end, error.ConnectionDone(), error.ConnectionLost())

    def forget(self, wire: Wire) -> None:
        if wire in self.wires:
            self.wires.remove(wire)


@implementer(IStreamClientEndpoint)
class Endpoint:
    """How one program reaches another."""

    def __init__(self, network: Network, life: Life, here: str, there: str, shown: Shown) -> None:
        self._network = network
        self._shown = shown
        self._life = life
        self._here = here
        self._there = there

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        network = self._network
        connecting: Deferred[Any] = Deferred(lambda _: None)
        if network.parted_until(self._here, self._there) > network.time.now:
            network.time.call(CONNECT_TIMEOUT, lambda: _fail(connecting, error.TimeoutError()), self._life)
        else:
            delay = network.delay(self._here, self._there)
            network.time.call(delay, lambda: self._arrive(connecting, protocolFactory), self._life)
        return connecting

    def _arrive(self, connecting: Deferred[Any], factory: Any) -> None:
        network = self._network
        if connecting.called:
            return
        host = network.hosts.get(self._there)
        if host is not None and host.life.frozen and not host.life.ended:
            network.time.call(host.life.frozen, lambda: self._arrive(connecting, factory), self._life)
            return
        far = None
        if host is not None and not host.life.ended:
            far = host.factory.buildProtocol(IPv4Address("TCP", self._here, 1))
        if host is None or far is None:
            network.time.call(network.delay(self._there, self._here),
                              lambda: _fail(connecting, error.ConnectionRefusedError()), self._life)  # fmt: skip
            return
        wire = Wire(network, self._life, host.life, self._here, self._there)
        network.wires.append(wire)
        near = factory.buildProtocol(IPv4Address("TCP", self._there, 1))
        wire.near.protocol, wire.far.protocol = near, far
        wire.near.open = wire.far.open = True
        wire.near.shown = self._shown()
        # The far side speaks first; what it says arrives only once the near side is connected too.
        near.makeConnection(wire.near)
        far.makeConnection(wire.far)
        if not connecting.called:
            connecting.callback(near)


def _fail(connecting: Deferred[Any], why: Exception) -> None:
    if not connecting.called:
        connecting.errback(Failure(why))
