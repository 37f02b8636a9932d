"""Connections to and from machines: how one is reached, who is at the other end, and what the system is told of it.

Twisted's endpoint takes no host that IDNA would not write so; names in a hosts file or of containers may be like that.
"""

from __future__ import annotations

import socket

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from buildtool.model.addresses import network_of

CONNECTING = 30.0
"""Seconds that connecting to one address may take."""

_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 120_000))
"""A peer that is gone without a word is noticed within two minutes (seconds; the last one in milliseconds)."""

_CLOSE_WAIT = 8
"""The state in which Linux has a connection that its peer has ended; the first byte of ``TCP_INFO``."""


class _Named(HostnameEndpoint):
    """One whose host was checked before: it is plain ASCII, and means what it says."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host.decode("ascii") if isinstance(host, bytes) else host
        return False, text.encode("ascii"), text


def machine_at(reactor: object, host: str, port: int, timeout: float = CONNECTING) -> IStreamClientEndpoint:
    """Return the endpoint of a port of ``host`` (see ``valid_host``); connecting may take ``timeout`` seconds."""
    return Cancellable(_Named(reactor, host, port, timeout=timeout))


@implementer(IStreamClientEndpoint)
@frozen
class Cancellable:
    """An endpoint of which connecting, when it is cancelled, ends as everything else that is cancelled.

    Twisted's endpoints have words of their own for it, and another one while a name is looked up, which to
    ``addTimeout`` are no time-out, and to a caller that cancelled them a reason to try again.
    """

    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Return a Deferred of the protocol that is connected."""
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)

        def cancel(waiting: Deferred[IProtocol]) -> None:
            waiting.errback(CancelledError())
            connecting.cancel()

        waiting: Deferred[IProtocol] = Deferred(cancel)
        connecting.addBoth(lambda result: None if waiting.called else waiting.callback(result))
        return waiting


def address_of(address: object) -> str:
    """Return an address for people."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return f"{host}:{port}" if host is not None else str(address)[:80]


def network_at(address: object) -> str:
    """Return the network that an address belongs to, as connections are counted; "" for a socket in a directory."""
    return network_of(str(getattr(address, "host", "")))


def no_delay(transport: object) -> None:
    """Send small messages at once, as far as this transport can."""
    found = _internet_socket(transport)
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def keep_alive(transport: object) -> None:
    """Ask the system to find out that a peer is gone, as far as this transport and system can."""
    found = _internet_socket(transport)
    if found is None:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def has_ended(transport: object) -> bool:
    """Return whether the peer ended a connection of which not all was read; False where the system does not say."""
    found = getattr(transport, "socket", None)
    if not isinstance(found, socket.socket) or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        return found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[:1] == bytes((_CLOSE_WAIT,))
    except OSError:
        return False


def _internet_socket(transport: object) -> socket.socket | None:
    found = getattr(transport, "socket", None)
    internet = isinstance(found, socket.socket) and found.family in (socket.AF_INET, socket.AF_INET6)
    return found if internet else None
