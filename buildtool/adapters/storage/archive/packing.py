"""Reproducible zip archives: the same tree gives the same bytes, wherever, whenever and by whomever it is packed."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO

from attrs import frozen

from buildtool.adapters.storage.trees import never
from buildtool.errors import BadArchive, BuildFailed, DeliverableMissing, MachineFault
from buildtool.model.names import MEMBER_LIMIT, link_fault, member_fault, members_fault, shortened

if TYPE_CHECKING:
    from typing_extensions import Buffer

LEVEL = 6
"""The deflate level of every member: part of what makes the bytes the same."""

_CHUNK = 256 * 1024
_ZIP64_FROM = 2**31 - 2**27  # data that deflate makes larger must still fit into 31 bits
_UNIX = 3
_PLAIN, _EXECUTABLE, _LINK = "100644", "100755", "120000"
_ATTRIBUTES = {_PLAIN: 0o100644, _EXECUTABLE: 0o100755, _LINK: 0o120777}

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_MAY_NOT = frozenset({errno.EACCES, errno.EPERM})
_CHANGED = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENXIO,
        errno.ENAMETOOLONG,
        errno.ESTALE,
        errno.EINVAL,
    }
)
"""What reading a tree says that is not as it was when it was looked at. All else is the disk's, or the machine's."""


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
    """What is to be packed. ``size``, ``inode`` and ``changed`` (ns) are as it was when it was looked at."""

    name: str
    path: Path
    mode: str
    target: str
    size: int = 0
    inode: tuple[int, int] = (0, 0)
    changed: int = 0


def make_zip(
    root: Path, names: Iterable[str], output: Path, limit: int | None = None, check: Callable[[], None] = never
) -> Packed:
    """Pack the files and whole directories called ``names`` below ``root`` into the zip ``output``. Blocks.

    Members are sorted by the bytes of their UTF-8 names, dated 1980-01-01, with mode 0644 or, if their owner may
    execute them, 0755. Directories have no members of their own, so empty ones are left out. Links stay links if
    what they lead to is packed too. ``output`` appears whole or not at all; it is not synced, since a build that a loss
    of power interrupts is made again.

    The manifest has a line ``MODE DIGEST NAME``, ended by a line feed, per member in order: MODE is 100644, 100755, or
    120000 for a link; DIGEST is the SHA-256 of the content, or of the link's target, in hex. The content digest is the
    SHA-256 of the UTF-8 manifest: it does not depend on how the zip was compressed.

    Neither the files nor the zip may have more than ``limit`` bytes; a sparse file counts with its length. ``check`` is
    called between small steps: what it raises ends the packing.

    Raises BadArchive for what no machine could pack (a name or link that leads out of the tree or nowhere, or cannot be
    stored, a file that may not be read or changes), DeliverableMissing if a name is not there, BuildFailed for what is
    too long, and MachineFault if the archive cannot be written or the disk cannot be read.
    """
    try:
        members = _Collection(Path(os.path.realpath(root)), limit, check).of(names)
        return _replace(members, output, limit, check)
    except OSError as error:
        raise MachineFault(f"cannot pack {error.filename or output}: {error.strerror or error}") from error


def content_digest(manifest: Iterable[Member]) -> str:
    """Return the SHA-256 of a manifest, as ``make_zip`` defines it."""
    return hashlib.sha256("".join(member.line for member in manifest).encode()).hexdigest()


def check_name(name: str) -> str:
    """Return ``name`` if it may be the name of a member: relative, plain, and storable. Raises BadArchive."""
    why = member_fault(name)
    if why:
        raise _refused(name, why)
    return name


def _replace(entries: Iterable[_Entry], output: Path, limit: int | None, check: Callable[[], None]) -> Packed:
    temporary = output.with_name(f".{output.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("xb") as file:
            hashed = _Hashing(file, limit)
            manifest = tuple(_write(hashed, entries, check))
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return Packed(hashed.size, hashed.digest(), content_digest(manifest), manifest)


class _Collection:
    """What is to be packed of the tree ``root``, as it is found."""

    def __init__(self, root: Path, limit: int | None, check: Callable[[], None]) -> None:
        self._root = root
        self._limit = limit
        self._check = check
        self._found: dict[str, _Entry] = {}
        self._size = 0

    def of(self, names: Iterable[str]) -> list[_Entry]:
        """Return what is to be packed, sorted and each once."""
        for given in names:
            self._add(check_name(given.removesuffix("/")))
        wrong = members_fault({name: entry.target for name, entry in self._found.items()}, self._check)
        if wrong is not None:
            raise _refused(*wrong)
        return sorted(self._found.values(), key=lambda entry: entry.name.encode())

    def _add(self, name: str) -> None:
        with _theirs(name):
            try:
                (self._root / name).lstat()
            except OSError as error:
                wrong = _promised(self._root, name, error)
                if wrong is None:
                    raise
                raise wrong from error
            if not _inside(self._root, Path(os.path.realpath((self._root / name).parent))):
                raise _refused(name, "a link leads out of the tree on the way to it")
        before = len(self._found)
        for entry in self._walk(name):
            if entry.name not in self._found:
                self._found[entry.name] = entry
                self._measure(entry)
        if len(self._found) > before or name in self._found:
            return
        if not any(one.startswith(f"{name}/") for one in self._found):
            raise DeliverableMissing(f"{shortened(name)!r} was promised, but it is an empty directory")

    def _measure(self, entry: _Entry) -> None:
        self._size += entry.size
        if self._limit is not None and self._size > self._limit:
            much = f"{entry.size} bytes" if entry.size > self._limit else f"{self._size} bytes with all before it"
            raise BuildFailed(
                f"{shortened(entry.name)!r} has {much}, more than the {self._limit} that an artifact may have"
            )
        _count(len(self._found))

    def _walk(self, name: str) -> Iterator[_Entry]:
        """Yield the file or link called ``name``, or all of those in the directory."""
        waiting, directories = [name], 0
        while waiting:
            self._check()
            current = check_name(waiting.pop())
            path = self._root / current
            with _theirs(current):
                status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                directories += 1
                self._list(path, current, waiting, directories)
            elif stat.S_ISLNK(status.st_mode):
                with _theirs(current):
                    target = _target(self._root, path, current)
                yield _Entry(current, path, _LINK, target)
            elif stat.S_ISREG(status.st_mode):
                mode = _EXECUTABLE if status.st_mode & stat.S_IXUSR else _PLAIN
                inode = (status.st_dev, status.st_ino)
                yield _Entry(current, path, mode, "", status.st_size, inode, status.st_mtime_ns)
            else:
                kind = _KINDS.get(stat.S_IFMT(status.st_mode))
                raise _refused(current, f"it is {f'{kind}, ' if kind else ''}neither file, directory nor link")

    def _list(self, path: Path, current: str, waiting: list[str], directories: int) -> None:
        with _theirs(current), os.scandir(path) as entries:
            for entry in entries:
                self._check()
                waiting.append(f"{current}/{entry.name}")
                _count(len(waiting) + directories)


def _target(root: Path, path: Path, name: str) -> str:
    """Return where a link points, once that is inside the tree both as it is written and as it is followed."""
    target = str(path.readlink())
    why = link_fault(name, target)
    if not why and not _inside(root, Path(os.path.realpath(path))):
        why = f"it is a link that leads out of the tree, to {target[:200]!r}"
    if why:
        raise _refused(name, why)
    return target


def _count(members: int) -> None:
    if members > MEMBER_LIMIT:
        raise BadArchive(f"more than {MEMBER_LIMIT} files are to be packed: deliver an archive of them")


def _inside(root: Path, path: Path) -> bool:
    return path == root or root in path.parents


def _promised(root: Path, name: str, error: OSError) -> BuildFailed | None:
    """Return what is wrong with a name that was promised and cannot be looked at; None when the name is not."""
    if error.errno == errno.ENOENT:
        return DeliverableMissing(f"{shortened(name)!r} was promised, but it is not there")
    if error.errno == errno.ENOTDIR:
        way = [".", *(str(one) for one in reversed(PurePosixPath(name).parents) if (root / one).exists())]
        return DeliverableMissing(
            f"{shortened(name)!r} was promised, but it is not there: {shortened(way[-1])!r} is no directory"
        )
    if error.errno == errno.ENAMETOOLONG:
        return _refused(name, "no file here can have so long a name")
    if error.errno == errno.ELOOP:
        return _refused(name, "links lead in a circle on the way to it")
    return None


def _refused(name: str, why: str) -> BadArchive:
    return BadArchive(f"{shortened(name)!r} cannot be packed: {why}")


@contextmanager
def _theirs(name: str) -> Iterator[None]:
    """Read something of the tree: what the tree itself does not let be read is the project's to mend."""
    try:
        yield
    except OSError as error:
        if error.errno in _MAY_NOT:
            why = f"it may not be read ({error.strerror}): see its mode, and those of the directories above it"
            raise _refused(name, why) from error
        if error.errno in _CHANGED:
            raise _moving(name) from error
        raise


def _moving(name: str) -> BadArchive:
    return _refused(name, "it changed meanwhile, so something of the build still runs")


def _write(stream: _Hashing, entries: Iterable[_Entry], check: Callable[[], None]) -> Iterator[Member]:
    """Write the zip, and yield its members as they are written."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for entry in entries:
            check()
            # By name rather than by ZipInfo, since only so the archive's own level is used; the time is 1980 then.
            long = entry.size > _ZIP64_FROM
            with _content(entry) as content, archive.open(entry.name, "w", force_zip64=long) as member:
                digest = _copy(content, member, entry, check)
            info = archive.getinfo(entry.name)
            info.create_system = _UNIX
            info.external_attr = _ATTRIBUTES[entry.mode] << 16
            yield Member(entry.mode, digest, entry.name)


def _content(entry: _Entry) -> BinaryIO:
    if entry.mode == _LINK:
        return io.BytesIO(entry.target.encode())
    # Whatever came into the file's place since it was looked at is not followed and not waited for.
    with _theirs(entry.name):
        return os.fdopen(os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _copy(content: BinaryIO, member: IO[bytes], entry: _Entry, check: Callable[[], None]) -> str:
    """Copy a file that stays as it was when it was looked at, and return its SHA-256. Raises BadArchive otherwise."""
    hashed, size = hashlib.sha256(), 0
    while True:
        check()
        with _theirs(entry.name):
            chunk = content.read(_CHUNK)
        if not chunk:
            break
        size += len(chunk)
        if entry.mode != _LINK and size > entry.size:
            raise _moving(entry.name)
        hashed.update(chunk)
        member.write(chunk)
    if entry.mode != _LINK:
        now = os.fstat(content.fileno())
        if (now.st_size, now.st_mtime_ns, now.st_dev, now.st_ino) != (size, entry.changed, *entry.inode):
            raise _moving(entry.name)
    return hashed.hexdigest()


class _Hashing(io.RawIOBase):
    """Passes bytes on to a file and digests them; it cannot seek, so the zip is written from front to back."""

    def __init__(self, file: IO[bytes], limit: int | None) -> None:
        self._file = file
        self._limit = limit
        self._hashed = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        chunk = memoryview(data)
        self._file.write(chunk)
        self._hashed.update(chunk)
        self.size += chunk.nbytes
        if self._limit is not None and self.size > self._limit:
            raise BuildFailed(f"the artifact has more than the {self._limit} bytes that are allowed")
        return chunk.nbytes

    def digest(self) -> str:
        return self._hashed.hexdigest()
