"""The only way out of a sandbox: an HTTP proxy that lets through to the hosts that a recipe names, and to no other.

It listens in the sandbox's own network, for one Attempt alone. A name is resolved here; unless its port was named too,
it must lead to the public internet, so that nothing of the donor's own network can be reached by it.

Tested by tests/adapters/network/test_build_proxy.py.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import cast

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IDelayedCall,
    IListeningPort,
    IPushProducer,
    IReactorSocket,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from buildtool.concurrency.paced_flow import PacedFlow
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.model.text import one_line
from buildtool.project.fetching import NamedHost

HEAD_LIMIT = 16 * 1024
"""Most bytes that a request's head has."""

HEAD_PATIENCE = 30.0
"""Seconds in which it comes."""

CONNECT_PATIENCE = 30.0
"""Seconds that a host has to accept a connection."""

CONNECTIONS = 64
"""Most connections of one build at once."""

_REQUEST = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,8192}) HTTP/1\.[01]\Z")
_AUTHORITY = re.compile(r"([^:/@\[\]]{1,253})(?::([0-9]{1,5}))?\Z")
_HTTP_PORT = 80
_SHOWN = 200


@frozen
class ProxyRequest:
    """The meaning of a request's head: a host and port, and what is sent there first (nothing for CONNECT)."""

    host: str
    port: int
    first: bytes


def understood(head: bytes) -> ProxyRequest | None:
    """Return what the head of a proxy's request asks for, None where that is nothing that is understood."""
    lines = head.split(b"\r\n")
    found = _REQUEST.match(lines[0])
    if found is None:
        return None
    method, target = found[1].decode("ascii"), found[2].decode("ascii")
    if method == "CONNECT":
        host, port = _authority(target)
        return ProxyRequest(host, port, b"") if host and port else None
    if not target.lower().startswith("http://"):
        return None
    authority, slash, path = target[len("http://") :].partition("/")
    host, port = _authority(authority)
    if not host:
        return None
    kept = [line for line in lines[1:] if not line.lower().startswith((b"proxy-", b"connection:"))]
    line = f"{method} {slash or '/'}{path} HTTP/1.1".encode("ascii")
    return ProxyRequest(host, port or _HTTP_PORT, b"\r\n".join([line, b"Connection: close", *kept, b"", b""]))


def _authority(text: str) -> tuple[str, int]:
    found = _AUTHORITY.match(text)
    port = int(found[2] or 0) if found else 0
    return (found[1], port) if found and port <= 65535 else ("", 0)  # noqa: PLR2004 - the last port


class BuildProxy:
    """The proxy of one Attempt, on a listening socket that is handed over to it."""

    def __init__(
        self,
        reactor: IReactorTime,
        listening: socket.socket,
        hosts: Sequence[NamedHost],
        note: Callable[[str], None],
        downloading: TokenBucket | None = None,
    ) -> None:
        """``note`` is told of each host that was spoken to, and of each that was not allowed, once.

        ``downloading`` bounds how many bytes come from hosts each second.
        """
        self.reactor = reactor
        self.downloading = downloading or TokenBucket(reactor)
        self.open: set[Protocol] = set()
        self._hosts = tuple(hosts)
        self._note = note
        self._noted: set[str] = set()
        self.came = self.went = 0
        factory = cast(ServerFactory, Factory.forProtocol(lambda: _FromBuild(self)))
        factory.noisy = False
        with listening:
            listening.setblocking(False)
            port = listening.getsockname()[1]
            adopting = IReactorSocket(reactor)
            self._port: IListeningPort = adopting.adoptStreamPort(listening.fileno(), socket.AF_INET, factory)
        address = f"http://127.0.0.1:{port}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        self.environment = dict.fromkeys(names, address)

    def allowed(self, host: str, port: int) -> NamedHost | None:
        """Return the name by which a host's port may be spoken to, None where it may not."""
        return next((one for one in self._hosts if one.allows(host, port)), None)

    def note(self, said: str) -> None:
        """Log a line that was not logged before."""
        if said not in self._noted and len(self._noted) < _SHOWN:
            self._noted.add(said)
            self._note(f"[network: {one_line(said, _SHOWN)}]")

    async def close(self) -> tuple[int, int]:
        """End the proxy, and all connections through it; return how many bytes came from hosts and went there."""
        stopped = self._port.stopListening()
        for one in tuple(self.open):
            cast(ITCPTransport, one.transport).abortConnection()
        if isinstance(stopped, Deferred):
            await stopped
        return self.came, self.went


class _FromBuild(Protocol):
    """A connection from within a sandbox: a head is read, and from then on bytes are passed on in both directions."""

    def __init__(self, proxy: BuildProxy) -> None:
        self._proxy = proxy
        self._head = b""
        self._peer: _ToHost | None = None
        self._connecting: Deferred[_ToHost] | None = None
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        if len(self._proxy.open) >= 2 * CONNECTIONS:
            cast(ITCPTransport, self.transport).abortConnection()
            return
        self._proxy.open.add(self)
        clock = self._proxy.reactor
        self._late = clock.callLater(HEAD_PATIENCE, self._answer, 408, "the request came too slowly")

    def dataReceived(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.write(data)
            return
        self._head += data
        if self._connecting is not None:
            self._producer().pauseProducing()  # what comes before the host was reached waits in the sandbox
            return
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) <= HEAD_LIMIT:
            return
        self._cancel_late()
        wanted = understood(head) if len(head) <= HEAD_LIMIT else None
        if wanted is None:
            self._answer(400, "this proxy understands CONNECT HOST:PORT and http:// URLs")
            return
        self._head = rest
        self._reach(wanted)

    def _reach(self, wanted: ProxyRequest) -> None:
        named = self._proxy.allowed(wanted.host, wanted.port)
        where = f"{wanted.host}:{wanted.port}"
        if named is None:
            self._proxy.note(f"{where} refused, which the recipe does not name")
            self._answer(403, f"the recipe does not name {where}")
            return
        self._producer().pauseProducing()
        connecting = Deferred.fromCoroutine(self._connected(wanted, anywhere=bool(named.port)))
        self._connecting = connecting
        connecting.addCallbacks(lambda peer: self._pass_on(peer, wanted), lambda failure: self._failed(failure, where))

    async def _connected(self, wanted: ProxyRequest, *, anywhere: bool) -> _ToHost:
        endpoint = HostnameEndpoint(self._proxy.reactor, wanted.host, wanted.port, timeout=CONNECT_PATIENCE)
        factory = cast("Factory[_ToHost]", Factory.forProtocol(lambda: _ToHost(self, self._proxy)))
        factory.noisy = False
        peer = cast(_ToHost, await endpoint.connect(factory))
        if not anywhere and not _is_public(cast(ITCPTransport, peer.transport).getPeer()):
            cast(ITCPTransport, peer.transport).abortConnection()
            raise ConnectError(string=f"{wanted.host} is no host of the public internet: name its port too")
        return peer

    def _pass_on(self, peer: _ToHost, wanted: ProxyRequest) -> None:
        self._proxy.note(f"{wanted.host}:{wanted.port} reached")
        self._peer, rest, self._head = peer, self._head, b""
        mine, theirs = cast(IConsumer, self.transport), cast(IConsumer, peer.transport)
        mine.registerProducer(peer.flow(), True)
        theirs.registerProducer(cast(IPushProducer, mine), True)
        if wanted.first:
            peer.write(wanted.first)
        else:
            self.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if rest:
            peer.write(rest)
        self._producer().resumeProducing()

    def _failed(self, failure: Failure, where: str) -> None:
        if failure.check(CancelledError):
            return
        failure.trap(ConnectError, DNSLookupError, OSError)
        said = one_line(failure.getErrorMessage(), _SHOWN)
        self._proxy.note(f"{where} not reached: {said}")
        self._answer(502, said)

    def _answer(self, code: int, said: str) -> None:
        text = f"{said}\n".encode()
        head = f"HTTP/1.1 {code} {said.splitlines()[0]}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        self.write(head.encode("utf-8", "replace") + text)
        cast(ITCPTransport, self.transport).loseConnection()

    def write(self, data: bytes) -> None:
        """Send bytes into the sandbox."""
        if self.transport is not None:
            self.transport.write(data)

    def _producer(self) -> IPushProducer:
        return cast(IPushProducer, self.transport)

    def _cancel_late(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._proxy.open.discard(self)
        self._cancel_late()
        if self._peer is not None:
            cast(ITCPTransport, self._peer.transport).loseConnection()
        elif self._connecting is not None:
            self._connecting.cancel()


class _ToHost(Protocol):
    """A connection to a host that a recipe names."""

    def __init__(self, build: _FromBuild, proxy: BuildProxy) -> None:
        self._build = build
        self._proxy = proxy
        self._flow: PacedFlow | None = None

    def connectionMade(self) -> None:
        self._proxy.open.add(self)

    def flow(self) -> PacedFlow:
        """Return what the other side holds up when it has enough."""
        self._flow = PacedFlow(cast(IPushProducer, self.transport), self._proxy.downloading)
        return self._flow

    def dataReceived(self, data: bytes) -> None:
        self._proxy.came += len(data)
        self._build.write(data)
        if self._flow is not None:
            self._flow.passed(len(data))

    def write(self, data: bytes) -> None:
        """Send bytes to the host."""
        if self.transport is not None:
            self._proxy.went += len(data)
            self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._proxy.open.discard(self)
        if self._flow is not None:
            self._flow.ended = True
        if self._build in self._proxy.open:
            cast(ITCPTransport, self._build.transport).loseConnection()


def _is_public(address: IAddress) -> bool:
    try:
        return ip_address(getattr(address, "host", "").partition("%")[0]).is_global
    except ValueError:
        return False
