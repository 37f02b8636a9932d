"""Files of the configuration in one archive that is encrypted to a key, in the format of age (age-encryption.org)."""

from __future__ import annotations

import grp
import io
import os
import pwd
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyrage
from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.text import printable

SEALED = "config.tar.age"
"""The name of the archive in a backup."""

MOST_BYTES, MOST_FILES, MOST_KEYS = 32 * 1024 * 1024, 5_000, 20
"""The most that is put into one archive, and the most keys to which it is encrypted."""

_KEYS_SIZE = 64 * 1024
_RIGHT = "a public key begins with age1 (age-keygen makes a pair), ssh-ed25519 or ssh-rsa"

Recipients = tuple[pyrage.x25519.Recipient | pyrage.ssh.Recipient, ...]
"""The keys to which an archive is encrypted."""


@frozen
class Gathered:
    """The bytes of a tar archive; ``files`` says how many are in it, ``left_out`` which could not be read and why."""

    data: bytes
    files: int
    left_out: tuple[str, ...] = ()


def recipients_of(said: str) -> Recipients:
    """Return the keys that an option says: a key, or a file with one in each line. Raises UsageError."""
    if said.startswith(("age1", "ssh-")) or _is_secret(said):
        return (_recipient(said, "--encrypt-to"),)
    try:
        text = _read_keys(Path(said))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"--encrypt-to {printable(said, 80)} is no key and no file with keys ({why}): {_RIGHT}"
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not 1 <= len(keys) <= MOST_KEYS:
        raise UsageError(f"--encrypt-to {said} has {len(keys)} keys: one to {MOST_KEYS}, each in a line of its own")
    return tuple(_recipient(key, f"--encrypt-to {said}") for key in keys)


def sealed(gathered: Gathered, recipients: Recipients) -> bytes:
    """Return an archive, encrypted so that each of the keys opens it."""
    return pyrage.encrypt(gathered.data, recipients)


def gather(places: Iterable[Path], without: Iterable[Path] = ()) -> Gathered:
    """Return files, and what lies below directories, in an archive, each under its whole path without the first slash.

    Hidden names, compiled modules and what lies at or below ``without`` are no part of it. A link to a file is taken as
    what it leads to, one to a directory is left out. Raises UsageError where it is more than an archive may have.
    """
    apart = [Path(os.path.realpath(one)) for one in without]
    whole = [Path(os.path.abspath(one)) for one in places]  # noqa: PTH100 - not resolve(): the names are told as they are
    left_out: list[str] = []
    stream, size, count = io.BytesIO(), 0, 0
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as archive:
        for path in dict.fromkeys(one for place in whole for one in _files(place, apart, left_out)):
            try:
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    found = os.fstat(file.fileno())
                    if not stat.S_ISREG(found.st_mode):
                        continue
                    data = file.read(MOST_BYTES - size + 1)
            except OSError as error:
                left_out.append(f"{path}: {error.strerror}")
                continue
            size, count = size + len(data), count + 1
            if size > MOST_BYTES or count > MOST_FILES:
                raise UsageError(
                    f"--with-config: there is more than {MOST_BYTES // 1024**2} MiB or {MOST_FILES} files beside the "
                    f"configuration ({path.parent}): keep config.py in a directory of its own, such as /etc/buildtool"
                )
            entry = tarfile.TarInfo(str(path).lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(data), stat.S_IMODE(found.st_mode), int(found.st_mtime)
            entry.uid, entry.gid = found.st_uid, found.st_gid
            entry.uname, entry.gname = _name(pwd.getpwuid, found.st_uid), _name(grp.getgrgid, found.st_gid)
            archive.addfile(entry, io.BytesIO(data))
    return Gathered(stream.getvalue(), count, tuple(left_out))


def _files(place: Path, apart: list[Path], left_out: list[str]) -> Iterator[Path]:
    """Yield what is no directory at or below a place; what cannot be listed is said in ``left_out``."""
    if not place.is_dir():
        if os.path.lexists(place):
            yield place
        return

    def unlisted(error: OSError) -> None:
        left_out.append(f"{error.filename}: {error.strerror}")

    for folder, folders, names in os.walk(place, onerror=unlisted):
        inside = (name for name in sorted(folders) if not name.startswith(".") and name != "__pycache__")
        ours = [path for path in (Path(folder, name) for name in inside) if not _within(path, apart)]
        left_out.extend(f"{path}: it is a link to a directory" for path in ours if path.is_symlink())
        folders[:] = [path.name for path in ours if not path.is_symlink()]
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _within(path: Path, apart: list[Path]) -> bool:
    real = Path(os.path.realpath(path))
    return any(real == one or one in real.parents for one in apart)


def _name(look_up: Callable[[int], tuple[object, ...]], number: int) -> str:
    """Return the name of an account or a group, which another machine gives another number; "" if it has none."""
    try:
        return str(look_up(number)[0])
    except KeyError:
        return ""


def _read_keys(path: Path) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        data = file.read(_KEYS_SIZE + 1)
    if len(data) > _KEYS_SIZE:
        raise ValueError(f"it has more than {_KEYS_SIZE // 1024} KiB")
    return data.decode()


def _recipient(text: str, where: str) -> pyrage.x25519.Recipient | pyrage.ssh.Recipient:
    if _is_secret(text):  # which is not shown again
        raise UsageError(f"{where}: a public key is meant, and this is a secret one: age-keygen -y says the public one")
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise UsageError(f"{where}: {printable(text, 80)!r} is no key: {_RIGHT}") from error


def _is_secret(text: str) -> bool:
    return text.upper().startswith("AGE-SECRET-KEY-")
