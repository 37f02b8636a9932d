"""The farm's authority as what signs for those who join: requests in, certificates out, all as PEM.

Tested by tests/adapters/control/test_gateway_identities.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from buildtool.adapters.tls.authority import REJOIN_WITHIN, Authority
from buildtool.adapters.tls.certificates import (
    CERTIFICATE_LIFE,
    Key,
    PublicKey,
    certificate_request,
    certificate_text,
    key_id,
    life_of,
    public_bytes,
    public_key,
)
from buildtool.errors import UsageError
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import Signed


@define(eq=False)
class FarmSigner:
    """The ``ports.CertificateSigner`` of an Authority.

    What it signs holds for ``life()`` seconds; an authority that is replaced is believed for ``within()`` seconds more.
    ``pool`` runs what blocks.
    """

    authority: Authority
    pool: Executor
    life: Callable[[], float] = lambda: CERTIFICATE_LIFE
    within: Callable[[], float] = lambda: REJOIN_WITHIN

    @property
    def fingerprint(self) -> str:
        """The ``key_id`` of the authority that signs now."""
        return self.authority.fingerprint

    def authorities(self, now: float) -> tuple[str, ...]:
        return tuple(certificate_text([one]).decode("ascii") for one in self.authority.believed(now))

    def fingerprints(self, now: float) -> tuple[str, ...]:
        return tuple(key_id(one) for one in self.authority.believed(now))

    def is_current(self, certificate: str) -> bool:
        return self.authority.signs_for(x509.load_pem_x509_certificate(certificate.encode("ascii")))

    async def rotate(self, now: float) -> None:
        await self.pool.run(partial(self.authority.rotate, now, self.within()))

    def sign(self, request: str, name: str, now: float) -> Signed:
        try:
            found = x509.load_pem_x509_csr(request.encode("ascii"))
            key = public_key(public_bytes(found.public_key()))  # type: ignore[arg-type] # whether it is one of ours is looked at
            if not found.is_signature_valid:  # of a key of any size that takes as long as its sender likes
                raise ValueError("it is not signed by the key that it is for")  # noqa: TRY301 - told as the others are
        except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise UsageError(
                f"the request for a certificate is none: {str(error)[:200] or 'it cannot be read'}"
            ) from error
        return self._signed(key, name, now)

    def renew(self, certificate: str, name: str, now: float) -> Signed:
        found = x509.load_pem_x509_certificate(certificate.encode("ascii"))
        return self._signed(public_key(public_bytes(found.public_key())), name, now)  # type: ignore[arg-type] # it was signed here

    def _signed(self, key: PublicKey, name: str, now: float) -> Signed:
        made = self.authority.sign(key, name, now, self.life())
        return Signed(key_id(made), certificate_text([made]).decode("ascii"), life_of(made)[1])


def request_text(key: Key, name: str) -> str:
    """Return a request (PKCS #10, PEM) for a certificate of this key, signed by it."""
    return certificate_request(key, name).decode("ascii")
