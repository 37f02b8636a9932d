"""The farm's own certificate authority, in a directory: made at the first start, moved to a new key when asked to.

Each authority is a file of its own, ``authority-N.pem``, which holds its private key, its certificate, and but for the
first the same key signed by the one before it. The last is the one that signs; the older ones are believed. The
metaserver's own certificate is in ``server.pem``. Every file is made whole, readable by its owner only, never changed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen
from cryptography import x509

from buildtool.adapters.storage.filesystem import (
    Disk,
    RealDisk,
    make_directories,
    put_whole,
    read_whole,
    remove_half_made,
    storage_unavailable,
    write_whole,
)
from buildtool.adapters.tls.certificates import (
    CERTIFICATE_LIFE,
    DAY,
    FARM,
    PEM_LIMIT,
    Identified,
    PublicKey,
    certificate_text,
    client_certificate,
    cross_signed,
    is_encrypted,
    key_id,
    key_text,
    life_of,
    new_authority,
    new_key,
    read_certificate,
    read_key,
    server_certificate,
    signed_by,
)
from buildtool.errors import ConfigurationError, UsageError
from buildtool.protocol.enrolment import AUTHORITIES

REJOIN_WITHIN = 400 * DAY
"""Seconds for which those that were away still believe what they believed: as long a new authority is cross-signed."""

KEYS = "tls"
"""Where keys and certificates lie in the state directory."""

SERVER = "server.pem"
"""The file of the metaserver's own certificate."""

_BEING_MADE = 60.0
"""Seconds for which a file that is not whole may be another program's: pages have a certificate made, too."""

_AUTHORITY = re.compile(r"authority-([1-9][0-9]{0,5})\.pem")


@frozen
class _Signer:
    """One authority of the farm's: its number, and its key signed by the one before (``bridge``)."""

    number: int
    identified: Identified
    bridge: x509.Certificate | None = None


@define(eq=False)
class Authority:
    """The authorities of a farm. Made by ``Authority.load``; everything of it blocks."""

    directory: Path
    disk: Disk
    _signers: list[_Signer] = field(factory=list)

    @classmethod
    def load(cls, directory: Path, now: float, disk: Disk | None = None) -> Authority:
        """Return the authority in ``directory``, which is made when it is not there; ``now`` is wall time.

        Raises ConfigurationError for a file that is not what it should be, StorageUnavailable.
        """
        made = cls(directory, disk or RealDisk())
        try:
            make_directories(made.disk, directory)
            remove_half_made(made.disk, directory, lambda found: found.mtime_ns < (now - _BEING_MADE) * 1e9)
            made._read()
            if not made._signers:
                made.rotate(now)
        except OSError as error:
            raise storage_unavailable(f"read or make the keys in {directory}", error) from error
        return made

    def rotate(self, now: float, within: float = REJOIN_WITHIN) -> None:
        """Make a new authority, which signs from ``now`` (wall time) on.

        What older ones signed is believed for ``within`` seconds more. Raises UsageError, StorageUnavailable.
        """
        if len(self.believed(now)) >= AUTHORITIES:
            raise UsageError(
                f"{AUTHORITIES} authorities are believed already: make the next when one of them no longer is"
            )
        number = self._signers[-1].number + 1 if self._signers else 1
        fresh = new_authority(f"{FARM}{secrets.token_hex(4)}", now)
        bridge = None
        if self._signers:
            bridge = cross_signed(fresh.certificate, self._signers[-1].identified, now, within)
        text = _text(fresh, *([bridge] if bridge is not None else []))
        try:
            put_whole(self.disk, self.directory / f"authority-{number}.pem", text, replace=False)
            self._read()  # whoever was quicker made the one that counts
        except OSError as error:
            raise storage_unavailable(f"make a new authority in {self.directory}", error) from error

    @property
    def fingerprint(self) -> str:
        """What identifies the authority that signs now (``key_id``)."""
        return key_id(self._signers[-1].identified.key)

    def believed(self, now: float) -> tuple[x509.Certificate, ...]:
        """Return the certificates of the authorities believed at ``now`` (wall time), first of the one that signs.

        One is believed until the next one's certificate by it has ended.
        """
        found = self._signers[-1:]
        for older, newer in zip(self._signers[-2::-1], self._signers[:0:-1], strict=False):
            if newer.bridge is None or life_of(newer.bridge)[1] <= now:
                break
            found.append(older)
        return tuple(one.identified.certificate for one in found)

    def signs_for(self, certificate: x509.Certificate) -> bool:
        """Return whether the authority that signs now made a certificate of the farm's."""
        try:
            named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        except x509.ExtensionNotFound:
            return False
        return named == x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self._signers[-1].identified.key.public_key()
        )

    def chain(self, now: float) -> tuple[x509.Certificate, ...]:
        """Return what leads from a certificate of the farm's to each authority that a peer may still believe.

        ``now`` is wall time.
        """
        bridges = [one.bridge for one in reversed(self._signers) if one.bridge is not None]
        return (*(one for one in bridges if life_of(one)[1] > now), *self.believed(now))

    def sign(self, key: PublicKey, name: str, now: float, life: float = CERTIFICATE_LIFE) -> x509.Certificate:
        """Return a certificate for a machine's or person's key, which holds for ``life`` seconds."""
        return client_certificate(self._signers[-1].identified, key, name, now, life)

    def server(self, hosts: Sequence[str], now: float, life: float = CERTIFICATE_LIFE) -> Identified:
        """Return the metaserver's own certificate for these hosts: a new one where the old one will not do.

        ``now`` is wall time, ``life`` in seconds. Raises ConfigurationError, StorageUnavailable.
        """
        path = self.directory / SERVER
        try:
            self._read()  # another process may have made another authority
            try:
                found, _ = read_identity(path, self.disk)
            except FileNotFoundError:
                found = None
            if found is not None and self._serves(found, hosts, now, life):
                return found
            key = new_key()
            made = Identified(key, server_certificate(self._signers[-1].identified, key.public_key(), hosts, now, life))
            put_whole(self.disk, path, _text(made))
        except OSError as error:
            raise storage_unavailable(f"read or make the certificate {path}", error) from error
        return made

    def _serves(self, found: Identified, hosts: Sequence[str], now: float, life: float) -> bool:
        return (
            life_of(found.certificate)[0] <= now < found.renew_at()
            and set(hosts_of(found.certificate)) == set(hosts)
            and life_of(found.certificate)[1] <= now + life
            and signed_by(found.certificate, self._signers[-1].identified.certificate)
        )

    def _read(self) -> None:
        signers = []
        for name in self.disk.names(self.directory):
            found = _AUTHORITY.fullmatch(name)
            if found is None:
                continue
            identified, others = read_identity(self.directory / name, self.disk)
            signers.append(_Signer(int(found[1]), identified, others[0] if others else None))
        self._signers = sorted(signers, key=lambda one: one.number)  # at once: another thread may look


def read_identity(path: Path, disk: Disk) -> tuple[Identified, tuple[x509.Certificate, ...]]:
    """Return the key in a PEM file with its certificate, which comes first, and the certificates after that.

    Raises ConfigurationError, which names the file, and OSError.
    """
    text = read_whole(disk, path, PEM_LIMIT)
    if is_encrypted(text):
        raise ConfigurationError(
            f"{path} is encrypted, as in a backup: bin/metaserver restore --passphrase-file FILE makes it usable"
        )
    try:
        key = read_key(text)
        first, *others = read_certificate(text)
        if key_id(first) != key_id(key):
            raise ValueError("its first certificate is not of its private key")  # noqa: TRY301 - told with the file's name
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}; put the file back from a backup") from error
    return Identified(key, first), tuple(others)


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names and addresses that a certificate is for (subjectAltName)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(one.value) for one in names)


def _text(identified: Identified, *others: x509.Certificate) -> bytes:
    return key_text(identified.key) + certificate_text([identified.certificate, *others])


# --- in a backup ---------------------------------------------------------------------------------------------------


def copy_authorities(source: Path, target: Path, passphrase: bytes | None, disk: Disk) -> int:
    """Copy all authorities durably into a directory that is there; return how many files that are.

    Their keys are encrypted by ``passphrase`` where one is said. Raises ConfigurationError, OSError.
    """
    names = authority_files(source, disk)
    for name in names:
        identified, others = read_identity(source / name, disk)
        text = key_text(identified.key, passphrase) + certificate_text([identified.certificate, *others])
        write_whole(disk, target / name, text)
    disk.sync_directory(target)
    return len(names)


def decrypt_authorities(directory: Path, passphrase: bytes, disk: Disk) -> int:
    """Write the keys of authorities that came from a backup as they are used; return how many were encrypted.

    Raises ConfigurationError for a wrong passphrase, OSError.
    """
    count = 0
    for name in authority_files(directory, disk):
        path = directory / name
        text = read_whole(disk, path, PEM_LIMIT)
        if not is_encrypted(text):
            continue
        try:
            key = read_key(text, passphrase)
        except ValueError as error:
            raise ConfigurationError(f"{path}: {error}") from error
        put_whole(disk, path, key_text(key) + certificate_text(read_certificate(text)))
        count += 1
    return count


def encrypted_authorities(directory: Path, disk: Disk) -> list[Path]:
    """Return the files with authorities whose keys are encrypted, as in a backup. Raises OSError."""
    paths = (directory / name for name in authority_files(directory, disk))
    return [path for path in paths if is_encrypted(read_whole(disk, path, PEM_LIMIT))]


def authority_files(directory: Path, disk: Disk) -> list[str]:
    """Return the names of the files with authorities in a directory, none where it is not there. Raises OSError."""
    try:
        return sorted(name for name in disk.names(directory) if _AUTHORITY.fullmatch(name))
    except FileNotFoundError:
        return []
