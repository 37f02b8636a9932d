"""Laying a commit out in a directory where an earlier build may have left anything at all.

All that is there is looked at: what the commit does not have goes, and what it has is read and compared with its id, so
that neither times nor sizes nor any note of git's is believed. What differs is written anew. Links are never followed,
and nothing is opened that is not a file or a directory; a file that has other names elsewhere is replaced.

What a build may have put on a file or directory beside its content and mode goes: flags, access control lists,
capabilities.

Every file gets the time ``WRITTEN`` and the mode 0644 or 0755. Times that an earlier build left would rule what make
does (a ``configure.ac`` newer than its ``configure``), and equal ones make nothing look out of date.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from attrs import frozen

from buildtool.adapters.runtime.threads import HelperThreads
from buildtool.adapters.storage.trees import make_plain, open_directory, remove_at
from buildtool.adapters.vcs.git.gitdir import PlacedFile
from buildtool.adapters.vcs.git.objects import DIRECTORY, FILE, GITLINK, LINK, Tree, hasher, shown, started
from buildtool.adapters.vcs.git.reader import Blob, Manifest
from buildtool.errors import MachineFault, SourceUnusable

if TYPE_CHECKING:
    from hashlib import _Hash

WRITTEN = 315_619_200 * 10**9
"""When all files were written, as they say: 1980-01-02, which is after the first day of zip in every time zone."""

LARGE = 1 << 20
"""From how many bytes on a file is read in another thread: hashing it goes on beside the rest."""

_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_A_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
_OPEN = 0o755
_GIT = ".git"


class ContentSource(Protocol):
    """The source of the content of files, checked against their ids."""

    def blobs(self, ids: Sequence[bytes]) -> Iterator[Blob]:
        """Return blobs as the repository has them, in the order of their ids."""

    def converted(self, paths: Sequence[bytes]) -> Iterator[Blob]:
        """Return what git makes of the files at ``paths`` according to their attributes, in this order."""


class _Missing(NamedTuple):
    """A file or link that is to be written; ``old`` says whether something is in its place."""

    name: bytes
    mode: int
    object_id: bytes
    old: bool


class _Large(NamedTuple):
    """A file that is being read in another thread."""

    one: _Missing
    reading: Future[os.stat_result | None]


class _Seen(NamedTuple):
    """What was found in a directory: what is right, what is to be written, and what is being read."""

    right: list[PlacedFile]
    missing: list[_Missing]
    large: list[_Large]


@frozen
class Layout:
    """A commit that is to be laid out.

    ``converted`` has the id of what a file is to hold, by path, where attributes make that another than the blob's.
    ``sizes`` are the lengths of what is believed to lie there, by id; what is written is added. Large files are read
    in ``threads``. What root lays out is the account's with the number ``owner``.
    """

    manifest: Manifest
    contents: ContentSource
    converted: Mapping[bytes, bytes]
    sizes: dict[bytes, int]
    threads: HelperThreads
    owner: int = 0

    def bring(self, top: str) -> list[PlacedFile]:
        """Make the directory ``top`` hold the commit and nothing else but ``.git``; return what lies there.

        Raises what ``contents`` raises, SourceUnusable, MachineFault, OSError.
        """
        placed: list[PlacedFile] = []
        filled: set[bytes] = {b""}
        later: list[tuple[bytes, list[_Large]]] = []
        base = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for prefix, tree in self.manifest.directories.items():
                with _opened(base, prefix) as directory:
                    seen = self._look(directory, base, prefix, tree)
                    if seen.missing:
                        placed += self._write(directory, prefix, seen.missing)
                placed += seen.right
                if seen.large:
                    later.append((prefix, seen.large))
                if any(seen):
                    _mark(filled, prefix)
            placed += self._large(base, later)
            # git knows no directories without files, so a tree without entries is checked out nowhere.
            for prefix in reversed(self.manifest.directories):
                if prefix not in filled:
                    os.rmdir(os.fsdecode(prefix[:-1]), dir_fd=base)
        finally:
            os.close(base)
        return placed

    def _look(self, directory: int, base: int, prefix: bytes, tree: Tree) -> _Seen:
        """Return what there is in a directory of what the commit has; the rest is deleted."""
        if make_plain(directory, found := os.fstat(directory), self.owner) or stat.S_IMODE(found.st_mode) != _OPEN:
            os.fchmod(directory, _OPEN)
        with os.scandir(directory) as entries:
            there = {os.fsencode(entry.name): entry for entry in entries}
        for name, stranger in there.items():
            if name not in tree and (prefix or stranger.name != _GIT):
                remove_at(directory, stranger.name)
        seen = _Seen([], [], [])
        for name, (mode, object_id) in tree.items():
            entry = there.get(name)
            if stat.S_IFMT(mode) in {DIRECTORY, GITLINK}:
                if entry is None or not entry.is_dir(follow_symlinks=False):
                    self._make_directory(directory, prefix + name, os.fsdecode(name), old=entry is not None)
                if mode == GITLINK:
                    seen.right.append(PlacedFile(prefix + name, mode, object_id))
                continue
            one = _Missing(name, mode, object_id, entry is not None)
            if entry is None:
                seen.missing.append(one)
            else:
                self._compare(seen, directory, base, prefix, one, entry)
        return seen

    def _compare(
        self, seen: _Seen, directory: int, base: int, prefix: bytes, one: _Missing, entry: os.DirEntry[str]
    ) -> None:
        """Note whether what is called as a file or link should be is one, and holds what it should."""
        path = prefix + one.name
        wanted = self.converted.get(path, one.object_id)
        size = self.sizes.get(wanted)
        status = None
        if size is not None and one.mode == LINK:
            status = _held_link(directory, entry, wanted)
        elif size is not None and entry.is_file(follow_symlinks=False):
            if size >= LARGE:
                reading = self.threads.submit(_held, base, os.fsdecode(path), one, wanted, size, self.owner)
                seen.large.append(_Large(one, reading))
                return
            status = _held(directory, entry.name, one, wanted, size, self.owner)
        if status is None:
            seen.missing.append(one)
        else:
            seen.right.append(PlacedFile(path, one.mode, one.object_id, status))

    def _large(self, base: int, later: Iterable[tuple[bytes, list[_Large]]]) -> Iterator[PlacedFile]:
        """Wait for the large files that are being read, and write those that are not as they should be."""
        for prefix, some in later:
            missing = []
            for one, reading in some:
                status = reading.result()
                if status is None:
                    missing.append(one)
                else:
                    yield PlacedFile(prefix + one.name, one.mode, one.object_id, status)
            if missing:
                with _opened(base, prefix) as directory:
                    yield from self._write(directory, prefix, missing)

    def _make_directory(self, directory: int, path: bytes, name: str, *, old: bool) -> None:
        if old:
            remove_at(directory, name)
        try:
            os.mkdir(name, _OPEN, dir_fd=directory)
            os.chmod(name, _OPEN, dir_fd=directory)
        except OSError as error:
            raise _refused(path, error) from error

    def _write(self, directory: int, prefix: bytes, missing: Sequence[_Missing]) -> Iterator[PlacedFile]:
        plain = [one for one in missing if prefix + one.name not in self.converted]
        other = [one for one in missing if prefix + one.name in self.converted]
        sources: list[tuple[Sequence[_Missing], Iterable[Blob]]] = [
            (plain, self.contents.blobs([one.object_id for one in plain])),
            (other, self.contents.converted([prefix + one.name for one in other]) if other else ()),
        ]
        for some, blobs in sources:
            for (name, mode, object_id, old), blob in zip(some, blobs, strict=True):
                if old:
                    remove_at(directory, os.fsdecode(name))
                path = prefix + name
                try:
                    write = _write_link if mode == LINK else _write_file
                    status = write(directory, os.fsdecode(name), mode & 0o777, blob, self.owner)
                except OSError as error:
                    raise _refused(path, error) from error
                except ValueError as error:
                    raise SourceUnusable(f"the target of the symbolic link {shown(path)!r} is none: {error}") from error
                self.sizes[blob.object_id] = blob.size
                yield PlacedFile(path, mode, object_id, status)


@contextmanager
def _opened(base: int, prefix: bytes) -> Iterator[int]:
    """Open a directory of the tree whose top is ``base``. Raises OSError."""
    if not prefix:
        yield base
        return
    directory = open_directory(base, os.fsdecode(prefix[:-1]))
    try:
        yield directory
    finally:
        os.close(directory)


def _held(directory: int, name: str, one: _Missing, wanted: bytes, size: int, owner: int) -> os.stat_result | None:
    """Return the status of a file that holds what it should, made right in all else; None if it does not."""
    mode = one.mode & 0o777
    try:
        descriptor = os.open(name, _READ, dir_fd=directory)
        try:
            found = os.fstat(descriptor)
            # A plain file that has the right mode, and is not anywhere else too. What is in it is read in any case.
            right = found.st_mode == FILE | mode
            if (not right and not stat.S_ISREG(found.st_mode)) or found.st_nlink != 1 or found.st_size != size:
                return None
            if size < _CHUNK:  # one read takes all that there was when its size was asked, and one byte more if any
                digest = hasher(wanted, b"blob %d\0%b" % (size, os.read(descriptor, size + 1)))
            else:
                digest = _of_large(descriptor, wanted, size)
            if digest.digest() != wanted:
                return None
            if not make_plain(descriptor, found, owner) and right and found.st_mtime_ns == WRITTEN:
                return found
            os.fchmod(descriptor, mode)
            os.utime(descriptor, ns=(WRITTEN, WRITTEN))
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return None  # it cannot be read, or belongs to somebody else


def _of_large(descriptor: int, wanted: bytes, size: int) -> _Hash:
    digest, left = started(wanted, b"blob", size), size
    while left >= 0 and (content := os.read(descriptor, min(left + 1, _CHUNK))):
        digest.update(content)
        left -= len(content)
    return digest


def _held_link(directory: int, entry: os.DirEntry[str], wanted: bytes) -> os.stat_result | None:
    if not entry.is_symlink():
        return None
    target = os.fsencode(os.readlink(entry.name, dir_fd=directory))
    digest = started(wanted, b"blob", len(target))
    digest.update(target)
    return entry.stat(follow_symlinks=False) if digest.digest() == wanted else None


def _write_file(directory: int, name: str, mode: int, blob: Blob, owner: int) -> os.stat_result:
    descriptor = os.open(name, _NEW, 0o600, dir_fd=directory)
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        for chunk in blob.chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[stream.write(rest) or 0 :]
        if owner != 0:
            os.fchown(descriptor, owner, owner)
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(WRITTEN, WRITTEN))
        return os.fstat(descriptor)


def _write_link(directory: int, name: str, _mode: int, blob: Blob, owner: int) -> os.stat_result:
    target = os.fsdecode(b"".join(blob.chunks))
    if not target:
        raise ValueError("it is empty")
    os.symlink(target, name, dir_fd=directory)
    if owner != 0:
        os.chown(name, owner, owner, dir_fd=directory, follow_symlinks=False)
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _refused(path: bytes, error: OSError) -> Exception:
    if error.errno in _NOT_A_NAME:
        return SourceUnusable(f"the commit has a path that no file can have: {shown(path)!r}: {error.strerror}")
    if error.errno == errno.EEXIST:
        return MachineFault(
            f"{shown(path)!r} cannot be laid out beside another path: "
            "this machine's file system takes names that differ in case or form for one"
        )
    return MachineFault(f"cannot write {shown(path)!r}: {error.strerror}")


def _mark(filled: set[bytes], prefix: bytes) -> None:
    """Note that a directory and all above it hold something."""
    while prefix not in filled:
        filled.add(prefix)
        prefix = prefix[: prefix.rstrip(b"/").rfind(b"/") + 1]
