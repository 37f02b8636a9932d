"""The key and certificate of a machine or person that joined a farm, and what they believe, in a directory.

``key.pem`` is made before anything is asked, so that a join that was cut off goes on with the same key.
``identity.json`` is written last, when everything is there, and replaced as a whole by each renewal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from cryptography import x509

from buildtool.adapters.storage.filesystem import (
    Disk,
    RealDisk,
    exists,
    make_directories,
    put_whole,
    read_whole,
    remove,
    remove_half_made,
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
from buildtool.adapters.tls.contexts import ClientTls
from buildtool.adapters.tls.words import CONTROL
from buildtool.errors import ConfigurationError, DecodeError
from buildtool.protocol import enrolment

_KEY = "key.pem"
_IDENTITY = "identity.json"
_PENDING = "login"


@frozen
class OwnIdentity:
    """The identity of this side at a farm: name, role, key, believed authorities, and where the metaserver is.

    ``owner`` is the e-mail address that the metaserver knows of it, as far as it said that, and ``line`` the digest of
    the token by which it joined, where that is known.
    """

    name: str
    role: str
    identified: Identified
    believed: tuple[x509.Certificate, ...]
    addresses: tuple[tuple[str, int], ...]
    owner: str = ""
    line: str = ""

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
            if not exists(self.disk, path):
                put_whole(self.disk, path, key_text(new_key()), replace=False)
            key = self._read_key()
            remove_half_made(self.disk, self.directory)
        except OSError as error:
            raise storage_unavailable(f"read or make the key {path}", error) from error
        return key

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
            return _identity(json.loads(text), key)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path} is damaged: remove {self.directory}, and join again") from error

    def keep(self, told: enrolment.Credentials, addresses: Sequence[tuple[str, int]], line: str = "") -> OwnIdentity:
        """Keep what the metaserver answered; return who this side is now. ``line`` is the digest of the line's token.

        Raises DecodeError for an answer that is of no use: what was there before stays.
        """
        kept = {
            "name": told.name,
            "role": told.role,
            "certificate": told.certificate,
            "authorities": list(told.authorities),
            "addresses": [list(one) for one in addresses],
            "owner": told.owner,
            "line": line,
        }
        path = self.directory / _IDENTITY
        try:
            made = _identity(kept, self._read_key())
            put_whole(self.disk, path, json.dumps(kept, indent=1).encode())
        except ValueError as error:
            raise DecodeError(f"the metaserver answered with a certificate that is of no use: {error}") from error
        except FileNotFoundError as error:
            raise ConfigurationError(f"{self.directory} was removed meanwhile: join again") from error
        except OSError as error:
            raise storage_unavailable(f"keep {path}", error) from error
        return made

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
            put_whole(self.disk, self.directory / _PENDING, f"{pin}\n".encode())
        except OSError as error:
            raise storage_unavailable(f"keep {self.directory / _PENDING}", error) from error

    def forget_pending(self) -> None:
        """Forget that a login waits."""
        self._remove(_PENDING)

    def remove(self) -> None:
        """Remove who this side is, and its key last, with whatever was left of making it."""
        for name in (_PENDING, _IDENTITY, _KEY):
            self._remove(name)
        try:
            remove_half_made(self.disk, self.directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise storage_unavailable(f"remove what is left in {self.directory}", error) from error

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


def _identity(said: dict[str, Any], key: Key) -> OwnIdentity:
    """Return who this side is by what is kept. Raises ValueError, KeyError, TypeError or AttributeError for damage."""
    certificate, *others = read_certificate(said["certificate"].encode())
    if others or key_id(certificate) != key_id(key):
        raise ValueError("it is not the one certificate of this key")
    believed = read_certificate("".join(said["authorities"]).encode())
    addresses = tuple((str(host), int(port)) for host, port in said["addresses"])
    name, role, owner, line = (str(said.get(one, "")) for one in ("name", "role", "owner", "line"))
    return OwnIdentity(name, role, Identified(key, certificate), believed, addresses, owner, line)
