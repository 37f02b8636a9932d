"""Where URLs lead, for an HTTP client. A module of its own: a server that asks nobody does not load a client."""

from __future__ import annotations

from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from buildtool.adapters.network.endpoints import machine_at
from buildtool.errors import Unavailable


@implementer(IAgentEndpointFactory)
class SiteEndpoints:
    """The endpoints that URLs lead to."""

    def __init__(self, reactor: IReactorTime, timeout: float) -> None:
        """``timeout`` is in seconds."""
        self._reactor = reactor
        self._timeout = timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a site. Raises Unavailable where its certificate could not be checked."""
        host = uri.host.decode("ascii").replace("%25", "%")
        endpoint = machine_at(self._reactor, host, uri.port, self._timeout)
        if uri.scheme != b"https":
            return endpoint
        try:
            return wrapClientTLS(BrowserLikePolicyForHTTPS().creatorForNetloc(uri.host, uri.port), endpoint)
        except (UnicodeError, ValueError) as error:
            raise Unavailable(f"there is no certificate for a name like {host}: give it one without _") from error
