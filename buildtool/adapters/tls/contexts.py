"""What OpenSSL is told: TLS 1.2 and later with forward secrecy, who is believed, and which protocol is spoken.

The system's policy for other programs does not count here: what is allowed is said in full.

Tested by tests/adapters/tls/test_one_port.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from buildtool.adapters.tls.certificates import Identified, ShownKey, key_id, life_of
from buildtool.adapters.tls.words import CONTROL, time_words
from buildtool.errors import InternalError
from buildtool.model.addresses import is_address

ANY_HTTP = b"http/1.1"
"""The name of HTTP; a peer that names nothing speaks it too."""

OF_THE_FARM = b"buildtool"
"""What the names begin with of which a peer says one that knows the farm by its own authority."""

KNOWS_FARM = b"buildtool-farm"
"""A name that is never agreed on: with it a peer that speaks HTTP asks to be shown the farm's own certificate."""

KNOWS_NOBODY = b"buildtool-public"
"""A name that is never agreed on: with it a peer that believes public authorities asks to be shown what browsers are,
also where it speaks the control protocol."""

CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""The suites of TLS 1.2, in OpenSSL's words: forward secrecy and authenticated encryption. TLS 1.3 has no others."""

NOT_YET_VALID, EXPIRED = 9, 10
"""OpenSSL's numbers for a certificate whose time has not come, or is over (X509_V_ERR_…)."""

_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET
"""No session is resumed: each connection shows its certificate anew, so that a revoked key is always noticed."""


class WrongTime(SSL.Error):
    """A certificate's time has not come, or is over, by this machine's clock. The message says so in words."""

    def __init__(self, words: str) -> None:
        super().__init__([("", "", words)])  # Twisted reads OpenSSL's errors as triples
        self.words = words


class TlsConnection(SSL.Connection):
    """A connection as OpenSSL sees it, in whose handshake every failure is an error with a reason.

    One that the peer ends before its end is reported without any, which Twisted cannot read.
    """

    def do_handshake(self) -> None:
        """Run the handshake as far as it goes. Raises SSL.Error."""
        try:
            super().do_handshake()
        except SSL.ZeroReturnError as error:
            raise SSL.Error([("", "", "the peer ended the handshake")]) from error


class UnknownProtocol(SSL.Error):
    """A peer names only protocols that are not spoken here."""


class Shown(Protocol):
    """A certificate with its private key, and the certificates that lead on from it to its authority."""

    @property
    def key(self) -> ShownKey:
        """The private key."""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate."""

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """The certificates that follow it."""


@define(eq=False)
class ServerTls:
    """The certificates that ports show, and the authorities that they believe; both may be changed while it runs.

    ``identity`` is shown with ``chain``, the certificates that lead on from it to the authority. ``believed`` are the
    authorities whose certificates clients may show, which they need not. ``own`` is what the operator brought, such as
    a public authority's certificate, for clients that do not say that they know the farm, or say that they do not.
    """

    identity: Identified
    chain: Sequence[x509.Certificate]
    believed: Sequence[x509.Certificate] = ()
    own: Shown | None = None
    _farm: SSL.Context = field(init=False)
    _others: SSL.Context = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.take(self.identity, self.chain, self.believed)

    def take(
        self, identity: Identified, chain: Sequence[x509.Certificate], believed: Sequence[x509.Certificate]
    ) -> None:
        """Show another certificate, and believe others, from the next connection on. Raises ValueError, in words."""
        self._farm = _server_context(identity.key, identity.certificate, chain, believed)
        self.identity, self.chain, self.believed = identity, chain, believed
        self.take_own(self.own)

    def take_own(self, own: Shown | None) -> None:
        """Show others another certificate from the next connection on. Raises ValueError, in words."""
        self._others = self._farm
        if own is not None:
            self._others = _server_context(own.key, own.certificate, own.chain, self.believed)
        self.own = own

    def context(self, named: Iterable[bytes]) -> SSL.Context:
        """Return what is shown to a client that names these protocols."""
        names = tuple(named)
        of_farm = KNOWS_NOBODY not in names and any(one.startswith(OF_THE_FARM) for one in names)
        return self._farm if of_farm else self._others


@implementer(IOpenSSLServerConnectionCreator)
@frozen(eq=False)
class PortTls:
    """The TLS of one port. The factory of its protocols has ``spoken``, names for ALPN, the preferred ones first."""

    shown: ServerTls

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return OpenSSL's part of a new connection."""
        connection = TlsConnection(self.shown.context(()), None)
        connection.set_app_data(protocol)  # as Twisted does
        return connection


def _select(connection: SSL.Connection, named: list[bytes]) -> bytes:
    spoken: Sequence[bytes] = connection.get_app_data().factory.spoken
    for name in spoken:
        if name in named:
            return name
    # Twisted reads OpenSSL's errors as triples.
    raise UnknownProtocol([("", "", f"it speaks none of {', '.join(one.decode() for one in spoken)}")])


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class ClientTls:
    """A way to connect by TLS: which authorities are believed, and what is shown.

    ``believed`` are the authorities, and ``identity`` is shown where there is one. ``any_time`` lets a certificate pass
    whose time has not come or is over: the own clock may be wrong, by ``skew`` seconds where that is known.
    ``protocol`` is the name for ALPN, and ``name`` is the host, sent so that a proxy can tell farms apart (SNI).
    """

    believed: Sequence[x509.Certificate]
    identity: Identified | None = None
    any_time: bool = False
    protocol: bytes = CONTROL
    name: str = ""
    skew: float = 0.0
    _context: SSL.Context = field(init=False)

    def __attrs_post_init__(self) -> None:
        context = _context(self.believed)
        if self.identity is not None:
            _show(context, self.identity.key, self.identity.certificate, ())
        context.set_verify(SSL.VERIFY_PEER, _pass_times if self.any_time else self._pass_none)
        context.set_alpn_protos([self.protocol] if self.protocol == CONTROL else [self.protocol, KNOWS_FARM])
        self._context = context

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return OpenSSL's part of a new connection."""
        return named_connection(self._context, self.name)

    def _pass_none(
        self, _connection: SSL.Connection, certificate: crypto.X509, error: int, _depth: int, ok: int
    ) -> bool:
        if error in (EXPIRED, NOT_YET_VALID) and not ok:
            raise WrongTime(time_words(life_of(certificate.to_cryptography()), time.time(), self.skew))
        return bool(ok)


def named_connection(context: SSL.Context, host: str) -> SSL.Connection:
    """Return a client's new connection, which names the host that it is for (SNI) unless that is an address."""
    connection = TlsConnection(context, None)
    if host and not is_address(host.partition("%")[0]):
        connection.set_tlsext_host_name(host.encode("ascii"))
    return connection


Verify = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


def _pass_expired(_connection: SSL.Connection, _certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Accept a client whose own certificate has expired, and only that: what it may call then is decided later."""
    return bool(ok) or (error == EXPIRED and depth == 0)


def _pass_times(_connection: SSL.Connection, _certificate: crypto.X509, error: int, _depth: int, ok: int) -> bool:
    return bool(ok) or error in (EXPIRED, NOT_YET_VALID)


def _context(believed: Sequence[x509.Certificate]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    store = context.get_cert_store()
    if believed and store is None:
        raise InternalError("OpenSSL gave a context without a store of authorities")
    for one in believed:
        store.add_cert(crypto.X509.from_cryptography(one))  # type: ignore[union-attr] # see above
    return context


def _server_context(
    key: ShownKey,
    certificate: x509.Certificate,
    chain: Iterable[x509.Certificate],
    believed: Sequence[x509.Certificate],
) -> SSL.Context:
    context = _context(believed)
    _show(context, key, certificate, chain)
    context.set_verify(SSL.VERIFY_PEER, _pass_expired)
    for one in believed:
        context.add_client_ca(one)
    context.set_alpn_select_callback(_select)
    return context


def _show(
    context: SSL.Context, key: ShownKey, certificate: x509.Certificate, chain: Iterable[x509.Certificate]
) -> None:
    if key_id(key) != key_id(certificate):
        raise ValueError("the certificate is not of this private key")
    context.use_certificate(certificate)
    context.use_privatekey(key)
    for one in chain:
        context.add_extra_chain_cert(one)


@implementer(IStreamClientEndpoint)
@frozen
class OverTls:
    """An endpoint of which each connection speaks TLS as ``tls`` says.

    Twisted's own wrapper is of no use where its endpoints were loaded without OpenSSL, as by a requester.
    """

    tls: IOpenSSLClientConnectionCreator
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Return a Deferred of the protocol that is connected."""
        over = TLSMemoryBIOFactory(self.tls, True, protocolFactory)
        connecting: Deferred[Any] = self.endpoint.connect(over)
        inner: Deferred[IProtocol] = connecting.addCallback(lambda made: made.wrappedProtocol)
        return inner
