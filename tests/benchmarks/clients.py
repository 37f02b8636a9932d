"""Clients in processes of their own: ``python -m tests.benchmarks.clients KIND``, asked and answering in JSON.

What they use is what the real programs use: ``connect_requester`` for the control port, ``TransferClient`` for the
transfer port. The limits have clients as bare as can be.
"""

# Perspective Broker has no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.spread import pb
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from buildtool.adapters.control.build_server_link import BuildServerLink
from buildtool.adapters.control.client import Session, connect_requester
from buildtool.adapters.host.detectors import detect_machine
from buildtool.adapters.http.transfer_client import TransferClient
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.configuration.settings import load_settings
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Held, HeldVerdict, OwnerNotice
from buildtool.programs.buildserver.capability import announced
from buildtool.programs.common.program import monotonic_reactor
from buildtool.protocol.codec import encode
from buildtool.protocol.messages import (
    AbortOrder,
    Accepted,
    Ended,
    Follow,
    Ok,
    Order,
    Register,
    RequestStatus,
    Submit,
    Welcome,
)
from tests.benchmarks import pasts
from tests.benchmarks.browsers import browsers
from tests.benchmarks.world import CONFIG

Asked = dict[str, Any]

MIB = 1024 * 1024
WARM_UP = 0.3


def submit_of(asked: Asked, number: int, revision: str | None = None) -> Submit:
    """Return the submission that ``World.spec`` describes; ``number`` makes it one of a kind."""
    commits: list[str] = asked["commits"]
    local = {name: tuple(value) if isinstance(value, list) else value for name, value in asked["local"].items()}
    return Submit(
        client_id=uuid.uuid4().hex,
        project="noop",
        email="bench@example.org",
        source="",
        revision=commits[number % len(commits)] if revision is None else revision,
        revrange="",
        compile={"number": number},
        system={},
        local=local,
    )


async def _connected(reactor: ReactorBase, asked: Asked) -> Session:
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, "127.0.0.1", asked["port"])
    if "identity" in asked:
        own = CredentialStore(Path(asked["identity"])).load()
        if own is None:
            raise RuntimeError(f"there is no key in {asked['identity']}")
        endpoint = wrapClientTLS(own.tls(host="127.0.0.1"), endpoint)
    return await connect_requester(endpoint, f"127.0.0.1:{asked['port']}", reactor)


async def _together(acts: list[Coroutine[Deferred[Any], Any, Any]]) -> list[Any]:
    found: list[Any] = await gatherResults([Deferred.fromCoroutine(act) for act in acts], consumeErrors=True)
    return found


# --- requesters -----------------------------------------------------------------------------------------


async def builds(reactor: ReactorBase, asked: Asked) -> Asked:
    """Submit ``count`` different Builds of one revision, ``lanes`` at a time; say when the first was submitted."""
    client = await _connected(reactor, asked)
    numbers = iter(range(asked["first"], asked["first"] + asked["count"]))
    began = time.time()

    async def lane() -> None:
        for number in numbers:
            await client.ask(submit_of(asked, number, asked["revision"]), RequestStatus)

    await _together([lane() for _ in range(asked["lanes"])])
    client.close()
    return {"began": began}


async def starts(reactor: ReactorBase, asked: Asked) -> Asked:
    """Submit Builds one after another, each when the last has ended and a pause is over; say when and which."""
    client = await _connected(reactor, asked)
    found = []
    for number in range(asked["first"], asked["first"] + asked["count"]):
        message = submit_of(asked, number, asked["revision"])
        began = time.time_ns()
        told = await client.ask(message, RequestStatus)
        if told.answer != "dispatched":
            raise RuntimeError(f"a submission was answered {told.answer}: {told.why}")
        found.append((told.build_id, began))
        await _ended(client, told)
        await deferLater(reactor, asked["pause"])
    client.close()
    return {"starts": found}


async def _ended(client: Session, told: RequestStatus) -> None:
    over: Deferred[None] = Deferred()

    def moved(now: RequestStatus) -> None:
        if now.state != "waiting" and not over.called:
            over.callback(None)

    moved(await client.follow(Follow(told.request_id, told.token), moved))
    await over


async def hits(reactor: ReactorBase, asked: Asked) -> Asked:
    """Ask for artifacts that there are, a random one each, ``lanes`` at a time."""
    client = await _connected(reactor, asked)
    draw = random.Random(asked["seed"])

    async def hit() -> None:
        told = await client.ask(submit_of(asked, 1 + draw.randrange(asked["artifacts"])), RequestStatus)
        if told.answer != "hit" or told.artifact is None:
            raise RuntimeError(f"a request for what is there was answered {told.answer}")

    measured = await _paced(hit, asked["lanes"], asked["seconds"])
    client.close()
    return measured


async def steady(reactor: ReactorBase, asked: Asked) -> Asked:
    """Ask for artifacts that there are, ``rate`` times a second however long each takes; say when, and how long."""
    client = await _connected(reactor, asked)
    draw = random.Random(asked["seed"])
    sent: list[tuple[float, float]] = []

    async def hit(after: float) -> None:
        await deferLater(reactor, after)
        at, began = time.time(), time.monotonic()
        told = await client.ask(submit_of(asked, 1 + draw.randrange(asked["artifacts"])), RequestStatus)
        if told.answer != "hit":
            raise RuntimeError(f"a request for what is there was answered {told.answer}")
        sent.append((at, (time.monotonic() - began) * 1_000))

    await _together([hit(number / asked["rate"]) for number in range(int(asked["rate"] * asked["seconds"]))])
    client.close()
    return {"sent": sorted(sent)}


async def _paced(act: Callable[[], Awaitable[object]], lanes: int, seconds: float) -> Asked:
    """Do ``act`` again and again, ``lanes`` at a time, for so many seconds after the warm-up."""
    begin = time.monotonic() + WARM_UP
    end = begin + seconds
    took: list[float] = []

    async def lane() -> None:
        while (started := time.monotonic()) < end:
            await act()
            if started >= begin:
                took.append(time.monotonic() - started)

    await _together([lane() for _ in range(lanes)])
    took.sort()
    elapsed = time.monotonic() - begin
    return {"per_s": len(took) / elapsed, "p99_ms": took[int(len(took) * 0.99)] * 1000, "count": len(took)}


async def round_trips(reactor: ReactorBase, asked: Asked) -> Asked:
    """Call a bare Perspective Broker with a dictionary of a submission's size."""
    factory = pb.PBClientFactory()
    await TCP4ClientEndpoint(reactor, "127.0.0.1", asked["port"]).connect(factory)
    root = await factory.getRootObject()

    async def call() -> None:
        await root.callRemote("call", encode(submit_of(asked, 1)))

    return await _paced(call, asked["lanes"], asked["seconds"])


# --- transfers ------------------------------------------------------------------------------------------


@define
class _Uploader:
    """A build server that does nothing but take one order after the other."""

    registered: Deferred[None] = field(factory=Deferred)
    ordered: Deferred[Order] = field(factory=Deferred)
    holding: tuple[Held, ...] = ()

    async def build(self, order: Order) -> Accepted:
        self.holding = (Held(order.build_id, order.epoch),)
        self.ordered.callback(order)
        return Accepted(order.build_id, order.epoch)

    async def abort(self, order: AbortOrder) -> Ok:
        return Ok()

    def held(self) -> tuple[Held, ...]:
        return self.holding

    def notice(self) -> OwnerNotice:
        return OwnerNotice()

    def connected(self, welcome: Welcome) -> None:
        self.registered.callback(None)

    def judged(self, verdicts: Sequence[HeldVerdict]) -> None:
        """What it uploads is not worth a decision."""

    def disconnected(self, reason: str) -> None:
        """It is the end of the measurement."""


async def upload(reactor: ReactorBase, asked: Asked) -> Asked:
    """Upload a file ``runs`` times, each for a build of its own, as a build server does: by the ticket of its order.

    ``through`` is the port to send to in place of the one that the order says, 0 for that one.
    """
    project = load_settings(CONFIG).projects[0]
    found = announced([project], detect_machine(Path.cwd()), max_builds=1, admin="", software="bench")
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", asked["port"])
    link = BuildServerLink(
        endpoint, "here", lambda: Register("uploader", found.capability({})), reactor, final=lambda error: None
    )
    link.orders = uploader = _Uploader()
    link.startService()
    await uploader.registered
    client = await _connected(reactor, asked)
    threads = Threads(reactor, 8, "files")
    transfers = TransferClient(reactor, threads)
    runs = []
    for number in range(asked["runs"]):
        uploader.ordered = Deferred()
        await client.ask(submit_of(asked, asked["first"] + number), RequestStatus)
        order = await uploader.ordered
        where = urlsplit(order.log_url.replace("/logs/", "/uploads/"))
        port = asked["through"] or where.port
        url = f"http://127.0.0.1:{port}{where.path}"
        began = time.monotonic()
        await transfers.upload(url, order.artifact_ticket, asked["path"], asked["digest"], asked["size"])
        runs.append(asked["size"] / MIB / (time.monotonic() - began))
        await link.tell(Ended(order.build_id, order.epoch, AttemptEnd.FAILED, "only measured", ""), Ok)
        uploader.holding = ()
    await transfers.close()
    threads.stop()
    client.close()
    await link.stopService()
    return {"mib_per_s": runs}


async def download(reactor: ReactorBase, asked: Asked) -> Asked:
    """Fetch an artifact as startcompile.py does, digest compared."""
    threads = Threads(reactor, 1, "files")
    client = TransferClient(reactor, threads)
    target = Path(asked["path"])
    began = time.monotonic()
    await client.fetch(asked["url"], str(target), asked["size"], asked["digest"], lambda _: None)
    seconds = time.monotonic() - began
    target.unlink()
    await client.close()
    threads.stop()
    return {"mib_per_s": asked["size"] / MIB / seconds}


@implementer(IBodyProducer)
class _Bytes:
    """A body of ``length`` bytes out of memory, in pieces as large as those of a real upload."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._left = length
        self._piece = bytes(256 * 1024)
        self._done: Deferred[None] = Deferred()
        self._paused = False
        self._consumer: IConsumer | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self.resumeProducing()
        return self._done

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._left and not self._paused and self._consumer is not None:
            piece = self._piece[: self._left]
            self._left -= len(piece)
            self._consumer.write(piece)
        if not self._left and not self._done.called:
            self._done.callback(None)

    def stopProducing(self) -> None:
        self._left = 0


async def stream(reactor: ReactorBase, asked: Asked) -> Asked:
    """Send bytes by HTTP as fast as Twisted does, without file, digest or ticket."""
    agent = Agent(reactor, pool=HTTPConnectionPool(reactor))
    url = f"http://127.0.0.1:{asked['port']}/".encode()
    began = time.monotonic()
    response = await agent.request(b"PUT", url, Headers({}), cast(IBodyProducer, _Bytes(asked["size"])))
    taken = int(await readBody(response))
    if taken != asked["size"]:
        raise RuntimeError(f"{taken} bytes arrived, not {asked['size']}")
    return {"mib_per_s": asked["size"] / MIB / (time.monotonic() - began)}


# --- pages ----------------------------------------------------------------------------------------------


def pages(asked: Asked) -> Asked:
    """Get a page again and again over ``lanes`` connections that stay open."""
    return asyncio.run(_pages(asked))


async def _pages(asked: Asked) -> Asked:
    begin = time.monotonic() + WARM_UP
    end = begin + asked["seconds"]
    took: list[float] = []
    request = f"GET {asked['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    async def lane() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", asked["port"], limit=MIB)
        while (started := time.monotonic()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200") or body.count(b"<tr>") < asked["rows"]:
                raise RuntimeError(f"the page is not as it should be: {head!r}")
            if started >= begin:
                took.append(time.monotonic() - started)
        writer.close()

    await asyncio.gather(*(lane() for _ in range(asked["lanes"])))
    took.sort()
    return {"per_s": len(took) / (time.monotonic() - begin), "p99_ms": took[int(len(took) * 0.99)] * 1000}


def lists(asked: Asked) -> Asked:
    """Get lists of builds at random, over ``lanes`` connections that stay open."""
    return asyncio.run(_lists(asked))


async def _lists(asked: Asked) -> Asked:
    begin = time.monotonic() + asked.get("warm_up", WARM_UP)
    end = begin + asked["seconds"]
    took: list[float] = []

    async def lane(number: int) -> None:
        paths = pasts.paths(asked["builds"], asked["seed"] * 100 + number)
        reader, writer = await asyncio.open_connection("127.0.0.1", asked["port"], limit=MIB)
        while (started := time.monotonic()) < end:
            path = next(paths)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{path} is not as it should be: {head!r}")
            if started >= begin:
                took.append(time.monotonic() - started)
        writer.close()

    await asyncio.gather(*map(lane, range(asked["lanes"])))
    took.sort()
    return {"per_s": len(took) / (time.monotonic() - begin), "p99_ms": took[int(len(took) * 0.99)] * 1000}


# --- the program ----------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[ReactorBase, Asked], Coroutine[Deferred[Any], Any, Asked]]] = {
    act.__name__: act for act in (builds, starts, hits, steady, round_trips, upload, download, stream, browsers)
}

PLAIN = {act.__name__: act for act in (pages, lists)}
"""Those that need no reactor."""


def main() -> int:
    """Measure what stdin asks for and print it."""
    kind, asked = sys.argv[1], json.loads(sys.stdin.read())
    if kind in PLAIN:
        print(json.dumps(PLAIN[kind](asked)))
        return 0
    reactor = monotonic_reactor()
    outcome: list[Any] = []

    def begin() -> None:
        running = DeferredList([Deferred.fromCoroutine(KINDS[kind](reactor, asked))], consumeErrors=True)
        running.addCallback(outcome.extend)
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    ((succeeded, result),) = outcome
    if not succeeded:
        print(result.getTraceback(), file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
