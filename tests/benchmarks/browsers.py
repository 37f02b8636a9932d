"""A thousand browsers that hear what changes, beside a metaserver that only tells of events, in one process.

``bin/webserver`` stands between them, as in a farm. What is measured goes from a commit to the last of the browsers.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import deferLater

from buildtool.adapters.control.events.followers import EventFollowers
from buildtool.adapters.control.operator_endpoint import listen_control, operator_factory
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import AuditEvent
from buildtool.protocol.hello import Hello
from tests.benchmarks.world import resident_mib

ASK = b"GET /events HTTP/1.1\r\nHost: farm\r\nAccept: text/event-stream\r\n\r\n"
ROUNDS, PAUSE = 30, 0.3
BURST, PIECES = 10_000, 100
NETWORKS = 250


class _Browser(Protocol):
    """One stream, of which is kept when each event came."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._left = b""
        self.changes = 0

    def connectionMade(self) -> None:
        self.transport.write(ASK)  # type: ignore[union-attr] # it was just made

    def dataReceived(self, data: bytes) -> None:
        *whole, self._left = (self._left + data).split(b"\n\n")
        for message in whole:
            if b"event: alive" in message and not self.changes:
                self._crowd.ready.add(self)
            elif b"event: changed" in message or b"event: reset" in message:
                self.changes += 1
                self._crowd.heard(int(message.partition(b"id: ")[2].partition(b"\n")[0]))


@define(eq=False)
class Crowd:
    """All browsers, and when the event that is waited for came to each of them."""

    wanted: int = 0
    times: list[float] = field(factory=list)
    browsers: list[_Browser] = field(factory=list)
    ready: set[_Browser] = field(factory=set)

    def heard(self, seq: int) -> None:
        if seq == self.wanted:
            self.times.append(time.perf_counter())

    def made(self, _address: object) -> _Browser:
        self.browsers.append(_Browser(self))
        return self.browsers[-1]


async def _as_pages(stranger: Principal, _transport: object, hello: Hello) -> Principal:
    return evolve(stranger, role=PrincipalRole(hello.role))


async def browsers(reactor: ReactorBase, asked: dict[str, Any]) -> dict[str, Any]:
    """Measure how soon the median and the last browser hear of an event, and what a burst of events comes to.

    ``mib`` is by how much the process of the pages grows.
    """
    timers, count = IReactorTime(reactor), int(asked["browsers"])
    events, crowd = EventFollowers(timers), Crowd()

    def pause(seconds: float) -> Deferred[None]:
        return deferLater(timers, seconds, lambda: None)

    seq = 0

    def commit(*builds: int) -> None:
        nonlocal seq
        seq += len(builds)
        events.committed(seq, [AuditEvent("build-queued", f"build/{number}") for number in builds])

    commit(1)
    port = listen_control(
        reactor, Path(asked["state"]), operator_factory({}, timers, identify=_as_pages, events=events)
    )
    while not len(events):
        await pause(0.05)
    alone = resident_mib(asked["pid"])
    factory = ClientFactory()
    factory.buildProtocol = crowd.made  # type: ignore[method-assign, assignment]
    factory.noisy = False
    for number in range(count):
        address = IPv4Address("TCP", f"127.1.{number % NETWORKS}.1", 0)
        IReactorTCP(reactor).connectTCP("127.0.0.1", asked["port"], factory, bindAddress=(address.host, 0))
        if number % 20 == 0:
            await pause(0.02)
    while len(crowd.ready) < count:
        await pause(0.05)
    quiet = resident_mib(asked["pid"])
    middle, last = [], []
    for _ in range(ROUNDS):
        crowd.wanted, crowd.times = seq + 1, []
        began = time.perf_counter()
        commit(random.randint(1, asked["builds"]))
        while len(crowd.times) < count:
            await pause(0.005)
        took = sorted(at - began for at in crowd.times)
        middle.append(took[count // 2])
        last.append(took[-1])
        await pause(PAUSE)
    changes = [browser.changes for browser in crowd.browsers]
    for _ in range(PIECES):
        commit(*(random.randint(1, asked["builds"]) for _ in range(BURST // PIECES)))
        await pause(1.0 / PIECES)
    await pause(2.0)
    burst = [browser.changes - was for browser, was in zip(crowd.browsers, changes, strict=True)]
    port.stopListening()
    return {
        "median_ms": sorted(middle)[ROUNDS // 2] * 1_000,
        "last_ms": sorted(last)[ROUNDS // 2] * 1_000,
        "mib": max(quiet, resident_mib(asked["pid"])) - alone,
        "burst": max(burst),
    }
