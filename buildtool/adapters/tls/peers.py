"""Who is at the other end of a connection: the key that its certificate carries, and what that may be.

Tested by tests/adapters/control/test_gateway_identities.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, evolve, frozen

from buildtool.adapters.tls.certificates import key_id, life_of
from buildtool.adapters.tls.words import way_in
from buildtool.errors import CertificateExpired, Unauthorised
from buildtool.model.access.identities import Identity
from buildtool.model.access.visitors import holder_of
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.common import Clock
from buildtool.protocol.hello import Hello


@frozen
class PeerKey:
    """The key that a peer has shown (``key_id``), and when the certificate that carried it ends, in wall time."""

    key: str
    expires: float


def peer_key(transport: object) -> PeerKey | None:
    """Return the key of the certificate that a peer has shown, or None; its handshake proved that it has the key."""
    ask = getattr(transport, "getPeerCertificate", None)
    shown = ask() if ask is not None else None
    if shown is None:
        return None
    certificate = shown.to_cryptography()
    return PeerKey(key_id(certificate), life_of(certificate)[1])


@define(eq=False)
class KeyHolders:
    """The ``Identify`` of a port at which each peer is known by its key, and none trusted without one.

    ``known`` returns whose key it is, and raises Unauthorised for one that is unknown or revoked.
    """

    known: Callable[[Principal, str], Awaitable[Identity]]
    clock: Clock

    async def __call__(self, stranger: Principal, transport: object, hello: Hello) -> Principal:
        """Return who a peer is. Raises Unauthorised, which says what to do, and StorageUnavailable."""
        if hello.role == PrincipalRole.JOINING.value:
            return evolve(stranger, role=PrincipalRole.JOINING)
        shown = peer_key(transport)
        if shown is None:
            raise Unauthorised(f"this metaserver serves nobody without a key: {way_in(hello.role)}")
        identity = await self.known(stranger, shown.key)
        somebody = holder_of(identity, stranger)
        if hello.role == PrincipalRole.RENEWING.value:
            return evolve(somebody, role=PrincipalRole.RENEWING)
        if shown.expires <= self.clock.wall():
            raise CertificateExpired(
                f"the certificate of {identity.name} has expired by the metaserver's clock: it has to be renewed first"
            )
        if hello.role != identity.role.value:
            raise Unauthorised(f"the key of {identity.name} is a {identity.role.value}'s, not a {hello.role[:40]}'s")
        return somebody
