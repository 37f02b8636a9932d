"""What one visitor may have of the pages' own port, and what is said where that is reached.

Behind a proxy of the farm's own a visitor is who the proxy says, so there requests under way count, and the proxy's
connections do not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO

from attrs import define, field
from twisted.internet.protocol import Protocol
from twisted.web.server import Request

from buildtool.concurrency.rates import FairShares, RateBudget
from buildtool.errors import LimitReached, TooLong
from buildtool.model.access.ceilings import SECONDS, Ceilings, Counted, Most
from buildtool.model.addresses import wide_network_of
from buildtool.model.text import duration_words

AGAIN = 60
"""In how many seconds it is worth trying again where a connection or request has to end first."""


def _scopes(network: str, most: Most) -> Iterator[tuple[str, int, str]]:
    """Yield what counts for a visitor from a network: whom it is, the most of it, and in words."""
    wide = wide_network_of(network)
    if not wide:
        return
    for who, limit, words in ((network, most.address, "from"), (wide, most.network, "from the network")):
        if limit is not None:
            yield who, limit, f"{words} {who}"


@define(eq=False)
class VisitorCeilings:
    """The counts of visitors, against the ceilings that ``ceilings`` returns; ``now`` returns any clock's seconds."""

    ceilings: Callable[[], Ceilings]
    now: Callable[[], float]
    _open: Counter[str] = field(factory=Counter, init=False)
    _begun: dict[tuple[int, int], FairShares] = field(factory=dict, init=False)

    def enter(self, network: str) -> Callable[[], None]:
        """Count a request of a visitor behind a proxy; return what is called at its end. Raises LimitReached."""
        for who, most, words in _scopes(network, self.ceilings().connections):
            if self._open[who] >= most:
                raise LimitReached(
                    f"the limit of {most} connections {words} is reached: try again when one of them has ended", AGAIN
                )
        counted = {network, wide_network_of(network)} - {""}
        self._open.update(counted)
        return lambda: self._leave(counted)

    def _leave(self, counted: set[str]) -> None:
        self._open.subtract(counted)
        for one in counted:
            if not self._open[one]:
                del self._open[one]

    def handshake(self, network: str) -> None:
        """Count a handshake that begins, by the network of its peer. Raises LimitReached, and counts nothing then."""
        found = []
        for place, (who, most, words) in enumerate(_scopes(network, self.ceilings().handshakes_a_minute)):
            budget = RateBudget(most, most / SECONDS[Counted.HANDSHAKES])
            shares = self._begun.setdefault((place, most), FairShares(budget))
            wait = math.ceil(shares.wait(who, self.now()))
            if wait > 0:
                raise LimitReached(
                    f"the limit of {most} handshakes a minute {words} is reached: try again in {duration_words(wait)}",
                    wait,
                )
            found.append((shares, who))
        for shares, who in found:
            shares.take(who, self.now())


class Refusing(Protocol):
    """A connection that is one too many: it is told so in one line, and ended."""

    between_requests = False

    def __init__(self, line: str, again: float = AGAIN) -> None:
        self._line, self._again = line, again

    def connectionMade(self) -> None:
        """Send the line at once: nothing is waited for."""
        body = f"{self._line}\n".encode()
        head = (
            f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {self._again:.0f}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)  # type: ignore[union-attr] # it was just made
        self.transport.loseConnection()  # type: ignore[union-attr] # see above


class LongBody(BytesIO):
    """A stand-in for a body that was too long: an error where it is read."""

    def __init__(self, most: int) -> None:
        """``most`` is how many bytes are taken."""
        super().__init__()
        self._most = most

    def read(self, _size: int | None = -1, /) -> bytes:
        """Raise TooLong."""
        raise TooLong(f"a body has at most {self._most // 1024} KiB here: send less at once")


def refuse(request: Request, error: LimitReached) -> None:
    """Answer a request with the limit that is reached, in one line."""
    request.setResponseCode(429)
    request.setHeader("Retry-After", str(max(1, math.ceil(error.again))))
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    request.write(f"{error}\n".encode())
    request.finish()
