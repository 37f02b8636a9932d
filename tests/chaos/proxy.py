"""A TCP proxy that delays, throttles, cuts and holds back what goes through it, as its weather and a seed say."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTCP, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

WINDOW = 256 * 1024
"""Bytes on their way in one direction, beyond which no more are read."""

FEW, MANY = 30.0, 100_000.0
"""Between how many bytes that have come back a connection may break."""


@frozen
class Weather:
    """What a connection may meet: delays of up to ``delay`` seconds one way, one of ``rates`` in bytes a second.

    One of ``cut`` connections breaks: half of them after up to ``life`` seconds, half when so many bytes, mostly few,
    have come back, the last of which do not arrive: that is how an answer is lost to something that was done.
    """

    delay: float = 0.0
    rates: tuple[float, ...] = (float("inf"),)
    cut: float = 0.0
    life: float = 1.0


CALM = Weather()
ROUGH = Weather(delay=0.12, rates=(96e3, 400e3, 2e6, float("inf")), cut=0.3, life=6.0)


class Proxy:
    """Listens on a port of its own and passes everything on to ``port`` of loopback."""

    def __init__(self, reactor: object, port: int, draw: random.Random) -> None:
        self.weather = CALM
        self._net = IReactorTCP(reactor)
        self.timers = IReactorTime(reactor)
        self._port = port
        self.draw = draw
        self._lines: set[Line] = set()
        self._listening: IListeningPort | None = None
        self.held = False

    def listen(self) -> int:
        """Begin, and return the port."""
        factory = _Making(lambda: Line(self).near)
        self._listening = self._net.listenTCP(0, factory, interface="127.0.0.1")
        return int(self._listening.getHost().port)  # type: ignore[attr-defined]

    def cut(self) -> None:
        """Break every connection, as a reset does."""
        for line in list(self._lines):
            line.abort()

    def hold(self) -> None:
        """Let nothing through, without breaking a connection: they stay open, and new ones are taken."""
        self.held = True

    def release(self) -> None:
        """End ``hold``: whatever was open meanwhile breaks."""
        self.held = False
        self.cut()

    def clear_up(self) -> None:
        """Let everything through from now on; connections that met bad weather go on in the good."""
        self.weather = CALM
        if self.held:
            self.release()
        for line in self._lines:
            line.relax()

    async def close(self) -> None:
        """Listen no more, and break every connection."""
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
        self.cut()

    def opened(self, line: Line) -> None:
        """A connection has come."""
        self._lines.add(line)
        endpoint = TCP4ClientEndpoint(self._net, "127.0.0.1", self._port, timeout=10)
        endpoint.connect(_Making(lambda: line.far)).addErrback(lambda _: line.abort())

    def closed(self, line: Line) -> None:
        """A connection has gone."""
        self._lines.discard(line)


class _Making(ServerFactory):
    """Makes ends of connections."""

    noisy = False

    def __init__(self, make: Callable[[], End]) -> None:
        self._make = make

    def buildProtocol(self, addr: object) -> End:
        return self._make()


class Line:
    """One connection through the proxy: its two ends, and what is on its way between them."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.near, self.far = End(self), End(self)
        weather, draw = proxy.weather, proxy.draw
        rate = draw.choice(weather.rates)
        self._flows = tuple(
            Flow(self, one, other, draw.random() * weather.delay, rate)
            for one, other in ((self.near, self.far), (self.far, self.near))
        )
        self.near.flow, self.far.flow = self._flows
        self._doom: IDelayedCall | None = None
        self._last = float("inf")
        if draw.random() < weather.cut / 2:
            self._doom = proxy.timers.callLater(draw.random() * weather.life, self.abort)
        elif draw.random() < weather.cut / 2:
            self._last = FEW * (MANY / FEW) ** draw.random()

    def made(self, end: End) -> None:
        """One end is connected."""
        if end is self.near:
            self.proxy.opened(self)
        for flow in self._flows:
            flow.arm()

    def came(self, end: End, size: int) -> bool:
        """Say whether what came at one end may go on: not when the connection breaks with it."""
        if end is self.far:
            self._last -= size
        if self._last < 0:
            self.abort()
        return self._last >= 0

    def lost(self, end: End) -> None:
        """One end is gone: the other follows when it has got everything."""
        end.flow.end()
        if not any(one.connected for one in (self.near, self.far)):
            self._over()

    def relax(self) -> None:
        """Delay and throttle no more, and do not break."""
        if self._doom is not None and self._doom.active():
            self._doom.cancel()
        self._last = float("inf")
        for flow in self._flows:
            flow.relax()

    def abort(self) -> None:
        """Break it."""
        self._over()
        for end in (self.near, self.far):
            end.abort()

    def _over(self) -> None:
        if self._doom is not None and self._doom.active():
            self._doom.cancel()
        for flow in self._flows:
            flow.stop()
        self.proxy.closed(self)


class End(Protocol):
    """One end of a connection."""

    flow: Flow
    transport: ITCPTransport | None

    def __init__(self, line: Line) -> None:
        self._line = line
        self._aborted = False

    def connectionMade(self) -> None:
        if self._aborted:
            self.abort()
            return
        assert self.transport is not None
        self.transport.setTcpNoDelay(True)
        self._line.made(self)

    def dataReceived(self, data: bytes) -> None:
        if self._line.came(self, len(data)):
            self.flow.take(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._line.lost(self)

    def abort(self) -> None:
        """Break this end, now or as soon as it is there."""
        self._aborted = True
        if self.transport is not None:
            self.transport.abortConnection()


class Flow:
    """Bytes on their way in one direction, late by ``delay`` and at most ``rate`` a second."""

    def __init__(self, line: Line, source: End, target: End, delay: float, rate: float) -> None:
        self._line = line
        self._source = source
        self._target = target
        self._delay = delay
        self._rate = rate
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._due = 0.0
        self._timer: IDelayedCall | None = None
        self._paused = False

    def take(self, data: bytes) -> None:
        """Take bytes from the source."""
        self._due = max(self._due, self._line.proxy.timers.seconds() + self._delay) + len(data) / self._rate
        self._pieces.append((self._due, data))
        self._size += len(data)
        if self._size > WINDOW and not self._paused and self._source.transport is not None:
            self._paused = True
            self._source.transport.pauseProducing()  # type: ignore[attr-defined]
        self.arm()

    def end(self) -> None:
        """The source has nothing more."""
        self._pieces.append((self._due, b""))
        self.arm()

    def relax(self) -> None:
        """Let go of everything now."""
        self._delay, self._rate, self._due = 0.0, float("inf"), 0.0
        self._pieces = deque((0.0, data) for _, data in self._pieces)
        self.stop()
        self.arm()

    def stop(self) -> None:
        """Let nothing more through until armed again."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def arm(self) -> None:
        """Look again when the next piece is due."""
        if self._timer is None and self._pieces and self._target.connected and not self._line.proxy.held:
            timers = self._line.proxy.timers
            self._timer = timers.callLater(max(0.0, self._pieces[0][0] - timers.seconds()), self._give)

    def _give(self) -> None:
        self._timer = None
        now = self._line.proxy.timers.seconds()
        while self._pieces and self._pieces[0][0] <= now and not self._line.proxy.held:
            _, data = self._pieces.popleft()
            self._size -= len(data)
            assert self._target.transport is not None
            if not data:
                self._target.transport.loseConnection()
                return
            self._target.transport.write(data)
        if self._paused and self._size <= WINDOW and self._source.connected:
            self._paused = False
            assert self._source.transport is not None
            self._source.transport.resumeProducing()  # type: ignore[attr-defined]
        self.arm()
