"""Objects of a git directory, read through one process, each checked against the id that it was asked for by.

The directory is only a source of bytes: what is missing, unreadable or not what its id says raises DamagedMirror.
"""

from __future__ import annotations

import subprocess
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO, Self

from attrs import define, field, frozen

from buildtool.adapters.vcs.git.command import GitCommand
from buildtool.adapters.vcs.git.objects import (
    DIRECTORY,
    GITLINK,
    Tree,
    check_path,
    parents_of,
    parse_tree,
    shown,
    started,
    total,
    tree_of,
)
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.errors import SourceUnusable

AT_ONCE = 128
"""How many objects are asked for before the first is read: their ids fit in a pipe."""

CHUNK = 1 << 20
SMALL_LIMIT = 64 << 20
"""The largest tree, commit or ``.gitattributes`` that is read, in bytes."""

TREES_LIMIT = 8 << 20
"""How many bytes of trees are remembered, as git has them; parsed they take about seven times as much."""

ENTRIES_LIMIT = 2_000_000
"""Most files and directories of one commit. A few hundred bytes of trees that name one another can stand for 10^10."""

ALONG_LIMIT = 100_000
"""Most files and directories that are looked at on the way to one path."""

MANIFESTS_LIMIT = 50_000
"""How many directories the remembered manifests may have together."""


class DamagedMirror(Exception):
    """An object is not what its id says, or not there at all. Nothing of it was used."""


@frozen
class Manifest:
    """All that a commit holds: its directories by path (``b""``, ``b"src/"``), and the commits of its submodules."""

    root: bytes
    directories: dict[bytes, Tree]
    gitlinks: dict[bytes, str] = field(init=False)

    @gitlinks.default
    def _gitlinks(self) -> dict[bytes, str]:
        return {path: object_id.hex() for path, mode, object_id in self.entries() if mode == GITLINK}

    def entries(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Return the path, mode and id of all that is no directory."""
        for prefix, tree in self.directories.items():
            for name, (mode, object_id) in tree.items():
                if mode != DIRECTORY:
                    yield prefix + name, mode, object_id

    def find(self, path: bytes) -> tuple[int, bytes] | None:
        """Return the mode and id at a path, if there is something."""
        before, slash, name = path.rpartition(b"/")
        return self.directories.get(before + slash, {}).get(name)


@define
class ObjectCache:
    """The commits and trees that were read and checked. They are what their ids say, so they hold for every mirror."""

    _trees: OrderedDict[bytes, tuple[int, Tree]] = field(factory=OrderedDict)
    _bytes: int = 0
    _roots: OrderedDict[str, bytes] = field(factory=OrderedDict)
    _manifests: OrderedDict[bytes, Manifest] = field(factory=OrderedDict)
    _directories: int = 0
    _lock: Lock = field(factory=Lock)

    def tree(self, object_id: bytes) -> Tree | None:
        """Return a tree that was read before."""
        found = self._trees.get(object_id)
        return None if found is None else found[1]

    def keep_tree(self, object_id: bytes, size: int, tree: Tree) -> None:
        """Remember a tree whose object has ``size`` bytes."""
        with self._lock:
            if object_id not in self._trees:
                self._bytes += size
            self._trees[object_id] = (size, tree)
            while self._bytes > TREES_LIMIT and len(self._trees) > 1:
                self._bytes -= self._trees.popitem(last=False)[1][0]

    def manifest(self, commit: str) -> Manifest | None:
        """Return the manifest of a commit that was read before."""
        root = self._roots.get(commit)
        return None if root is None else self._manifests.get(root)

    def keep(self, commit: str, manifest: Manifest) -> None:
        """Remember a commit's manifest."""
        with self._lock:
            keep_newest(self._roots, commit, manifest.root, MANIFESTS_LIMIT)
            if manifest.root not in self._manifests:
                self._directories += len(manifest.directories)
                self._manifests[manifest.root] = manifest
            while self._directories > MANIFESTS_LIMIT and len(self._manifests) > 1:
                self._directories -= len(self._manifests.popitem(last=False)[1].directories)


@frozen
class Blob:
    """A blob that is being read. Take all of ``chunks``: the last one is followed by the check."""

    object_id: bytes
    size: int
    chunks: Iterator[bytes]


class ObjectReader:
    """A reader of one git directory. A context; the process is started when it is needed. All methods block."""

    def __init__(self, command: GitCommand, git_dir: Path, memory: ObjectCache, small_limit: int | None = None) -> None:
        """``small_limit`` is the size in bytes of the largest object that is read as a whole, if not SMALL_LIMIT."""
        self._command = command
        self._git_dir = git_dir
        self._memory = memory
        self._small_limit = SMALL_LIMIT if small_limit is None else small_limit
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._command.end(self._process)

    def manifest(self, commit: str) -> Manifest:
        """Return all that a commit holds. Raises DamagedMirror, SourceUnusable."""
        found = self._memory.manifest(commit)
        if found is None:
            root = tree_of(self.small(bytes.fromhex(commit), b"commit"))
            found = Manifest(root, self._directories(root))
            self._memory.keep(commit, found)
        return found

    def along(self, commit: str, path: bytes) -> Manifest:
        """Return what a commit holds in the directories that lead to a path. Raises DamagedMirror, SourceUnusable."""
        root = inner = tree_of(self.small(bytes.fromhex(commit), b"commit"))
        found: dict[bytes, Tree] = {}
        prefix, mode = b"", DIRECTORY
        while mode == DIRECTORY:
            self._read_trees([(prefix, inner)])
            tree = found[prefix] = self._memory.tree(inner) or {}
            if total(found.values()) > ALONG_LIMIT:
                raise SourceUnusable(f"the directories that lead to {shown(path)!r} have more than {ALONG_LIMIT} names")
            name = path[len(prefix) :].partition(b"/")[0]
            mode, inner = tree.get(name, (0, b""))
            prefix += name + b"/"
        return Manifest(root, found)

    def ends_at(self, commit: bytes) -> bool:
        """Return whether a commit is there and one of its parents is not. Raises DamagedMirror."""
        if not self._is_there(commit):
            return False
        parents = [bytes.fromhex(one.decode("ascii")) for one in parents_of(self.small(commit, b"commit"))]
        return not all(map(self._is_there, parents))

    def _is_there(self, object_id: bytes) -> bool:
        said, answer = self._streams()
        said.write(b"%s\n" % object_id.hex().encode("ascii"))
        said.flush()
        words = answer.readline(200).split()
        if words[1:] == [b"missing"]:
            return False
        if len(words) != 3 or not words[2].isdigit():  # noqa: PLR2004 - id, kind, size
            raise DamagedMirror(f"object {object_id.hex()} cannot be read")
        for _ in _checked(answer, object_id, words[1], int(words[2])):
            pass
        return True

    def _directories(self, root: bytes) -> dict[bytes, Tree]:
        found: dict[bytes, Tree] = {}
        level, entries = [(b"", root)], 0
        while level:
            self._read_trees(level)
            below = []
            for prefix, object_id in level:
                tree = self._memory.tree(object_id)
                if tree is None:  # it was pushed out by those of its own level
                    content = self.small(object_id, b"tree")
                    tree = parse_tree(content, len(object_id), prefix)
                found[prefix] = tree
                entries += len(tree)
                if entries > ENTRIES_LIMIT:
                    raise SourceUnusable(f"the commit has more than {ENTRIES_LIMIT} files and directories")
                for name, (mode, inner) in tree.items():
                    if mode == DIRECTORY:
                        check_path(prefix + name)
                        below.append((prefix + name + b"/", inner))
            level = below
        return found

    def _read_trees(self, level: Iterable[tuple[bytes, bytes]]) -> None:
        missing = {object_id: prefix for prefix, object_id in level if self._memory.tree(object_id) is None}
        for object_id, kind, size, chunks in self._each(list(missing)):
            content = b"".join(self._of_kind(object_id, b"tree", kind, size, chunks))
            self._memory.keep_tree(object_id, size, parse_tree(content, len(object_id), missing[object_id]))

    def small(self, object_id: bytes, wanted: bytes) -> bytes:
        """Return a whole object of the kind ``wanted``. Raises DamagedMirror."""
        for _, kind, size, chunks in self._each([object_id]):
            content = b"".join(self._of_kind(object_id, wanted, kind, size, chunks))
        return content

    def _of_kind(
        self, object_id: bytes, wanted: bytes, kind: bytes, size: int, chunks: Iterator[bytes]
    ) -> Iterator[bytes]:
        if kind != wanted or size > self._small_limit:
            raise _not_what_is_named(object_id, wanted, kind, size, chunks, self._small_limit)
        return chunks

    def blobs(self, ids: Sequence[bytes]) -> Iterator[Blob]:
        """Return blobs in the order of their ids. Raises DamagedMirror, also while one is being read."""
        for object_id, kind, size, chunks in self._each(ids):
            if kind != b"blob":
                raise _not_what_is_named(object_id, b"blob", kind, size, chunks)
            yield Blob(object_id, size, chunks)

    def _each(self, ids: Sequence[bytes]) -> Iterator[tuple[bytes, bytes, int, Iterator[bytes]]]:
        if not ids:
            return
        said, answer = self._streams()
        rest = iter(ids)
        try:
            while some := list(islice(rest, AT_ONCE)):
                said.write(b"".join(b"%s\n" % object_id.hex().encode("ascii") for object_id in some))
                said.flush()
                for object_id in some:
                    yield (object_id, *_answered(answer, object_id))
        except OSError as error:
            raise DamagedMirror(f"git ended while it read {ids[0].hex()}: {error.strerror}") from error

    def _streams(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            self._process = self._command.talk(("cat-file", "--batch"), git_dir=self._git_dir)
        said, answer = self._process.stdin, self._process.stdout
        if said is None or answer is None:
            raise DamagedMirror("git cannot be talked to")
        return said, answer


def _answered(answer: IO[bytes], object_id: bytes) -> tuple[bytes, int, Iterator[bytes]]:
    words = answer.readline(200).split()
    if len(words) != 3 or words[0] != object_id.hex().encode("ascii") or not words[2].isdigit():  # noqa: PLR2004 - id, kind, size
        said = b" ".join(words[1:]).decode("ascii", "replace") or "git could not read on"
        raise DamagedMirror(f"object {object_id.hex()}: {said}")
    kind, size = words[1], int(words[2])
    return kind, size, _checked(answer, object_id, kind, size)


def _checked(answer: IO[bytes], object_id: bytes, kind: bytes, size: int) -> Iterator[bytes]:
    digest, left = started(object_id, kind, size), size
    while left:
        chunk = answer.read(min(left, CHUNK))
        if not chunk:
            raise DamagedMirror(f"object {object_id.hex()} ends too early")
        left -= len(chunk)
        digest.update(chunk)
        yield chunk
    if answer.read(1) != b"\n" or digest.digest() != object_id:
        raise DamagedMirror(f"object {object_id.hex()} holds something else")


def _not_what_is_named(
    object_id: bytes, wanted: bytes, kind: bytes, size: int, chunks: Iterator[bytes], most: int = SMALL_LIMIT
) -> SourceUnusable:
    """Return what is wrong with a commit that names an object as what it is not. Raises DamagedMirror.

    An id is a digest of kind, length and content: once that is seen to be right, no mirror can be at fault.
    """
    for _ in chunks:
        pass
    said = f"{object_id.hex()}, which is a {kind.decode('ascii', 'replace')} of {size} bytes"
    if kind == wanted:
        return SourceUnusable(f"the commit has {said}: more than the {most} that can be read")
    return SourceUnusable(f"the commit names {said}, as a {wanted.decode('ascii')}: run git fsck at home")
