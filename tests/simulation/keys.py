"""Keys, certificates and the farm's authority without arithmetic: texts that nobody but the world can make.

They stand for those of ``cryptography`` where the real parts ask for them. What the real ones look like, and what TLS
does with them, is held in tests/adapters/tls. Everything follows from the world's seed, so that its trace does too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from attrs import define, field, frozen

from buildtool.adapters.tls import credentials
from buildtool.adapters.tls.certificates import BACKDATED
from buildtool.errors import UsageError
from buildtool.ports.metaserver import Signed

_KEY = re.compile(rb"key ([0-9a-f]{40})\n")
_REQUEST = re.compile(r"request ([0-9a-f]{40})\n")
_CERTIFICATE = re.compile(rb"certificate ([0-9a-f]{40}) from ([0-9.]+) to ([0-9.]+)\n")


@frozen
class Key:
    """A key: who has this object can prove to have it."""

    public: str

    @property
    def id(self) -> str:
        """The ``key_id``."""
        return hashlib.sha256(self.public.encode()).hexdigest()

    @property
    def request(self) -> str:
        """A request for a certificate, which only its holder can make."""
        return f"request {self.public}\n"

    def public_key(self) -> Key:
        return self

    def public_bytes(self, *_form: object) -> bytes:
        return self.public.encode()


@frozen
class Certificate(Key):
    """A certificate that the farm made for a key."""

    begins: float
    expires: float

    @property
    def text(self) -> str:
        """The certificate as it is sent and kept."""
        return f"certificate {self.public} from {self.begins:.3f} to {self.expires:.3f}\n"

    @property
    def not_valid_before_utc(self) -> datetime:
        return datetime.fromtimestamp(self.begins, UTC)

    @property
    def not_valid_after_utc(self) -> datetime:
        return datetime.fromtimestamp(self.expires, UTC)

    def to_cryptography(self) -> Certificate:
        return self


def read_certificates(text: bytes) -> tuple[Certificate, ...]:
    """Return the certificates in a text. Raises ValueError where there is none."""
    found = tuple(
        Certificate(public.decode(), float(begins), float(expires))
        for public, begins, expires in _CERTIFICATE.findall(text)
    )
    if not found:
        raise ValueError("it holds no certificate")
    return found


@define(eq=False)
class Keys:
    """All keys of a world, made one after the other."""

    seed: int
    _made: int = field(default=0, init=False)

    def new(self) -> Key:
        """Return a new key."""
        self._made += 1
        return Key(hashlib.sha256(f"{self.seed} {self._made}".encode()).hexdigest()[:40])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the real ``CredentialStore`` keep these keys in place of those of ``cryptography``."""
        instead: dict[str, Callable[..., object]] = {
            "new_key": self.new,
            "key_text": lambda key: f"key {key.public}\n".encode(),
            "read_key": _read_key,
            "read_certificate": read_certificates,
        }
        before = {name: getattr(credentials, name) for name in instead}
        for name, function in instead.items():
            setattr(credentials, name, function)
        try:
            yield
        finally:
            for name, function in before.items():
                setattr(credentials, name, function)


def _read_key(text: bytes) -> Key:
    found = _KEY.fullmatch(text)
    if found is None:
        raise ValueError("it holds no private key")
    return Key(found[1].decode())


@define(eq=False)
class Signer:
    """``ports.CertificateSigner``: certificates live for ``life`` seconds."""

    life: float
    own: Certificate = Certificate("ca" * 20, 0.0, 4e9)

    @property
    def fingerprint(self) -> str:
        return self.own.id

    def authorities(self, now: float) -> tuple[str, ...]:
        return (self.own.text,)

    def fingerprints(self, now: float) -> tuple[str, ...]:
        return (self.own.id,)

    def is_current(self, certificate: str) -> bool:
        return True

    async def rotate(self, now: float) -> None:
        raise UsageError("this farm stays with its authority")

    def sign(self, request: str, name: str, now: float) -> Signed:
        found = _REQUEST.fullmatch(request)
        if found is None:
            raise UsageError("the request for a certificate is none")
        return self._signed(found[1], now)

    def renew(self, certificate: str, name: str, now: float) -> Signed:
        return self._signed(read_certificates(certificate.encode())[0].public, now)

    def _signed(self, public: str, now: float) -> Signed:
        made = Certificate(public, round(now - BACKDATED, 3), round(now + self.life, 3))
        return Signed(made.id, made.text, made.expires)
