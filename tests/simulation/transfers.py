"""Bytes from build servers to the metaserver: the real routes, tickets and stores, without the HTTP in between.

A request is handed to the metaserver's own routes as it would be once its headers are parsed; its body comes in pieces,
each in its own time. The connection may break in any of them, and the answer may be lost: whoever asked is told that
it does not answer, and asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred

from buildtool.adapters.http.client import _ERRORS
from buildtool.adapters.http.routes import Content, HttpRefusal, HttpResponse
from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import BadOffset, BadUpload, BuildToolError, Unavailable
from buildtool.model.logs.marks import LogMark
from buildtool.protocol.logs.marks import LOG_MARKS, marks_text
from tests.simulation.clock import Life
from tests.simulation.network import CONNECT_TIMEOUT, Host, Network

PIECES = 3
ANSWER_TIMEOUT = 20.0


class Spoken:
    """A request as the metaserver's routes look at it, over a connection that may break."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        self.method = method.encode()
        path, _, self.query = url.partition("://")[2].partition("/")[2].partition("?")
        self.path = f"/{path}".encode()
        self._headers = {name.lower(): value for name, value in headers.items()}
        self.lost = False
        self._when_lost: list[Callable[[], object]] = []
        self.inlet = BodyReader(lambda: None)

    def header(self, name: str) -> str | None:
        return self._headers.get(name.lower())

    def when_lost(self, call: Callable[[], object]) -> None:
        self._when_lost.append(call)

    def abort(self) -> None:
        self.broken()

    def broken(self) -> None:
        """Nothing more comes, and nobody waits for the answer."""
        if not self.lost:
            self.lost = True
            self.inlet.fail(Unavailable("the connection was lost"))
            for call in self._when_lost:
                call()


@frozen
class _Read:
    """The content of an answer, as it came over the wire."""

    data: bytes
    start: int = 0
    end: int = 0

    async def read(self, start: int, size: int) -> bytes:
        return self.data[start : start + size]

    def close(self) -> None:
        """It is here."""


async def _read(content: Content) -> _Read:
    try:
        return _Read(await content.read(content.start, content.end - content.start))
    finally:
        content.close()


class Transfers:
    """How one program sends to, and fetches from, the transfer port."""

    def __init__(self, network: Network, life: Life, here: str) -> None:
        self._network = network
        self._life = life
        self._here = here

    async def fetch(self, url: str) -> bytes:
        """Return an artifact. Raises NotFound, Damaged, Unavailable."""
        answer = await self._asked("GET", url, {}, b"")
        assert isinstance(answer.content, _Read)
        return answer.content.data

    async def _asked(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        faults = self._network.faults
        if faults.happens("resend"):
            # The first time everything arrives, and its answer is lost.
            await self._once(method, url, headers, body)
        lost = faults.happens("loss")
        answer = await self._once(method, url, headers, body, whole=not lost)
        if lost:
            raise Unavailable("the connection was lost: try again")
        if answer.code >= 300:
            raise _error(answer)
        return answer

    async def _reached(self) -> Host:
        """Return who listens, once a connection could be made. Raises Unavailable."""
        network, there = self._network, "meta"
        until = network.parted_until(self._here, there)
        if until > network.time.now:
            await self._life.pause(min(CONNECT_TIMEOUT, until - network.time.now + 1.0))
            if network.parted_until(self._here, there) > network.time.now:
                raise Unavailable("no connection within 30 s: try again")
        await self._life.pause(network.delay(self._here, there))
        host = network.hosts.get("transfer")
        if host is None or host.life.ended:
            raise Unavailable("nothing listens there: try again")
        if host.life.frozen:
            await self._life.pause(min(host.life.frozen, ANSWER_TIMEOUT))
            if host.life.frozen or host.life.ended:
                raise Unavailable("did nothing for too long: try again")
        return host

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, whole: bool = True
    ) -> HttpResponse:
        host = await self._reached()
        answered: Deferred[HttpResponse | None] = Deferred()
        spoken = Spoken(method, url, headers)
        serving = Deferred.fromCoroutine(self._serve(host.factory.routes, spoken))
        serving.addCallback(lambda answer: None if answered.called else answered.callback(answer))
        serving.addErrback(lambda failure: None if answered.called else answered.errback(failure))
        try:
            answer = await self._talked(spoken, body, host.life, answered, whole=whole)
        except BaseException:
            spoken.broken()  # called off, or lost
            raise
        return answer

    async def _talked(
        self, spoken: Spoken, body: bytes, life: Life, answered: Deferred[HttpResponse | None], *, whole: bool
    ) -> HttpResponse:
        """Send a body, of which the connection may lose the end, and return the answer. Raises Unavailable."""
        network, there = self._network, "meta"
        cut = network.rng.randrange(PIECES) if not whole else PIECES
        step = max(1, -(-len(body) // PIECES))
        for number in range(PIECES):
            if number == cut:
                raise Unavailable("the connection was lost: try again")
            piece = body[number * step : (number + 1) * step]
            if piece:
                network.trace.bytes(piece)
                spoken.inlet.feed(piece)
                await self._life.pause(network.delay(self._here, there))
            if life.ended:
                raise Unavailable("the connection was lost: try again")
        spoken.inlet.end()
        network.time.call(ANSWER_TIMEOUT, lambda: None if answered.called else answered.callback(None), self._life)
        answer = await answered
        await self._life.pause(network.delay(there, self._here))
        if answer is None:
            raise Unavailable("did nothing for too long: try again")
        return answer

    async def _serve(self, routes: Any, spoken: Spoken) -> HttpResponse:
        try:
            admission = routes.admit(spoken)
            answer: HttpResponse = await admission.handler(spoken, spoken.inlet)
            if answer.content is not None:
                answer = evolve(answer, content=await _read(answer.content))
        except HttpRefusal as refusal:
            return refusal.answer
        except BuildToolError as error:
            said: HttpResponse = routes.refusal(error)
            return said
        return answer


class SimulatedUploads(Transfers):
    """``ports.Uploads`` of one build server's life; ``read`` returns what its disk holds at a path."""

    def __init__(self, network: Network, life: Life, here: str, read: Callable[[str], bytes]) -> None:
        super().__init__(network, life, here)
        self._read = read

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes, marks: Sequence[LogMark] = ()) -> int:
        headers = {"Authorization": f"Ticket {ticket}", "Upload-Offset": str(offset), "Content-Length": str(len(data))}
        if marks:
            headers[LOG_MARKS] = marks_text(marks)
        answer = await self._asked("POST", url, headers, data)
        return int(_header(answer, "Log-Length"))

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        data = self._read(path)
        if len(data) != size:
            raise BadUpload(f"{path} has {len(data)} bytes, not {size}: it has changed since it was packed")
        headers = {"Authorization": f"Ticket {ticket}", "Upload-Digest": digest, "Upload-Length": str(size)}
        offset = 0
        for again in (True, True, False):
            sent = {**headers, "Upload-Offset": str(offset), "Content-Length": str(len(data) - offset)}
            try:
                await self._asked("PUT", url, sent, data[offset:])
            except BadOffset:
                if not again:
                    raise
                offset = int(_header(await self._asked("HEAD", url, headers, b""), "Upload-Offset"))
            else:
                return


def _header(answer: HttpResponse, name: str) -> str:
    return dict(answer.headers)[name]


def _error(answer: HttpResponse) -> BuildToolError:
    offset = dict(answer.headers).get("Upload-Offset")
    if answer.code == 409 and offset:
        return BadOffset(answer.text, int(offset))
    return _ERRORS.get(answer.code, BadUpload if answer.code < 500 else Unavailable)(answer.text)
