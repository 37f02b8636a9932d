"""Reproducible zip archives: the same tree gives the same bytes, wherever, whenever and by whomever it is packed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO

from attrs import frozen

from buildtool.errors import BadArchive, DeliverableMissing, MachineFault

if TYPE_CHECKING:
    from typing_extensions import Buffer

LEVEL = 6
"""The deflate level of every member: part of what makes the bytes the same."""

_CHUNK = 256 * 1024
_NAME_LIMIT = 1000
_MEMBER_LIMIT = 100_000
_ZIP64_FROM = 2**31 - 2**27  # data that deflate makes larger must still fit into 31 bits
_UNIX = 3
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, what is not UTF-8 on disk, line separators
_PLAIN, _EXECUTABLE, _LINK = "100644", "100755", "120000"
_ATTRIBUTES = {_PLAIN: 0o100644, _EXECUTABLE: 0o100755, _LINK: 0o120777}


@frozen
class Member:
    """One file or symbolic link: ``mode`` as git writes it, SHA-256 of its content (or of the link's target), name."""

    mode: str
    digest: str
    name: str

    @property
    def line(self) -> str:
        """The member's line in the manifest."""
        return f"{self.mode} {self.digest} {self.name}\n"


@frozen
class Packed:
    """An archive that was written: bytes, SHA-256 of them, digest of the content, and the members in order."""

    size: int
    digest: str
    content_digest: str
    manifest: tuple[Member, ...]


@frozen
class _Entry:
    name: str
    path: Path
    mode: str
    target: str


def make_zip(root: Path, names: Iterable[str], output: Path) -> Packed:
    """Pack the files and whole directories called ``names`` below ``root`` into the zip ``output``. Blocks.

    Members are sorted by the bytes of their UTF-8 names, dated 1980-01-01, with mode 0644 or, if their owner may
    execute them, 0755. Directories have no members of their own, so empty ones are left out. Links stay links if
    their target is inside the tree. ``output`` appears whole or not at all; it is not synced, since a build that a loss
    of power interrupts is made again.

    The manifest has a line ``MODE DIGEST NAME``, ended by a line feed, per member in order: MODE is 100644, 100755, or
    120000 for a link; DIGEST is the SHA-256 of the content, or of the link's target, in hex. The content digest is the
    SHA-256 of the UTF-8 manifest: it does not depend on how the zip was compressed.

    Raises BadArchive for a name or link that leads out of the tree or cannot be stored, DeliverableMissing if a name
    is not there, and MachineFault if the archive cannot be written.
    """
    try:
        members = _collect(Path(os.path.realpath(root)), names)
        return _replace(members, output)
    except OSError as error:
        raise MachineFault(f"cannot pack {error.filename or output}: {error.strerror or error}") from error


def content_digest(manifest: Iterable[Member]) -> str:
    """Return the SHA-256 of a manifest, as ``make_zip`` defines it."""
    return hashlib.sha256("".join(member.line for member in manifest).encode()).hexdigest()


def verify(path: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size in bytes of a file, read in pieces. Blocks. Raises OSError."""
    with path.open("rb") as file:
        return _digest(file)


def check_name(name: str) -> str:
    """Return ``name`` if it may be the name of a member: relative, plain, and storable. Raises BadArchive."""
    if not name or name.startswith("/") or "\\" in name or {"", ".", ".."} & set(name.split("/")):
        raise BadArchive(f"{name[:200]!r} cannot be packed: use a relative path with / and without . or .. parts")
    if any(unicodedata.category(char) in _UNSAFE for char in name):
        raise BadArchive(f"{name[:200]!r} cannot be packed: it has control characters or is not UTF-8")
    if len(name.encode()) > _NAME_LIMIT:
        raise BadArchive(f"{name[:60]!r}... cannot be packed: its name is longer than {_NAME_LIMIT} bytes")
    return name


def _replace(entries: Iterable[_Entry], output: Path) -> Packed:
    temporary = output.with_name(f".{output.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("xb") as file:
            hashed = _Hashing(file)
            manifest = tuple(_write(hashed, entries))
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return Packed(hashed.size, hashed.digest(), content_digest(manifest), manifest)


def _collect(root: Path, names: Iterable[str]) -> list[_Entry]:
    """Return what is to be packed, sorted and each once."""
    found: dict[str, _Entry] = {}
    for given in names:
        name = check_name(given.removesuffix("/"))
        if not os.path.lexists(root / name):
            raise DeliverableMissing(f"{name!r} was promised, but it is not there")
        if not _inside(root, Path(os.path.realpath((root / name).parent))):
            raise BadArchive(f"{name!r} cannot be packed: a link leads out of the tree on the way to it")
        before = len(found)
        for entry in _walk(root, name):
            found[entry.name] = entry
            if len(found) > _MEMBER_LIMIT:
                raise BadArchive(f"more than {_MEMBER_LIMIT} files are to be packed: deliver an archive of them")
        if len(found) == before and name not in found and not any(one.startswith(f"{name}/") for one in found):
            raise DeliverableMissing(f"{name!r} was promised, but it is an empty directory")
    for name in found:
        for parent in PurePosixPath(name).parents:
            if str(parent) in found:
                raise BadArchive(f"{name!r} cannot be packed: {str(parent)!r} is packed too, as a link")
    return sorted(found.values(), key=lambda entry: entry.name.encode())


def _walk(root: Path, name: str) -> Iterator[_Entry]:
    """Yield the file or link called ``name``, or all of those in the directory."""
    waiting = [name]
    while waiting:
        current = check_name(waiting.pop())
        path = root / current
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            waiting.extend(f"{current}/{inner}" for inner in os.listdir(path))
        elif stat.S_ISLNK(mode):
            yield _Entry(current, path, _LINK, _target(root, path, current))
        elif stat.S_ISREG(mode):
            yield _Entry(current, path, _EXECUTABLE if mode & stat.S_IXUSR else _PLAIN, "")
        else:
            raise BadArchive(f"{current!r} cannot be packed: it is neither file, directory nor link")


def _target(root: Path, path: Path, name: str) -> str:
    """Return where a link points, once that is inside the tree both as it is written and as it is followed."""
    target = str(path.readlink())
    written = os.path.normpath(f"{PurePosixPath(name).parent}/{target}")
    if (
        target.startswith("/")
        or written == ".."
        or written.startswith("../")
        or not _inside(root, Path(os.path.realpath(path)))
    ):
        raise BadArchive(f"{name!r} cannot be packed: it is a link that leads out of the tree, to {target[:200]!r}")
    if "\\" in target or any(unicodedata.category(char) in _UNSAFE for char in target):
        raise BadArchive(f"{name!r} cannot be packed: its target {target[:200]!r} has characters that cannot be stored")
    return target


def _inside(root: Path, path: Path) -> bool:
    return path == root or root in path.parents


def _write(stream: _Hashing, entries: Iterable[_Entry]) -> Iterator[Member]:
    """Write the zip, and yield its members as they are written."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for entry in entries:
            with _content(entry) as content:
                size = content.seek(0, os.SEEK_END)
                content.seek(0)
                # By name rather than by ZipInfo, since only so the archive's own level is used; the time is 1980 then.
                with archive.open(entry.name, "w", force_zip64=size > _ZIP64_FROM) as member:
                    digest, _ = _digest(content, member)
            info = archive.getinfo(entry.name)
            info.create_system = _UNIX
            info.external_attr = _ATTRIBUTES[entry.mode] << 16
            yield Member(entry.mode, digest, entry.name)


def _content(entry: _Entry) -> BinaryIO:
    if entry.mode == _LINK:
        return io.BytesIO(entry.target.encode())
    # Whatever came into the file's place since it was looked at is not followed and not waited for.
    return os.fdopen(os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _digest(source: IO[bytes], copy: IO[bytes] | None = None) -> tuple[str, int]:
    hashed, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        hashed.update(chunk)
        size += len(chunk)
        if copy is not None:
            copy.write(chunk)
    return hashed.hexdigest(), size


class _Hashing(io.RawIOBase):
    """Passes bytes on to a file and digests them; it cannot seek, so the zip is written from front to back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hashed = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        chunk = memoryview(data)
        self._file.write(chunk)
        self._hashed.update(chunk)
        self.size += chunk.nbytes
        return chunk.nbytes

    def digest(self) -> str:
        return self._hashed.hexdigest()
