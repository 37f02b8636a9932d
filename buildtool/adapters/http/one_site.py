"""Transfers and pages on one HTTP port: the path of each request says which of the two sites answers it.

The sites are servers of their own, since one takes bodies as streams and the other does not. A connection is passed to
the other site between two requests, so that a browser gets pages and artifacts over the same one. What is sent before
the last answer has come stays with the site that is answering.
"""

from __future__ import annotations

from typing import Protocol as Interface

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocolFactory, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from buildtool.adapters.http.transfer_site import is_transfer

LINE_LIMIT = 16 * 1024
"""Most bytes of a request's first line that are waited for; a site refuses what is longer."""


class Channel(Interface):
    """One connection of a site; ``between_requests`` is whether nothing of a request is there or unanswered."""

    @property
    def between_requests(self) -> bool: ...

    def makeConnection(self, transport: ITransport) -> None: ...

    def dataReceived(self, data: bytes) -> None: ...

    def connectionLost(self, reason: Failure) -> None: ...


class OneSite(Factory):
    """A factory of connections that are served by ``transfers`` or ``pages``, both makers of a ``Channel``."""

    noisy = False

    def __init__(self, transfers: IProtocolFactory, pages: IProtocolFactory) -> None:
        self.transfers = transfers
        self.pages = pages

    def buildProtocol(self, addr: IAddress | None) -> _Either | None:
        """Return the connection's protocol, or None (which closes it) when there is no room for one more."""
        first = self.transfers.buildProtocol(addr)  # type: ignore[arg-type] # as Twisted calls it
        return None if first is None else _Either(self, addr, first)  # type: ignore[arg-type] # see above

    def doStart(self) -> None:
        """Start both sites."""
        self.transfers.doStart()
        self.pages.doStart()

    def doStop(self) -> None:
        """Stop both sites."""
        self.transfers.doStop()
        self.pages.doStop()


class _Either(Protocol):
    """A connection that one site serves now, and perhaps the other one from the next request on."""

    def __init__(self, sites: OneSite, address: IAddress | None, first: Channel) -> None:
        self.factory = sites
        self._sites = sites
        self._address = address
        self._channel = first
        self._transfers = True
        self._begun = b""

    def connectionMade(self) -> None:
        """Have transfers served, until something else is asked for."""
        self._channel.makeConnection(self.transport)  # type: ignore[arg-type] # there is one now

    def dataReceived(self, data: bytes) -> None:
        """Pass on what came, as soon as it is known to whom."""
        if self._begun or (self._channel.between_requests and not self._ending()):
            data = (self._begun + data).lstrip(b"\r\n")
            line, end, _ = data.partition(b"\n")
            if not end and len(data) <= LINE_LIMIT:
                self._begun = data
                return
            self._begun = b""
            if is_transfer(path_of(line)) is not self._transfers and not self._pass_on():
                return
        self._channel.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the site's side of the connection."""
        self._channel.connectionLost(reason)

    def _ending(self) -> bool:
        return bool(getattr(self.transport, "disconnecting", False))

    def _pass_on(self) -> bool:
        """Have the other site serve from now on; return False where it has no room, which ends the connection."""
        transport, other = self.transport, self._sites.pages if self._transfers else self._sites.transfers
        made = other.buildProtocol(self._address)  # type: ignore[arg-type] # as Twisted calls it
        if made is None:
            transport.loseConnection()  # type: ignore[union-attr] # it is there as long as something comes
            return False
        transport.unregisterProducer()  # type: ignore[union-attr] # see above
        self._channel.connectionLost(Failure(ConnectionDone()))
        self._channel, self._transfers = made, not self._transfers  # type: ignore[assignment] # a Channel, see OneSite
        made.makeConnection(transport)  # type: ignore[arg-type] # see above
        return True


def path_of(line: bytes) -> bytes:
    """Return the path in the first line of a request; b"" where there is none."""
    words = line.split(b" ")
    target = words[1].strip() if len(words) > 1 else b""
    if not target.startswith(b"/") and b"://" in target:  # as a proxy is asked
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return target.partition(b"?")[0]
