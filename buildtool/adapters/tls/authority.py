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
    OpenMode,
    RealDisk,
    make_directories,
    opened,
    read_whole,
    remove,
    storage_unavailable,
)
from buildtool.adapters.tls.certificates import (
    CERTIFICATE_LIFE,
    DAY,
    Identified,
    PublicKey,
    certificate_text,
    client_certificate,
    cross_signed,
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
from buildtool.errors import ConfigurationError

__all__ = ["Authority", "hosts_of", "read_identity"]

REJOIN_WITHIN = 400 * DAY
"""Seconds for which those that were away still believe what they believed: as long a new authority is cross-signed."""

PEM_LIMIT = 64 * 1024
"""Most bytes of a file with keys and certificates."""

_AUTHORITY = re.compile(r"authority-([1-9][0-9]{0,5})\.pem")
_SERVER = "server.pem"


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
            made._read()
            if not made._signers:
                made.rotate(now)
        except OSError as error:
            raise storage_unavailable(f"read or make the keys in {directory}", error) from error
        return made

    def rotate(self, now: float) -> None:
        """Make a new authority, which signs from ``now`` (wall time) on; what older ones signed is still believed.

        Raises StorageUnavailable.
        """
        number = self._signers[-1].number + 1 if self._signers else 1
        fresh = new_authority(f"buildtool farm {secrets.token_hex(4)}", now)
        bridge = None
        if self._signers:
            bridge = cross_signed(fresh.certificate, self._signers[-1].identified, now, REJOIN_WITHIN)
        text = _text(fresh, *([bridge] if bridge is not None else []))
        try:
            self._write(f"authority-{number}.pem", text, replace=False)
            self._read()  # whoever was quicker made the one that counts
        except OSError as error:
            raise storage_unavailable(f"make a new authority in {self.directory}", error) from error

    @property
    def fingerprint(self) -> str:
        """What identifies the authority that signs now (``key_id``)."""
        return key_id(self._signers[-1].identified.key)

    @property
    def believed(self) -> tuple[x509.Certificate, ...]:
        """The certificates of all authorities, the one that signs now first."""
        return tuple(one.identified.certificate for one in reversed(self._signers))

    def chain(self, now: float) -> tuple[x509.Certificate, ...]:
        """Return what leads from a certificate of the farm's to each authority that a peer may still believe.

        ``now`` is wall time.
        """
        bridges = [one.bridge for one in reversed(self._signers) if one.bridge is not None]
        return (*(one for one in bridges if life_of(one)[1] > now), *self.believed)

    def sign(self, key: PublicKey, name: str, now: float, life: float = CERTIFICATE_LIFE) -> x509.Certificate:
        """Return a certificate for a machine's or person's key, which holds for ``life`` seconds."""
        return client_certificate(self._signers[-1].identified, key, name, now, life)

    def server(self, hosts: Sequence[str], now: float, life: float = CERTIFICATE_LIFE) -> Identified:
        """Return the metaserver's own certificate for these hosts: a new one where the old one will not do.

        ``now`` is wall time, ``life`` in seconds. Raises ConfigurationError, StorageUnavailable.
        """
        path = self.directory / _SERVER
        try:
            try:
                found, _ = read_identity(path, self.disk)
            except FileNotFoundError:
                found = None
            if found is not None and self._serves(found, hosts, now):
                return found
            key = new_key()
            made = Identified(key, server_certificate(self._signers[-1].identified, key.public_key(), hosts, now, life))
            self._write(_SERVER, _text(made), replace=True)
        except OSError as error:
            raise storage_unavailable(f"read or make the certificate {path}", error) from error
        return made

    def _serves(self, found: Identified, hosts: Sequence[str], now: float) -> bool:
        return (
            life_of(found.certificate)[0] <= now < found.renew_at()
            and set(hosts_of(found.certificate)) == set(hosts)
            and signed_by(found.certificate, self._signers[-1].identified.certificate)
        )

    def _read(self) -> None:
        self._signers = []
        for name in self.disk.names(self.directory):
            found = _AUTHORITY.fullmatch(name)
            if found is None:
                continue
            identified, others = read_identity(self.directory / name, self.disk)
            self._signers.append(_Signer(int(found[1]), identified, others[0] if others else None))
        self._signers.sort(key=lambda one: one.number)

    def _write(self, name: str, text: bytes, *, replace: bool) -> None:
        """Make a file whole and durably; one that is there is replaced, or stays. Raises OSError."""
        fresh = self.directory / f".{name}.{secrets.token_hex(8)}"
        try:
            with opened(self.disk, fresh, OpenMode.NEW) as file:
                self.disk.append(file, text)
                self.disk.sync(file)
            if replace:
                self.disk.rename(fresh, self.directory / name)
            else:
                self.disk.link(fresh, self.directory / name)
        except FileExistsError:
            pass
        finally:
            remove(self.disk, fresh)
        self.disk.sync_directory(self.directory)


def read_identity(path: Path, disk: Disk) -> tuple[Identified, tuple[x509.Certificate, ...]]:
    """Return the key in a PEM file with its certificate, which comes first, and the certificates after that.

    Raises ConfigurationError, which names the file, and OSError.
    """
    text = read_whole(disk, path, PEM_LIMIT)
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
