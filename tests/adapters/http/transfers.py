"""A transfer port on loopback with stores in a temporary directory, and a client that says anything at all to it."""

import hashlib
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from buildtool.adapters.http.client import HttpTimeouts
from buildtool.adapters.http.handling import AllRead, Oversight, Reads
from buildtool.adapters.http.routes import HttpLimits
from buildtool.adapters.http.transfer_client import TransferClient
from buildtool.adapters.http.transfer_site import TransferSite
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.logs import LogStore
from buildtool.errors import LimitReached, NotFound
from buildtool.model.incarnations import Keys
from buildtool.model.tickets import Ticket, TicketKind, sign
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import Bundle
from buildtool.protocol.source_parts import SourcePart
from tests.support.memory import WallClock

KEY = bytes(range(32))
NOW = 1_000_000
MAX_BYTES = 64 * 1024 * 1024

reactor: Any = global_reactor


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def ticket(
    kind: TicketKind = TicketKind.ARTIFACT,
    build_id: int = 7,
    epoch: int = 1,
    max_bytes: int = MAX_BYTES,
    expires: int = NOW + 60,
    key: bytes = KEY,
) -> str:
    return sign(Ticket(kind, build_id, epoch, max_bytes, expires), key)


class Talk(Protocol):
    """One raw connection."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed: Deferred[None] = Deferred()
        self._wanted: list[tuple[bytes, Deferred[None]]] = []

    def say(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        for wanted, seen in tuple(self._wanted):
            if wanted in self.heard:
                self._wanted.remove((wanted, seen))
                seen.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)
        for _, seen in self._wanted:
            seen.errback(reason)

    async def until(self, wanted: bytes) -> None:
        """Wait until the other side has said this."""
        if wanted not in self.heard:
            seen: Deferred[None] = Deferred()
            self._wanted.append((wanted, seen))
            await seen


class TransferCase(TestCase):
    """A metaserver's transfer port with its stores in ``self.state``, and a client."""

    timeout = 30
    limits = HttpLimits(linger=0.05)
    patience = HttpTimeouts()
    reads: Reads = AllRead()

    async def setUp(self) -> None:  # type: ignore[override]
        self.state = Path(self.mktemp())
        self.threads = self.pool()
        self.corrupt: list[str] = []
        self.ended: set[tuple[int, int]] = set()
        self.beyond: set[tuple[int, int]] = set()
        self.counted: list[tuple[int, int, int]] = []
        self.told_unkept: list[tuple[int, int, str]] = []
        self.client = TransferClient(reactor, self.threads, self.patience)
        await self.listen()
        self.addCleanup(self.client.close)

    def pool(self) -> Executor:
        """Return what everything that touches files runs in."""
        threads = Threads(reactor, 4, "transfers")
        self.addCleanup(threads.stop)
        return threads

    async def listen(self) -> None:
        """Start, as after a start of the program: only what is on disk is known."""
        self.artifacts = ArtifactStore(self.state, self.threads)
        self.logs = LogStore(self.state, self.threads)
        await self.artifacts.start(keep=[(7, 1)])
        await self.logs.start()

        def lives(build_id: int, epoch: int) -> bool:
            return (build_id, epoch) not in self.ended

        def check_storing(build_id: int, epoch: int) -> None:
            if (build_id, epoch) in self.beyond:
                raise LimitReached("the limit of 1 GiB stored a day for attic is reached: try again in 2 min", 90.5)

        broker = Oversight(lives, self.corrupt.append, self.bundle, self.unkept, check_storing, self.count, self.reads)
        self.site = TransferSite(reactor, Keys(KEY), WallClock(NOW), self.artifacts, self.logs, broker, self.limits)
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.base = f"http://127.0.0.1:{self.port.getHost().port}"
        self.addCleanup(self.unlisten)

    def count(self, build_id: int, epoch: int, size: int) -> None:
        """Note what was stored."""
        self.counted.append((build_id, epoch, size))

    async def unkept(self, build_id: int, epoch: int, reason: str) -> None:
        """Note what could not be kept."""
        self.told_unkept.append((build_id, epoch, reason))

    async def bundle(self, build_id: int, _part: SourcePart) -> Bundle:
        """What the port gives out of a build's commit."""
        raise NotFound(f"nothing of build {build_id} is here")

    async def unlisten(self) -> None:
        await maybeDeferred(self.port.stopListening)
        await self.site.disconnect()

    async def restart(self) -> None:
        """Stop and start the transfer port."""
        await self.unlisten()
        await self.listen()

    async def talk(self, data: bytes = b"") -> Talk:
        """Connect and say something."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        connected: Any = await connectProtocol(endpoint, Talk())

        async def hang_up() -> None:
            connected.transport.abortConnection()
            await connected.closed

        self.addCleanup(hang_up)
        connected.say(data)
        talk: Talk = connected
        return talk

    async def answer(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Say something and return what comes until the other side closes: status, headers, body."""
        talk = await self.talk(request)
        await talk.closed
        return parsed(talk.heard)

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one whole request."""
        fields = {"Host": "x", "Connection": "close", **(headers or {})}
        if body or method in {"PUT", "POST"}:
            fields.setdefault("Content-Length", str(len(body)))
        return await self.answer(head(method, path, fields) + body)

    async def upload(
        self, data: bytes, offset: int = 0, size: int | None = None, digest: str = "", **said: str
    ) -> tuple[int, dict[str, str], bytes]:
        """PUT ``data`` as the part at ``offset`` of build 7's first attempt."""
        headers = promise(offset, len(data) if size is None else size, digest or digest_of(data))
        return await self.ask("PUT", "/uploads/7/1", {**headers, **said}, data)

    async def publish(self, data: bytes, build_id: int = 7) -> str:
        """Have an artifact stored without HTTP."""
        digest = digest_of(data)
        upload = await self.artifacts.uploads.begin(build_id, 1, 0, len(data), lambda: None)
        await upload.write([data])
        await upload.close()
        await self.artifacts.publish(build_id, 1, digest, len(data))
        return digest

    def stored(self, digest: str) -> Path:
        return self.state / "artifacts" / digest[:2] / f"{digest}.zip"

    @property
    def incoming(self) -> Path:
        return self.state / "incoming" / "7-1"


def promise(offset: int, size: int, digest: str, text: str | None = None) -> dict[str, str]:
    return {
        "Authorization": f"Ticket {ticket() if text is None else text}",
        "Upload-Offset": str(offset),
        "Upload-Length": str(size),
        "Upload-Digest": digest,
    }


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def parsed(data: bytes) -> tuple[int, dict[str, str], bytes]:
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    return int((first.split() or ["", "0"])[1]), headers, body
