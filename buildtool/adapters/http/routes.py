"""What a site serves, within which bounds, and what a request is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import frozen

from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import BuildToolError
from buildtool.model.access.ceilings import Most

Headers = tuple[tuple[str, str], ...]


@frozen
class HttpLimits:
    """The bounds of one site: connections at once (each network has a share, see ``ConnectionShares``), and seconds.

    ``stranger``: for the headers of the first request. ``idle``: between requests, for a request's headers, and for
    each ``MIN_PROGRESS`` bytes of a body. ``stall``: for a reader to take something of an answer (kernel buffers make
    slow readers look idle for a while). ``linger``: how long a refused peer is listened to. ``most``: the connections
    that one address, and one network, have at most.
    """

    connections: int = 400
    stranger: float = 20.0
    idle: float = 60.0
    stall: float = 300.0
    linger: float = 5.0
    most: Callable[[], Most] = Most


class Content(Protocol):
    """The body of an answer, read in pieces."""

    @property
    def start(self) -> int:
        """The first byte."""

    @property
    def end(self) -> int:
        """The byte after the last."""

    async def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start`` on."""

    def close(self) -> None:
        """Close what is read from."""


@frozen
class HttpResponse:
    """The answer to a request: a status, headers, and either one line of text or a content."""

    code: int
    text: str = ""
    headers: Headers = ()
    content: Content | None = None


class HttpRefusal(Exception):
    """A handler's answer that is no success and no error of this program."""

    def __init__(self, code: int, text: str, headers: Headers = ()) -> None:
        super().__init__(text)
        self.answer = HttpResponse(code, text, headers)


class IncomingRequest(Protocol):
    """A request, as a handler sees it."""

    @property
    def method(self) -> bytes:
        """The method, in capitals."""

    @property
    def path(self) -> bytes:
        """The path, as it was sent."""

    @property
    def query(self) -> str:
        """What follows the path's question mark, as it was sent."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""

    def header(self, name: str) -> str | None:
        """Return the header's value, None when it is absent. Raises HttpRefusal when it is there twice."""

    def headers_named(self, name: str) -> Sequence[str]:
        """Return all values of a header."""

    def peer(self) -> object:
        """Return the transport of the connection, None when that is gone."""

    def when_lost(self, call: Callable[[], object]) -> None:
        """Call ``call`` when the connection is lost before the answer is finished."""

    def busy(self) -> None:
        """Record that the peer reads, or waits for what may not happen: if it does so for long, it makes room."""

    def abort(self) -> None:
        """Close the connection at once."""


Handler = Callable[[IncomingRequest, BodyReader], Awaitable[HttpResponse]]


@frozen
class Admission:
    """The handler of a request, and the most bytes its body may have."""

    handler: Handler
    body_limit: int = 0


class Routes(Protocol):
    """The routes of a site."""

    def admit(self, request: IncomingRequest) -> Admission:
        """Return the handler of a request, by its headers alone and at once. Raises HttpRefusal, BuildToolError."""

    def refusal(self, error: BuildToolError) -> HttpResponse:
        """Return the answer for an error."""

    def headers(self) -> Headers:
        """Return the headers of every answer."""
