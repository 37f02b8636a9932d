"""A certificate that the operator brings, such as a public authority's, and who watches its two files.

Browsers are shown it; build servers and requesters go on to see the farm's own, by which they know the farm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from buildtool.adapters.tls.certificates import DAY, ShownKey, key_id, life_of, read_certificate, read_pem
from buildtool.errors import ConfigurationError

T = TypeVar("T")

SOON = 7 * DAY
"""Seconds before its end from which on a certificate is a problem to be told."""

_LEAST_RSA = 2048
"""Bits of an RSA key; OpenSSL refuses to show smaller ones."""


@frozen
class OwnCertificate:
    """A certificate with its private key, and the certificates that lead on from it to its authority."""

    key: ShownKey = field(eq=False, repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]


def read_own_certificate(certificate: Path, key: Path, now: float | None = None) -> OwnCertificate:
    """Return the certificate in one PEM file, which may have its chain behind it, with the key in the other.

    They may be the same file. One that has expired at ``now`` (seconds of wall time) is refused, if that is said.
    Raises ConfigurationError, which names the file that is wrong.
    """
    first, *chain = _understood("tls_certificate", certificate, read_certificate)
    private = _understood("tls_key", key, _private_key)
    if key_id(first) != key_id(private):
        if any(key_id(one) == key_id(private) for one in chain):
            raise ConfigurationError(
                f"tls_certificate = {certificate}: the certificate of {key} stands behind another one: "
                "it comes first, then that of who signed it"
            )
        raise ConfigurationError(f"tls_key = {key}: that is not the key of {certificate}")
    if now is not None and life_of(first)[1] <= now:
        raise ConfigurationError(f"tls_certificate = {certificate}: it has expired")
    return OwnCertificate(private, first, tuple(chain))


@define(eq=False)
class OwnFiles:
    """The files of an own certificate, which are read again when they change. Made by ``OwnFiles.load``.

    ``current`` is the last one that was good, and ``problem`` what is wrong with what the files hold now, if anything.
    """

    certificate: Path
    key: Path
    current: OwnCertificate
    problem: str = ""
    _seen: object = field(default=None)

    @classmethod
    def load(cls, certificate: Path, key: Path) -> OwnFiles:
        """Return the files, read for the first time: what has expired is a problem, and keeps no farm from its start.

        Raises ConfigurationError.
        """
        seen = _state_of(certificate), _state_of(key)
        found = read_own_certificate(certificate, key)
        return cls(certificate, key, found, seen=seen)

    def look(self, now: float) -> bool:
        """Read the files again if they have changed, or were no good last time; return whether another one is there.

        ``now`` is in seconds of wall time.
        """
        seen = _state_of(self.certificate), _state_of(self.key)
        if seen == self._seen and not self.problem:
            return False
        try:
            found = read_own_certificate(self.certificate, self.key, now)
        except ConfigurationError as error:
            self.problem = f"{error}; the certificate that was there before is shown"
            return False
        before, self.current, self.problem, self._seen = self.current, found, "", seen
        return before != found

    def problems(self, now: float) -> tuple[str, ...]:
        """Return what the operator has to do about it at ``now`` (seconds of wall time), one line each."""
        left = life_of(self.current.certificate)[1] - now
        ends = "" if left > SOON else f"{self.certificate}: the certificate {_ends(left)}, put a new one there"
        return tuple(line for line in (self.problem, ends) if line)


def _ends(left: float) -> str:
    return "has expired" if left <= 0 else f"expires in {math.ceil(left / DAY)} days"


def _state_of(path: Path) -> object:
    """Return what tells another file, or other contents, from what was seen; links are followed."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _understood(setting: str, path: Path, read: Callable[[bytes], T]) -> T:
    try:
        return read(read_pem(path))
    except OSError as error:
        raise ConfigurationError(f"{setting} = {path}: it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{setting} = {path}: {error}") from error


def _private_key(text: bytes) -> ShownKey:
    try:
        key = serialization.load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("it holds no private key that can be read without a password (PEM)") from error
    if not isinstance(key, ShownKey) or (isinstance(key, rsa.RSAPrivateKey) and key.key_size < _LEAST_RSA):
        raise ValueError(f"its key is none that is used for TLS today (RSA of {_LEAST_RSA} bits, ECDSA, Ed25519)")
    return key
