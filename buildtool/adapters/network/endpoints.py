"""Connections to machines by name or address, as ``model.hosts`` reads them: also names with ``_`` in them.

Twisted's endpoint takes no host that IDNA would not write so; names in a hosts file or of containers may be like that.
"""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from buildtool.errors import Unavailable

__all__ = ["SiteEndpoints", "machine_at"]

CONNECTING = 30.0
"""Seconds that connecting to one address may take."""


class _Named(HostnameEndpoint):
    """One whose host was checked before: it is plain ASCII, and means what it says."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host.decode("ascii") if isinstance(host, bytes) else host
        return False, text.encode("ascii"), text


def machine_at(reactor: object, host: str, port: int, timeout: float = CONNECTING) -> IStreamClientEndpoint:
    """Return how to connect to a port of ``host``, which is as ``valid_host`` returns it."""
    return _Named(reactor, host, port, timeout=timeout)


@implementer(IAgentEndpointFactory)
class SiteEndpoints:
    """Connects to where URLs lead. Raises Unavailable for a host whose certificate could not be checked."""

    def __init__(self, reactor: IReactorTime, timeout: float) -> None:
        """``timeout`` is in seconds."""
        self._reactor = reactor
        self._timeout = timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return how to connect."""
        host = uri.host.decode("ascii").replace("%25", "%")
        endpoint = machine_at(self._reactor, host, uri.port, self._timeout)
        if uri.scheme != b"https":
            return endpoint
        try:
            return wrapClientTLS(BrowserLikePolicyForHTTPS().creatorForNetloc(uri.host, uri.port), endpoint)
        except (UnicodeError, ValueError) as error:
            raise Unavailable(f"there is no certificate for a name like {host}: give it one without _") from error
