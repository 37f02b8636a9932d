"""The first contact with a farm: the authority whose key has the fingerprint that an invitation names.

Nothing is believed on this connection and nothing is sent over it. It only fetches the authority's certificate, which
later connections then believe, and OpenSSL verifies all of it there.

Tested by tests/adapters/tls/test_one_port.py.
"""

# Much of Twisted's TLS carries no annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from attrs import define
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.adapters.tls.certificates import key_id
from buildtool.adapters.tls.contexts import OverTls, named_connection
from buildtool.adapters.tls.words import CONTROL
from buildtool.errors import Unauthorised, Unavailable

WITHIN = 10.0
"""Seconds that the handshake may take."""

LEAVING = 1.0
"""Seconds that the peer has to end the connection in its turn."""


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class _BelievesAnything:
    """TLS in which no certificate is refused, since nothing is said but what the peer shows. ``host`` is named."""

    host: str

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_verify(SSL.VERIFY_PEER, _pass_all)
        context.set_alpn_protos([CONTROL])
        return named_connection(context, self.host)


def _pass_all(_connection: SSL.Connection, _certificate: crypto.X509, _error: int, _depth: int, _ok: int) -> bool:
    return True


@implementer(IHandshakeListener)
class _Looks(Protocol):
    """Takes down what the peer shows, and leaves."""

    transport: TLSMemoryBIOProtocol

    def __init__(self) -> None:
        self.shown: Deferred[list[x509.Certificate]] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        """Take the chain."""
        chain = self.transport.getHandle().get_peer_cert_chain() or []
        self.transport.loseConnection()  # in order: a connection that breaks off would be a warning there
        if not self.shown.called:
            self.shown.callback([one.to_cryptography() for one in chain])

    def dataReceived(self, data: bytes) -> None:
        """Ignore what is said."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the end, also where it came first."""
        self.ended.callback(None)
        if not self.shown.called:
            self.shown.errback(reason)


async def pinned_authority(
    endpoint: IStreamClientEndpoint, where: str, fingerprint: str, clock: IReactorTime, host: str = ""
) -> x509.Certificate:
    """Return the certificate of the authority whose key has this ``fingerprint``; ``where`` is for messages.

    ``host`` is named to whatever answers, so that a proxy can tell farms apart.
    Raises Unauthorised where another farm answers, and Unavailable where none does.
    """
    for one in await chain_at(endpoint, where, clock, host):
        if key_id(one) == fingerprint and one.issuer == one.subject:  # and not the one by the authority before it
            return one
    raise Unauthorised(
        f"what answers at {where} is not the metaserver of this invitation: its key is another one. Somebody may "
        "listen in between, or the farm has moved to another authority long ago: ask the operator for a new line"
    )


async def chain_at(
    endpoint: IStreamClientEndpoint, where: str, clock: IReactorTime, host: str = ""
) -> list[x509.Certificate]:
    """Return the certificates that a metaserver shows to who asks for ``host``, none of them believed.

    Raises Unavailable.
    """
    looks = _Looks()
    try:
        await OverTls(_BelievesAnything(host), endpoint).connect(Factory.forProtocol(lambda: looks))
        chain = await looks.shown.addTimeout(WITHIN, clock)
        looks.ended.addTimeout(LEAVING, clock).addErrback(lambda _late: looks.transport.abortConnection())
        await looks.ended
    except (SSL.Error, error.ConnectionClosed) as problem:
        raise Unavailable(f"what answers at {where} does not speak TLS as a metaserver does") from problem
    except defer.TimeoutError as problem:
        looks.transport.abortConnection()
        raise Unavailable(f"what answers at {where} made no TLS handshake within {WITHIN:g} s") from problem
    except error.DNSLookupError as problem:
        raise Unavailable(f"no metaserver answers at {where}: no such host is known") from problem
    except error.ConnectError as problem:
        raise Unavailable(f"no metaserver answers at {where}: {problem}") from problem
    return chain
