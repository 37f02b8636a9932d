"""What git makes of a file on its way into a tree, where the commit's ``.gitattributes`` say that it is to be changed.

That is asked of git itself, in a git directory that was just made: ends of lines, ``$Id$``, encodings, and Git LFS.
Other filters do nothing, as in a fresh clone. What came of it is remembered in memory by its digest, so that files in a
tree can be compared with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock

from attrs import define, field

from buildtool.adapters.vcs.git.command import GitCommand, explain, need
from buildtool.adapters.vcs.git.gitdir import PlacedFile, write_index
from buildtool.adapters.vcs.git.objects import GITLINK, id_of, shown, started
from buildtool.adapters.vcs.git.reader import Blob, Manifest, ObjectReader
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.errors import MachineFault, RepositoryUnreachable, SourceUnusable

KNOWN_LIMIT = 200_000
"""How many converted files are remembered."""

LFS_LIMIT = 1800.0
"""Seconds in which the large files of one commit must have come."""

_ASKED = ("eol", "ident", "filter", "working-tree-encoding")
_TELLING = re.compile(rb"eol=crlf|ident|filter|working-tree-encoding")
_FILE_NAME = b".gitattributes"
_LFS_SETTINGS = b".lfsconfig"
_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com/spec|hawser\.github\.com/spec)/v1\n"
    rb"(?:[^\n]*\n)*?oid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n?",
)
_LACKING = re.compile(r"missing object|[Oo]bject does not exist|\[(?:404|410|422)\]|invalid hash", re.ASCII)
_ERROR = re.compile(r"^(?:[Ee]rror|batch|fatal|LFS)\b", re.ASCII)
_POINTER_LIMIT = 1024
_CHUNK = 1 << 20
_LFS = {
    "filter.lfs.process": "git-lfs filter-process",
    "filter.lfs.smudge": "git-lfs smudge -- %f",
    "filter.lfs.clean": "git-lfs clean -- %f",
    "filter.lfs.required": "true",
    "lfs.fetchinclude": "",
    "lfs.fetchexclude": "",
    "lfs.concurrenttransfers": "4",
}


@define
class AttributeCache:
    """The memory of all repositories' attributes: which paths of a tree are converted, and what came of files."""

    _paths: OrderedDict[bytes, Mapping[bytes, str]] = field(factory=OrderedDict)
    _count: int = 0
    _made: OrderedDict[bytes, bytes] = field(factory=OrderedDict)
    _lock: Lock = field(factory=Lock)

    def paths(self, root: bytes) -> Mapping[bytes, str] | None:
        """Return the filter ("" for none) of each path that is converted in the tree ``root``, if that is known."""
        return self._paths.get(root)

    def keep_paths(self, root: bytes, paths: Mapping[bytes, str]) -> None:
        """Remember the converted paths of a tree."""
        with self._lock:
            self._paths[root] = paths
            self._count += len(paths) + 1
            while len(self._paths) > 1 and self._count > KNOWN_LIMIT:
                self._count -= len(self._paths.popitem(last=False)[1]) + 1

    def made(self, key: bytes) -> bytes | None:
        """Return the id of what a file became."""
        return self._made.get(key)

    def keep_made(self, key: bytes, object_id: bytes) -> None:
        """Remember the id of what a file became."""
        with self._lock:
            keep_newest(self._made, key, object_id, KNOWN_LIMIT)


@define
class Conversions:
    """The conversions of one commit, in the git directory that was made for it. All methods block.

    ``proved`` returns once what git reads there by itself is known to be what it should be. Raises, beside what is
    said, DamagedMirror, RepositoryUnreachable, MachineFault.
    """

    command: GitCommand
    git_dir: Path
    url: str
    manifest: Manifest
    reader: ObjectReader
    rules: AttributeCache
    proved: Callable[[], None]
    _context: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._context = _context(self.manifest, self.url)

    def wanted(self) -> dict[bytes, bytes]:
        """Return, by path, the id of what each file that is converted is to hold. Raises SourceUnusable."""
        paths = self._paths()
        found, unknown = {}, []
        for path in paths:
            made = self.rules.made(self._key(path))
            if made is None:
                unknown.append(path)
            else:
                found[path] = made
        for path, blob in zip(unknown, self.converted(unknown), strict=True):
            for _ in blob.chunks:
                pass
            found[path] = blob.object_id
        return found

    def converted(self, paths: Sequence[bytes]) -> Iterator[Blob]:
        """Return what git makes of files, in the order of ``paths``. Raises SourceUnusable."""
        if not paths:
            return
        filters = self._paths()
        large = [path for path in paths if filters[path] == "lfs"]
        pointers = self._pointers(large)
        with tempfile.TemporaryDirectory(dir=self.git_dir) as scratch:
            self._check_out(Path(scratch), paths, sorted(pointers))
            for path in paths:
                blob = self._taken(os.fsencode(scratch) + b"/" + path, path, pointers.get(path))
                self.rules.keep_made(self._key(path), blob.object_id)
                yield blob

    def _paths(self) -> Mapping[bytes, str]:
        found = self.rules.paths(self.manifest.root)
        if found is None:
            found = self._ask()
            self.rules.keep_paths(self.manifest.root, found)
        return found

    def _ask(self) -> Mapping[bytes, str]:
        # What else may be called so, a submodule for one, holds no attributes.
        attributes = [
            one for one in self.manifest.entries() if one[0].rpartition(b"/")[2] == _FILE_NAME and one[1] != GITLINK
        ]
        telling = False
        for blob in self.reader.blobs([object_id for _, _, object_id in attributes]):
            telling |= bool(_TELLING.search(b"".join(blob.chunks)))
        if not telling:
            return {}
        self._index(set())
        files = [path for path, mode, _ in self.manifest.entries() if stat.S_ISREG(mode)]
        said = b"".join(path + b"\0" for path in files)
        arguments = ("check-attr", "--cached", "-z", "--stdin", *_ASKED)
        fields: list[bytes] = []
        need(self._run(arguments, said, fields), MachineFault, "git cannot tell the attributes of files: ")
        found: dict[bytes, str] = {}
        for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
            if name == b"filter":
                if value not in {b"unspecified", b"unset", b"set"}:
                    found[path] = value.decode("utf-8", "replace")
            elif (
                (name == b"eol" and value == b"crlf")
                or (name == b"ident" and value == b"set")
                or (name == b"working-tree-encoding" and value not in {b"unspecified", b"unset"})
            ):
                found.setdefault(path, "")
        return found

    def _run(self, arguments: tuple[str, ...], said: bytes, fields: list[bytes]) -> ProcessOutput:
        rest = bytearray()

        def take(chunk: bytes) -> None:
            rest.extend(chunk)
            *whole, last = rest.split(b"\0")
            fields.extend(map(bytes, whole))
            rest[:] = last

        return self.command.run(arguments, git_dir=self.git_dir, given=said, settings={}, sink=take)

    def _index(self, paths: set[bytes]) -> None:
        """Write an index of the attributes and of ``paths`` alone."""
        self.proved()
        placed = [
            PlacedFile(path, mode, object_id)
            for path, mode, object_id in self.manifest.entries()
            if path in paths or path == _LFS_SETTINGS or path.rpartition(b"/")[2] == _FILE_NAME
        ]
        write_index(self.git_dir, placed, len(self.manifest.root))

    def _check_out(self, scratch: Path, paths: Sequence[bytes], large: Sequence[bytes]) -> None:
        if large and shutil.which("git-lfs") is None:
            raise SourceUnusable(
                f"{shown(large[0])} is kept in Git LFS, and git-lfs is not installed on this machine: install it, "
                'or let the recipe ask for it with machine={"tools": ("git-lfs",)}'
            )
        self._index(set(paths))
        # Attributes come from the index as long as there is no such file in the tree.
        ordered = sorted(paths, key=lambda path: path.endswith(_FILE_NAME))
        said = b"".join(path + b"\0" for path in ordered)
        arguments = (f"--work-tree={scratch}", "checkout-index", "--force", "--quiet", "-z", "--stdin")
        try:
            answer = self.command.run(
                arguments,
                git_dir=self.git_dir,
                tree=scratch,
                url=self.url,
                given=said,
                settings=_LFS if large else {},
                limit=LFS_LIMIT,
            )
        except TimedOut as error:
            raise RepositoryUnreachable(f"cannot fetch {shown(large[0]) if large else 'files'}: {error}") from error
        if answer.code and large:
            self._explain_lfs(scratch, large, answer)
        elif answer.code:
            missing = [path for path in ordered if not os.path.lexists(os.fsencode(scratch) + b"/" + path)]
            if missing:  # it ends at the first that it cannot
                raise SourceUnusable(
                    f"git cannot check {shown(missing[0])!r} out as its attributes say: {explain(answer)}"
                )

    def _explain_lfs(self, scratch: Path, large: Sequence[bytes], answer: ProcessOutput) -> None:
        missing = [path for path in large if not os.path.lexists(os.fsencode(scratch) + b"/" + path)]
        words = f"{shown(missing[0] if missing else large[0])} cannot be had from the Git LFS store of {mask(self.url)}"
        said = [line.strip() for line in answer.err.splitlines() if line.strip()]
        # There is no plumbing that tells: what is missing or damaged in the store is the same for every machine.
        telling = [line for line in said if _LACKING.search(line)]
        errors = [line for line in said if _ERROR.search(line)]
        why = mask((telling or errors or said or ["git-lfs failed"])[0].rpartition("): ")[2])[:300]
        if telling:
            raise SourceUnusable(f"{words}: {why}: push it with git lfs push --all")
        raise RepositoryUnreachable(f"{words}: {why}")

    def _taken(self, where: bytes, path: bytes, pointer: tuple[bytes, int] | None) -> Blob:
        """Return what lies in the scratch tree as a blob, whose content is checked against a pointer to it."""
        found = self.manifest.find(path)
        try:
            with open(where, "rb") as stream:  # noqa: PTH123 - a path in bytes
                size = os.fstat(stream.fileno()).st_size
                digest, large = started(self.manifest.root, b"blob", size), hashlib.sha256()
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    if pointer is not None:
                        large.update(chunk)
        except OSError as error:
            raise SourceUnusable(
                f"git cannot check {shown(path)!r} out as its attributes say: {error.strerror}"
            ) from error
        if pointer is not None and (large.hexdigest().encode("ascii"), size) != pointer:
            same = found is not None and digest.digest() == found[1]
            words = "only its pointer came" if same else "something else came"
            raise SourceUnusable(f"{shown(path)} is kept in the Git LFS store of {mask(self.url)}, and {words}")
        return Blob(digest.digest(), size, _chunks(where))

    def _pointers(self, paths: Sequence[bytes]) -> dict[bytes, tuple[bytes, int]]:
        """Return what the pointers among the files that Git LFS keeps point at; others are plain files."""
        ids = [entry[1] for path in paths if (entry := self.manifest.find(path))]
        found = {}
        for path, blob in zip(paths, self.reader.blobs(ids), strict=True):
            content = b"".join(chunk if blob.size <= _POINTER_LIMIT else b"" for chunk in blob.chunks)
            said = _POINTER.fullmatch(content)
            if said:
                found[path] = (said[1], int(said[2]))
        return found

    def _key(self, path: bytes) -> bytes:
        """Return what the conversion of a path depends on: the path, its blob, all attributes, and the repository."""
        found = self.manifest.find(path)
        digest = hashlib.sha256(self._context)
        digest.update(path + b"\0" + (b"" if found is None else found[1]))
        return digest.digest()


def _context(manifest: Manifest, url: str) -> bytes:
    digest = hashlib.sha256(id_of(manifest.root, b"blob", url.encode("utf-8", "surrogateescape")))
    for prefix, tree in manifest.directories.items():
        for name in (_FILE_NAME, *(() if prefix else (_LFS_SETTINGS,))):
            if name in tree:
                digest.update(prefix + name + b"\0" + tree[name][1])
    return digest.digest()


def _chunks(where: bytes) -> Iterator[bytes]:
    with open(where, "rb") as stream:  # noqa: PTH123 - a path in bytes
        while chunk := stream.read(_CHUNK):
            yield chunk
