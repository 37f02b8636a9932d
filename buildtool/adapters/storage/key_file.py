"""The key that signs tickets, in a file of its own: made once, and never replaced."""

from __future__ import annotations

import secrets
from pathlib import Path

from buildtool.adapters.storage.filesystem import (
    Disk,
    RealDisk,
    exists,
    make_directories,
    put_whole,
    read_whole,
    remove_half_made,
    storage_unavailable,
)
from buildtool.errors import EmptySecret
from buildtool.model.tickets import KEY_BYTES


def load_key(path: Path, disk: Disk | None = None) -> bytes:
    """Return the ticket key in ``path``, making it (readable by its owner only) when the file is not there.

    A short or empty file is not replaced: its owner has to know that tokens and tickets given out under the old key no
    longer hold. Raises EmptySecret, StorageUnavailable.
    """
    if disk is None:
        disk, path = RealDisk(), path.resolve()  # a link may lead to where secrets are kept
    try:
        if not exists(disk, path):
            _make(disk, path)
        return _read(disk, path)
    except OSError as error:
        raise storage_unavailable(f"read or make the key {path}", error) from error


def _make(disk: Disk, path: Path) -> None:
    make_directories(disk, path.parent)
    # Unlike a rename this never replaces a key that another process just made.
    put_whole(disk, path, secrets.token_bytes(KEY_BYTES), replace=False)


def _read(disk: Disk, path: Path) -> bytes:
    """Return the key, and see to it that its name lasts and nothing half made is beside it, whoever left it so."""
    key, size = read_whole(disk, path, KEY_BYTES), disk.look(path).size
    if size != KEY_BYTES:
        held = f"holds {size} bytes" if size else "is empty"
        raise EmptySecret(f"the key {path} {held}: restore its {KEY_BYTES} bytes, or remove it to have a new one made")
    disk.sync_directory(path.parent)
    remove_half_made(disk, path.parent)
    return key
