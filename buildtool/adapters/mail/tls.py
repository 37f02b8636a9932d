"""The TLS that is spoken with the mail server: what is believed of it, and the certificate that we show it.

Tested by tests/adapters/mail/test_smtp.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import ConfigurationError

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
"""The kinds of keys that a certificate for TLS may have."""

FILE_LIMIT = 256 * 1024
"""The most bytes that are read of a file of certificates, or of a key."""


def client_context(settings: MailSettings, trust_root: object | None = None) -> IOpenSSLClientConnectionCreator:
    """Return what begins TLS with the mail server; ``trust_root`` replaces the system's trusted authorities.

    Our own certificate is read anew, since it is renewed in place. Raises ConfigurationError that says what to change.
    """
    key, chain = own_certificate(settings)
    own: dict[str, Any] = (
        {"privateKey": key, "certificate": chain[0], "extraCertChain": chain[1:]} if key is not None else {}
    )
    if not settings.verify:
        return ssl.CertificateOptions(**own)
    try:
        return ssl.optionsForClientTLS(
            settings.host,
            trustRoot=trust_root,  # type: ignore[arg-type]
            extraCertificateOptions=own,
        )
    except (UnicodeError, ValueError) as error:
        raise ConfigurationError(
            "there is no certificate for a name like this: give it one without _ in mail.host, or set mail.verify or "
            "mail.starttls"
        ) from error


def own_certificate(settings: MailSettings) -> tuple[Key | None, list[x509.Certificate]]:
    """Return the key and the certificates that we show the mail server, our own first; None and nothing without any.

    Raises ConfigurationError that names the file that is wrong.
    """
    if settings.certificate is None:
        return None, []
    pem = _read("certificate_file", settings.certificate)
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigurationError(f"mail: certificate_file = {settings.certificate}: no PEM certificate") from error
    file = settings.key or settings.certificate
    try:
        key = serialization.load_pem_private_key(_read("key_file", file), None)
    except TypeError as error:
        raise ConfigurationError(f"mail: key_file = {file}: the key is encrypted; it has to be readable") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"mail: key_file = {file}: no PEM private key") from error
    if not isinstance(key, Key) or key.public_key() != chain[0].public_key():
        raise ConfigurationError(f"mail: key_file = {file}: that is not the key of {settings.certificate}")
    return key, chain


def _read(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError(f"mail: {setting} = {path} cannot be read: {error.strerror or error}") from error
    if len(content) > FILE_LIMIT:
        raise ConfigurationError(f"mail: {setting} = {path} has more than {FILE_LIMIT} bytes")
    return content
