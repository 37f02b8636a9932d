"""Keys and certificates of the farm: how they are made, and what identifies a key.

Everything is ECDSA with P-256, and signatures are of SHA-256. Who somebody is follows from the *key* (``key_id``); a
certificate only carries it for a while, so that one that is renewed changes nobody's identity.

Tested by tests/adapters/tls/test_authority.py.
"""

from __future__ import annotations

import hashlib
import ipaddress
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from buildtool.adapters.storage.filesystem import RealDisk, read_whole
from buildtool.model.access.renewal import renewal_at

FARM = "buildtool farm "
"""What the name of every farm's own authority begins with."""

DAY = 86_400.0
AUTHORITY_LIFE = 20 * 365 * DAY
"""Seconds that the certificate of an authority lives: machines that joined hold it, and a farm is run for years."""

CERTIFICATE_LIFE = 30 * DAY
"""Seconds that other certificates live, unless a setting says otherwise."""

BACKDATED = 300.0
"""Seconds by which a certificate begins before it was made: clocks differ."""

PEM_LIMIT = 64 * 1024
"""Most bytes of a file with keys and certificates."""

Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey
ShownKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
"""The kinds of keys that a certificate that the operator brings may have."""


@frozen
class Identified:
    """A certificate with its private key."""

    key: Key
    certificate: x509.Certificate

    def begins(self) -> float:
        """Return when the certificate begins to hold, in seconds of wall time."""
        return life_of(self.certificate)[0]

    def ends(self) -> float:
        """Return when the certificate ends, in seconds of wall time."""
        return life_of(self.certificate)[1]

    def renew_at(self, fraction: float = 0.0) -> float:
        """Return when the certificate is to be renewed, in seconds of wall time; ``fraction`` as in ``renewal_at``."""
        began, ends = life_of(self.certificate)
        return renewal_at(began + BACKDATED, ends, fraction)


def new_key() -> Key:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_text(key: Key, passphrase: bytes | None = None) -> bytes:
    """Return a private key as PEM (PKCS #8), encrypted where a passphrase is said."""
    how = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def is_encrypted(text: bytes) -> bool:
    """Return whether the private key with which a PEM text begins is encrypted (PKCS #8)."""
    return text.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def read_key(text: bytes, passphrase: bytes | None = None) -> Key:
    """Return the private key in a PEM text. Raises ValueError, in words, for what is none of ours."""
    try:
        key = serialization.load_pem_private_key(text, passphrase)
    except (ValueError, TypeError) as error:
        if passphrase is not None:
            raise ValueError("its private key cannot be decrypted with this passphrase") from error
        raise ValueError("it holds no private key that can be read without a password (PEM)") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"its key is {type(key).__name__}, where one of an elliptic curve (P-256) is needed")  # noqa: TRY004
    return key


def public_key(text: bytes) -> PublicKey:
    """Return the public key in DER (SubjectPublicKeyInfo). Raises ValueError, in words, for one that is not P-256."""
    try:
        key = serialization.load_der_public_key(text)
    except (ValueError, TypeError) as error:
        raise ValueError("that is no public key in DER") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("a key of the elliptic curve P-256 is needed")  # noqa: TRY004 - a value from outside
    return key


def public_bytes(key: PublicKey) -> bytes:
    """Return a public key in DER (SubjectPublicKeyInfo)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate_request(key: Key, name: str) -> bytes:
    """Return a request for a certificate of this key (PKCS #10, PEM), signed by it. ``name`` is for people."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject(name)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def key_id(key: ShownKey | x509.Certificate) -> str:
    """Return what identifies a key: the SHA-256 of its SubjectPublicKeyInfo, 64 hex digits (as RFC 7469 pins)."""
    found = key.public_key()
    der = found.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def read_certificate(text: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in a PEM text, in their order.

    Raises ValueError, in words, where there is none, or the last is not there to its end: it may be being written.
    """
    try:
        found = tuple(x509.load_pem_x509_certificates(text))
    except ValueError as error:
        raise ValueError("it holds no certificate (PEM)") from error
    _, ended, rest = text.rpartition(b"-----END ")[2].partition(b"-----")
    if not ended or rest.lstrip().startswith(b"-") or b"-----BEGIN" in rest:
        raise ValueError("it ends in the midst of a certificate (PEM)")
    return found


def certificate_text(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as PEM, one after the other."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def life_of(certificate: x509.Certificate) -> tuple[float, float]:
    """Return when a certificate begins and ends to hold, in seconds of wall time."""
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def read_pem(path: Path) -> bytes:
    """Return what a PEM file of the operator's or owner's holds; links may lead to it, as those that certbot makes.

    Blocks. Raises ValueError, in words, for what is no file or has more than ``PEM_LIMIT`` bytes, OSError.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no file")
    text = read_whole(RealDisk(), path.resolve(), PEM_LIMIT + 1)
    if len(text) > PEM_LIMIT:
        raise ValueError(f"it has more than {PEM_LIMIT // 1024} KiB")
    return text


# --- made ---------------------------------------------------------------------------------------------------------


def is_farms(authority: x509.Certificate) -> bool:
    """Return whether an authority's certificate is, by its name, of a farm's own authority."""
    names = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return any(str(one.value).startswith(FARM) for one in names)


def new_authority(name: str, now: float, life: float = AUTHORITY_LIFE) -> Identified:
    """Return a new authority, which signs itself and holds for ``life`` seconds. ``name`` is for people."""
    key = new_key()
    subject = _subject(name)
    builder = _begun(subject, subject, key.public_key(), now, life).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    return Identified(key, _signed(_for_signing(builder, key), key))


def cross_signed(new: x509.Certificate, old: Identified, now: float, life: float) -> x509.Certificate:
    """Return a certificate of the new authority's key by the old one: a peer that believes the old one believes both.

    ``life`` is in seconds.
    """
    key = new.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("an authority has a key of an elliptic curve")
    builder = _begun(new.subject, old.certificate.subject, key, now, life).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    return _signed(_for_signing(builder, old.key), old.key)


def server_certificate(
    authority: Identified, key: PublicKey, hosts: Iterable[str], now: float, life: float = CERTIFICATE_LIFE
) -> x509.Certificate:
    """Return a certificate with which a metaserver shows that it is the farm's, under these host names and addresses.

    ``life`` is in seconds.
    """
    builder = _leaf(authority, key, "metaserver", now, life, ExtendedKeyUsageOID.SERVER_AUTH)
    names = [_general_name(host) for host in dict.fromkeys(hosts)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _signed(builder, authority.key)


def client_certificate(
    authority: Identified, key: PublicKey, name: str, now: float, life: float = CERTIFICATE_LIFE
) -> x509.Certificate:
    """Return a certificate for the holder of the private key. ``name`` is for people; ``life`` is in seconds."""
    return _signed(_leaf(authority, key, name, now, life, ExtendedKeyUsageOID.CLIENT_AUTH), authority.key)


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether the authority's key signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _leaf(
    authority: Identified, key: PublicKey, name: str, now: float, life: float, purpose: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    return (
        _begun(_subject(name), authority.certificate.subject, key, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )


def _begun(subject: x509.Name, issuer: x509.Name, key: PublicKey, now: float, life: float) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - BACKDATED))
        .not_valid_after(_moment(now + life))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _for_signing(builder: x509.CertificateBuilder, issuer: Key) -> x509.CertificateBuilder:
    return builder.add_extension(_usage(signs_certificates=True), critical=True).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
    )


def _signed(builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return x509.DNSName(host)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
