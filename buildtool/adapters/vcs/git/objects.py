"""git's objects as bytes: what an id says of its content, and what commits and trees hold. Pure functions."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

from buildtool.errors import SourceUnusable
from buildtool.model.search.commits import SUBJECT_LIMIT, CommitNote
from buildtool.model.text import one_line

if TYPE_CHECKING:
    from hashlib import _Hash

Tree = dict[bytes, tuple[int, bytes]]
"""What a directory holds: the mode and the id of each name."""

DIRECTORY, FILE, LINK, GITLINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK, 0o160000
"""The kinds of entries: the high bits of their modes. A gitlink names the commit of a submodule."""

PATH_LIMIT = 4_000
"""The longest path below the top of a tree, in bytes."""

_MESSAGE_READ = 4_000
"""Bytes of a message, or of a name, that are looked at."""

_NAME_LIMIT = 40
_TIME_DIGITS = 11
_ENCODINGS = {
    name.encode(): name
    for name in (
        "utf-8", "iso-8859-1", "latin-1", "latin1", "iso-8859-2", "iso-8859-5", "iso-8859-15", "cp1250", "cp1251",
        "cp1252", "windows-1251", "windows-1252", "koi8-r", "euc-jp", "shift_jis", "iso-2022-jp", "euc-kr", "gbk",
        "gb18030", "big5",
    )
}  # fmt: skip
"""What messages are written in that are not UTF-8: of what Python knows, only what is quick and no program."""

_SHA1_SIZE = 20
_COMMIT = re.compile(rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n")
_OCTAL = re.compile(rb"[0-7]+\Z")
# What git refuses in a path, everywhere: .git in any case, and what is .git on Windows.
_DOT_GIT = re.compile(rb"(?:\.git|git~1)[ .]*(?:[:\\].*)?\Z", re.IGNORECASE | re.DOTALL)


def shown(path: bytes) -> str:
    """Return a path as printable text."""
    text = path.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]


def hasher(object_id: bytes, begun: bytes = b"") -> _Hash:
    """Return a digest of the kind that ``object_id`` is, which has taken ``begun``."""
    return hashlib.sha1(begun, usedforsecurity=False) if len(object_id) == _SHA1_SIZE else hashlib.sha256(begun)


def started(object_id: bytes, kind: bytes, size: int) -> _Hash:
    """Return a digest that has taken the header of an object of ``size`` bytes."""
    return hasher(object_id, b"%s %d\0" % (kind, size))


def id_of(like: bytes, kind: bytes, content: bytes) -> bytes:
    """Return the id of an object, in the form of the id ``like``."""
    digest = started(like, kind, len(content))
    digest.update(content)
    return digest.digest()


def tree_of(commit: bytes) -> bytes:
    """Return the id of a commit's tree. Raises SourceUnusable."""
    found = _COMMIT.match(commit)
    if found is None:
        raise SourceUnusable("the commit names no tree")
    return bytes.fromhex(found[1].decode("ascii"))


def parents_of(commit: bytes) -> list[bytes]:
    """Return the ids, in hex digits, of what came before a commit."""
    head, _, _ = commit.partition(b"\n\n")
    return [line[7:] for line in head.split(b"\n") if line.startswith(b"parent ")]


def note_of(commit: bytes) -> CommitNote:
    """Return what a commit is about. Nothing of it is believed: what cannot be read is shown as it can be, or empty."""
    head, _, message = commit.partition(b"\n\n")
    said = dict(reversed([line.partition(b" ")[::2] for line in head.split(b"\n")]))  # the first of its name counts
    known = _ENCODINGS.get(said.get(b"encoding", b"")[:_NAME_LIMIT].strip().lower(), "utf-8")
    name, _, behind = said.get(b"author", b"").partition(b"<")
    when = behind.rpartition(b">")[2].split()[:1]
    plain = bool(when) and when[0].isdigit() and len(when[0]) <= _TIME_DIGITS
    subject = message[:_MESSAGE_READ].lstrip(b"\n").partition(b"\n\n")[0]
    return CommitNote(
        one_line(subject.decode(known, "replace"), SUBJECT_LIMIT),
        one_line(name[:_MESSAGE_READ].decode(known, "replace"), SUBJECT_LIMIT),
        float(int(when[0])) if plain else 0.0,
    )


def parse_tree(content: bytes, id_size: int, path: bytes = b"") -> Tree:
    """Return what the tree at ``path`` holds. Raises SourceUnusable for names that no directory can have."""
    found: Tree = {}
    place, end = 0, len(content)
    while place < end:
        zero = content.find(b"\0", place)
        mode, space, name = content[place:zero].partition(b" ")
        place = zero + 1 + id_size
        if zero < 0 or not space or place > end or not _OCTAL.match(mode):
            raise SourceUnusable(f"the commit's directory {shown(path) or '.'} cannot be read: run git fsck at home")
        if name in found or not _can_be(name):
            raise SourceUnusable(f"the commit has a path that git checks out nowhere: {shown(path + name)!r}")
        found[name] = (_mode(int(mode[-6:], 8), path + name), content[zero + 1 : place])
    return found


def _mode(said: int, path: bytes) -> int:
    kind = stat.S_IFMT(said)
    if kind == FILE:
        return FILE | (0o755 if said & stat.S_IXUSR else 0o644)
    if kind == LINK and path.lower() == b".gitmodules":
        raise SourceUnusable(".gitmodules is a symbolic link, which git does not follow: make it a file")
    return kind if kind in {DIRECTORY, LINK} else GITLINK


def _can_be(name: bytes) -> bool:
    return bool(name) and name not in {b".", b".."} and b"/" not in name and not _DOT_GIT.match(name)


def check_path(path: bytes) -> None:
    """Raise SourceUnusable for a path that is longer than any machine takes."""
    if len(path) > PATH_LIMIT:
        raise SourceUnusable(f"the commit has a path of over {PATH_LIMIT} bytes: {shown(path[:80])}...")


def total(trees: Iterable[Tree]) -> int:
    """Return how many entries there are in all."""
    return sum(map(len, trees))
