"""TLS as an endpoint string asks for it: whose certificates are believed, and what this side shows.

Without ``trustRoots`` those are believed that this machine believes anyhow, as a browser does. The host's name has to
stand in the certificate either way. Which of its two certificates a metaserver is asked for follows from who is
believed: where no farm's authority is among them, that is the one that the operator brought.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from buildtool.adapters.tls.certificates import (
    Identified,
    certificate_text,
    is_farms,
    key_id,
    read_certificate,
    read_key,
    read_pem,
)
from buildtool.adapters.tls.contexts import KNOWS_FARM, KNOWS_NOBODY
from buildtool.adapters.tls.words import CONTROL
from buildtool.errors import ConfigurationError
from buildtool.model.access.metaserver_addresses import MetaserverAddress

MOST_FILES = 200
"""Most files of a directory of authorities."""


def authorities_in(directory: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates in the files ``*.pem`` of a directory. Blocks.

    Raises ConfigurationError, which names a file that holds none.
    """
    try:
        paths = sorted(directory.glob("*.pem"))
        if not paths or len(paths) > MOST_FILES:
            why = "holds no file *.pem" if not paths else f"holds more than {MOST_FILES} files *.pem"
            raise ConfigurationError(f"trustRoots={directory} {why if directory.is_dir() else 'is no directory'}")
        return tuple(one for path in paths for one in _certificates(path))
    except OSError as error:
        raise ConfigurationError(f"trustRoots={directory} cannot be read: {error.strerror}") from error


def believes_farm(address: MetaserverAddress) -> bool:
    """Return whether a farm's own authority is among those that an address names. Blocks.

    Raises ConfigurationError.
    """
    return bool(address.trust_roots) and any(map(is_farms, authorities_in(Path(address.trust_roots))))


def tls_to(address: MetaserverAddress, protocol: bytes = CONTROL) -> IOpenSSLClientConnectionCreator:
    """Return how to speak TLS to an address; ``protocol`` is the name for ALPN. Blocks. Raises ConfigurationError."""
    trust, knows = _trust(address)
    return _made(address, trust, [protocol, knows], _shown(address))


def keyed_tls_to(address: MetaserverAddress) -> Callable[[Identified], IOpenSSLClientConnectionCreator]:
    """Return what makes, of the own certificate, how to speak TLS to an address that says whom to believe.

    Blocks. Raises ConfigurationError.
    """
    trust, knows = _trust(address)

    def shows(own: Identified) -> IOpenSSLClientConnectionCreator:
        return _made(address, trust, [CONTROL, knows], {"certificate": own.certificate, "privateKey": own.key})

    return shows


def _trust(address: MetaserverAddress) -> tuple[object, bytes]:
    """Return who is believed at an address, as Twisted takes it, and what is said of that in ALPN."""
    if not address.trust_roots:
        return platformTrust(), KNOWS_NOBODY
    believed = authorities_in(Path(address.trust_roots))
    trust = trustRootFromCertificates([Certificate.loadPEM(certificate_text([one])) for one in believed])
    return trust, KNOWS_FARM if any(map(is_farms, believed)) else KNOWS_NOBODY


def _made(
    address: MetaserverAddress, trust: object, names: list[bytes], shown: Mapping[str, object]
) -> IOpenSSLClientConnectionCreator:
    try:
        made: IOpenSSLClientConnectionCreator = optionsForClientTLS(
            address.host,
            trustRoot=trust,  # type: ignore[arg-type] # Twisted keeps the name of this interface to itself
            acceptableProtocols=names,
            extraCertificateOptions=dict(shown),
        )
    except (UnicodeError, ValueError) as error:
        raise ConfigurationError(f"the certificate of {address.host} could not be checked: {error}") from error
    return made


def mistrust_words(address: MetaserverAddress) -> str:
    """Return what is said where the certificate that an address shows is of no authority that is believed there."""
    clock = "or this machine's clock is wrong"
    if address.trust_roots:
        return (
            f"its certificate is of no authority in trustRoots={address.trust_roots} (put the farm's there, "
            f"or that of the metaserver's own certificate), {clock}"
        )
    return (
        "its certificate is of no authority that this machine's system believes (join the farm with a line of its "
        f"operator's, or give tls:{address.where}:trustRoots=DIR, a directory with the farm's authority), {clock}"
    )


def _shown(address: MetaserverAddress) -> dict[str, object]:
    """Return what Twisted takes for the own certificate. Raises ConfigurationError."""
    if not address.certificate:
        return {}
    path = Path(address.certificate)
    try:
        own, *others = _certificates(path)
        path = Path(address.private_key)
        key = read_key(read_pem(path))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if key_id(own) != key_id(key):
        raise ConfigurationError(f"{address.certificate} is not of the key {address.private_key}")
    return {"certificate": own, "extraCertChain": others, "privateKey": key}


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return read_certificate(read_pem(path))
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
