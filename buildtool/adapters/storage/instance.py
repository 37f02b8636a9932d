"""The name of one build directory: random, secret, and another one for a copy of the directory or of the machine.

The metaserver tells by it a build server that was started again from another machine that has the same name. Whoever
knew it could take that build server's place, so it is shown to nobody and written to no log.
"""

from __future__ import annotations

import os
import re
import secrets
from hashlib import sha256
from pathlib import Path

from buildtool.errors import ConfigurationError

FILE = "instance"
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""Where the system says which machine this is; one that says nothing is like all others that do not."""

_FORM = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64})\n\Z")
_LONGEST = 200


def load_instance(directory: Path) -> str:
    """Return the instance of a build directory, making one where there is none or it is that of another place.

    It belongs to this machine, this directory and this file (by their inodes): a directory that was only renamed keeps
    it. Where the system does not say which machine it is, a copy of a whole disk keeps it too; then the metaserver
    refuses whichever of the two comes second. Raises ConfigurationError.
    """
    path = directory / FILE
    try:
        return _read(directory, path) or _make(directory, path)
    except OSError as error:
        raise ConfigurationError(f"build_dir: cannot read or write {path}: {error.strerror}") from error


def _read(directory: Path, path: Path) -> str:
    """Return the instance, "" if there is none that belongs here. Raises OSError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    try:
        found = _FORM.match(os.read(file, _LONGEST))
        if found is None or found[2].decode() != _place(directory, file):
            return ""
        return found[1].decode()
    finally:
        os.close(file)


def _make(directory: Path, path: Path) -> str:
    """Write a new instance, durably, for its owner's eyes only. Raises OSError."""
    made = secrets.token_hex(32)
    fresh = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, f"{made} {_place(directory, file)}\n".encode())
        os.fsync(file)
        fresh.rename(path)
    except OSError:
        fresh.unlink()
        raise
    finally:
        os.close(file)
    return made


def _place(directory: Path, file: int) -> str:
    """Return what a copy has not in common with the directory and the file it was copied from."""
    words = (machine_id(), str(directory.stat().st_ino), str(os.fstat(file).st_ino))
    return sha256("\0".join(words).encode()).hexdigest()


def machine_id() -> str:
    """Return which machine this is, or "" where the system does not say."""
    for path in MACHINE_IDS:
        try:
            said = path.read_bytes()[:100].decode(errors="replace").strip()
        except OSError:
            continue
        if said:
            return said
    return ""
