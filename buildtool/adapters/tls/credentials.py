"""The key and certificate of a machine or person that joined a farm, and what they believe, in a directory.

``key.pem`` is made before anything is asked, so that a join that was cut off goes on with the same key.
``identity.json`` is written last, when everything is there, and replaced as a whole by each renewal.

Tested by tests/e2e/test_identities.py.
"""

from __future__ import annotations

import json
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
    PEM_LIMIT,
    Identified,
    Key,
    key_id,
    key_text,
    new_key,
    read_certificate,
    read_key,
)
from buildtool.adapters.tls.contexts import CONTROL, ClientTls
from buildtool.errors import ConfigurationError
from buildtool.protocol import enrolment

__all__ = ["CredentialStore", "OwnIdentity"]

_KEY = "key.pem"
_IDENTITY = "identity.json"
_PENDING = "login"


@frozen
class OwnIdentity:
    """The identity of this side at a farm: name, role, key, believed authorities, and where the metaserver is."""

    name: str
    role: str
    identified: Identified
    believed: tuple[x509.Certificate, ...]
    addresses: tuple[tuple[str, int], ...]

    def tls(self, protocol: bytes = CONTROL, *, host: str, any_time: bool = False, skew: float = 0.0) -> ClientTls:
        """Return how to connect to the farm at a host.

        ``any_time`` lets its certificate pass whatever this side's clock says; ``skew`` is by how many seconds the
        metaserver's clock is known to be ahead.
        """
        return ClientTls(self.believed, self.identified, any_time, protocol, host, skew)


@define(eq=False)
class CredentialStore:
    """The credentials in a directory. Everything blocks, and raises ConfigurationError, StorageUnavailable."""

    directory: Path
    disk: Disk = field(factory=RealDisk)

    @property
    def key_file(self) -> Path:
        """Where the private key is."""
        return self.directory / _KEY

    def key(self) -> Key:
        """Return the key, which is made and kept when it is not there."""
        path = self.directory / _KEY
        try:
            make_directories(self.disk, self.directory)
            try:
                return self._read_key()
            except FileNotFoundError:
                self._write(_KEY, key_text(new_key()), replace=False)
                return self._read_key()
        except OSError as error:
            raise storage_unavailable(f"read or make the key {path}", error) from error

    def load(self) -> OwnIdentity | None:
        """Return who this side is, or None when it has not joined."""
        path = self.directory / _IDENTITY
        try:
            text = read_whole(self.disk, path, PEM_LIMIT)
            key = self._read_key()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_unavailable(f"read {path}", error) from error
        try:
            said = json.loads(text)
            (certificate,) = read_certificate(said["certificate"].encode())
            believed = read_certificate("".join(said["authorities"]).encode())
            addresses = tuple((str(host), int(port)) for host, port in said["addresses"])
            if key_id(certificate) != key_id(key):
                raise ValueError("its certificate is of another key")  # noqa: TRY301 - told with the file's name
            return OwnIdentity(str(said["name"]), str(said["role"]), Identified(key, certificate), believed, addresses)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path} is damaged: remove {self.directory}, and join again") from error

    def keep(self, told: enrolment.Credentials, addresses: Sequence[tuple[str, int]]) -> OwnIdentity:
        """Keep what the metaserver answered; return who this side is now. Raises DecodeError for a useless answer."""
        kept = {
            "name": told.name,
            "role": told.role,
            "certificate": told.certificate,
            "authorities": list(told.authorities),
            "addresses": [list(one) for one in addresses],
        }
        try:
            self._write(_IDENTITY, json.dumps(kept, indent=1).encode(), replace=True)
        except OSError as error:
            raise storage_unavailable(f"keep {self.directory / _IDENTITY}", error) from error
        found = self.load()
        if found is None:
            raise ConfigurationError(f"{self.directory} was removed meanwhile: join again")
        return found

    def pending(self) -> str:
        """Return whom a login believed that waits for its code (the ``key_id`` of an authority), or ""."""
        try:
            return read_whole(self.disk, self.directory / _PENDING, PEM_LIMIT).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise storage_unavailable(f"read {self.directory / _PENDING}", error) from error

    def keep_pending(self, pin: str) -> None:
        """Keep whom a login believes that waits for its code."""
        try:
            make_directories(self.disk, self.directory)
            self._write(_PENDING, f"{pin}\n".encode(), replace=True)
        except OSError as error:
            raise storage_unavailable(f"keep {self.directory / _PENDING}", error) from error

    def forget_pending(self) -> None:
        """Forget that a login waits."""
        self._remove(_PENDING)

    def remove(self) -> None:
        """Remove who this side is, and its key last."""
        for name in (_PENDING, _IDENTITY, _KEY):
            self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            remove(self.disk, self.directory / name)
        except OSError as error:
            raise storage_unavailable(f"remove {self.directory / name}", error) from error

    def _read_key(self) -> Key:
        path = self.directory / _KEY
        text = read_whole(self.disk, path, PEM_LIMIT)
        try:
            return read_key(text)
        except ValueError as error:
            raise ConfigurationError(f"{path}: {error}: remove {self.directory}, and join again") from error

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
