"""Light build servers: ``python -m tests.benchmarks.light PORT``, with what they are on stdin as one JSON line.

Each keeps its connection as a real one does, by ``BuildServerLink``, but is nothing behind it: it takes no order. The
line holds ``names`` and the ``addresses`` they come from, ``register`` (a message for the wire, whose name is replaced)
and ``seed``; with keys also ``keys`` (each with its certificate) and ``authority``, as PEM. After it, each line ``go``
makes all of them log in, at random moments of one second; when all are registered, a line with the seconds that took
is printed. ``leave`` makes them say good-bye; a line is printed when they are gone.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable, Sequence

import attrs
from attrs import define
from twisted.internet.base import ReactorBase
from twisted.internet.defer import DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from buildtool.adapters.control.build_server_link import BuildServerLink, LoginPace
from buildtool.adapters.tls.certificates import Identified, read_certificate, read_key
from buildtool.adapters.tls.contexts import ClientTls
from buildtool.errors import BuildToolError, Declined
from buildtool.model.servers import Held, HeldVerdict, OwnerNotice
from buildtool.programs.common.program import monotonic_reactor
from buildtool.protocol.codec import decode
from buildtool.protocol.messages import AbortOrder, Accepted, Ok, Order, Register, Welcome

SECOND = 1.0
"""In how many seconds all of them come."""


@define(eq=False)
class Nobody:
    """What is behind the connection of a light build server."""

    registered: Callable[[], None]

    async def build(self, order: Order) -> Accepted:
        """Take nothing."""
        raise Declined("this is a light build server: it takes no orders")

    async def abort(self, order: AbortOrder) -> Ok:
        """There is nothing to stop."""
        return Ok(stale=True)

    def held(self) -> tuple[Held, ...]:
        """Hold nothing."""
        return ()

    def notice(self) -> OwnerNotice:
        """Ask for nothing."""
        return OwnerNotice()

    def connected(self, welcome: Welcome) -> None:
        """Note the login."""
        self.registered()

    def judged(self, verdicts: Sequence[HeldVerdict]) -> None:
        """There is nothing to judge."""

    def disconnected(self, reason: str) -> None:
        """The link comes back by itself."""


@define(eq=False)
class Herd:
    """All light build servers of one process."""

    reactor: ReactorBase
    links: list[BuildServerLink]
    draw: random.Random
    _began: float = 0.0
    _left: int = 0

    def go(self) -> None:
        """Let all of them come within a second."""
        self._began, self._left = self.reactor.seconds(), len(self.links)
        for link in self.links:
            self.reactor.callLater(self.draw.random() * SECOND, link.startService)

    def registered(self) -> None:
        """Another one is registered."""
        self._left -= 1
        if not self._left:
            print(self.reactor.seconds() - self._began, flush=True)

    def leave(self) -> None:
        """Let all of them go."""
        gone = DeferredList([link.stopService() for link in self.links])
        gone.addCallback(lambda _: print("gone", flush=True))


def main() -> int:
    """Do what stdin says until it ends."""
    port = int(sys.argv[1])
    asked = json.loads(sys.stdin.readline())
    reactor = monotonic_reactor()
    message = decode(Register, asked["register"])
    herd = Herd(reactor, [], random.Random(asked["seed"]))
    believed = read_certificate(asked["authority"].encode()) if asked["authority"] else ()
    keys = asked["keys"] or [None] * len(asked["names"])

    def final(error: BuildToolError) -> None:
        print(f"a light build server gave up: {error}", file=sys.stderr)

    for name, address, pair in zip(asked["names"], asked["addresses"], keys, strict=True):
        endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=(address, 0))
        if pair is not None:
            key, certificate = (text.encode() for text in pair)
            shown = Identified(read_key(key), read_certificate(certificate)[0])
            endpoint = wrapClientTLS(ClientTls(believed, shown), endpoint)
        own = attrs.evolve(message, server=name)
        link = BuildServerLink(
            endpoint,
            f"127.0.0.1:{port}",
            lambda own=own: own,  # type: ignore[misc]
            reactor,
            final=final,
            pace=LoginPace(chance=herd.draw.random),
        )
        link.orders = Nobody(herd.registered)
        herd.links.append(link)

    def listen() -> None:
        for line in sys.stdin:
            reactor.callFromThread(herd.go if line.strip() == "go" else herd.leave)
        reactor.callFromThread(reactor.stop)

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
