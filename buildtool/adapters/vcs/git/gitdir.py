"""Git directories that are made anew for one checkout, and thrown away with it: nothing in them is older than it."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Container, Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from attrs import frozen

from buildtool.adapters.storage.trees import make_plain_directory, remove_tree
from buildtool.adapters.vcs.git.objects import GITLINK

_SHA256_DIGITS = 64
_OPEN, _FILE = 0o755, 0o644
_SKELETON: Mapping[str, frozenset[str]] = {
    "": frozenset({"HEAD", "config", "packed-refs", "index", "objects", "refs"}),
    "objects": frozenset({"info", "pack"}),
    "objects/info": frozenset(),
    "objects/pack": frozenset(),
    "refs": frozenset({"heads", "tags"}),
    "refs/heads": frozenset(),
    "refs/tags": frozenset(),
}
"""The directories of a git directory, each with the names that it may have beside packs."""
_LONGEST_NAME = 0xFFF
_WORD = 0xFFFF_FFFF
_SECOND = 10**9


class PlacedFile(NamedTuple):
    """An entry of a tree as the commit has it: its path, mode, id, and what the file system says of it."""

    path: bytes
    mode: int
    object_id: bytes
    status: os.stat_result | None = None


@frozen
class Tag:
    """A tag: what it points at, and the commit behind it if that is an object of its own."""

    target: str
    peeled: str = ""


def make_git_dir(path: Path, commit: str, url: str) -> None:
    """Make a git directory without objects at ``path``, in the place of whatever is there. Raises OSError.

    ``HEAD`` is the commit and ``origin`` the URL. Of an earlier one directories stay, and files whose content is told
    anew: deleting is what takes long. So do packs, which ``Packs.link`` is to look at.
    """
    for name, kept in _SKELETON.items():
        _clear(path / name, kept)
    _write(path / "HEAD", f"{commit}\n".encode("ascii"))
    write_settings(path, commit, url, {})


def _clear(path: Path, kept: Container[str]) -> None:
    """Make a directory that holds at most directories and files of these names, all our own."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    if found is None or not stat.S_ISDIR(found.st_mode):
        remove_tree(path)
        path.mkdir()
    make_plain_directory(path, _OPEN)
    with os.scandir(path) as entries:
        for entry in entries:
            packed = path.name == "pack" and entry.name.endswith((".pack", ".idx"))
            kind = entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
            if not kind or not (packed or entry.name in kept):
                remove_tree(Path(entry.path))


def _write(path: Path, content: bytes) -> None:
    """Write a file that nobody else has under another name, in place of whatever is there. Raises OSError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError:
        remove_tree(path)
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, _FILE)
    with os.fdopen(descriptor, "r+b", buffering=0) as stream:
        found = os.fstat(descriptor)
        own = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if own and stat.S_IMODE(found.st_mode) != _FILE:
            os.fchmod(descriptor, _FILE)
        # Most of it is the same from one build to the next, and a disk takes long to write what need not be written.
        if own and (found.st_size != len(content) or stream.read() != content):
            stream.seek(0)
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) or 0 :]
            if found.st_size > len(content):
                stream.truncate()
    if not own:
        remove_tree(path)
        _write(path, content)


def write_settings(path: Path, commit: str, url: str, submodules: Mapping[str, str]) -> None:
    """Write the settings of a git directory, with the URLs of submodules that are checked out. Raises OSError."""
    wide = len(commit) == _SHA256_DIGITS
    lines = ["[core]", f"\trepositoryformatversion = {int(wide)}", "\tfilemode = true", "\tbare = false"]
    lines += ["\tlogallrefupdates = true"]
    lines += ["[extensions]", "\tobjectFormat = sha256"] if wide else []
    lines += ['[remote "origin"]', f"\turl = {_quoted(url)}", "\tfetch = +refs/heads/*:refs/remotes/origin/*"]
    for name, where in submodules.items():
        lines += [f"[submodule {_quoted(name)}]", "\tactive = true", f"\turl = {_quoted(where)}"]
    text = "".join(f"{line}\n" for line in lines)
    _write(path / "config", text.encode("utf-8", "surrogateescape"))


def write_tags(path: Path, tags: Mapping[str, Tag]) -> None:
    """Write the tags, by full name, that a git directory has beside its commit. Raises OSError."""
    # An origin that is a bundle tells of no tag what is behind it: git must look for itself then.
    peeled = any(tag.peeled for tag in tags.values())
    lines = [f"# pack-refs with:{' peeled fully-peeled' if peeled else ''} sorted "]
    for name in sorted(tags, key=lambda name: name.encode("utf-8", "surrogateescape")):
        tag = tags[name]
        lines.append(f"{tag.target} {name}")
        lines += [f"^{tag.peeled}"] if tag.peeled else []
    _write(path / "packed-refs", "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def write_index(path: Path, placed: Iterable[PlacedFile], id_size: int) -> None:
    """Write a git directory's index, ids of ``id_size`` bytes: untouched files are clean. Raises OSError."""
    fixed = struct.Struct(f">10I{id_size}sH")
    pack, begin = fixed.pack, fixed.size
    parts = [b""]
    for name, mode, object_id, found in sorted(placed, key=itemgetter(0)):
        length = len(name)
        if found is None or mode == GITLINK:
            head = pack(0, 0, 0, 0, 0, 0, mode, 0, 0, 0, object_id, min(length, _LONGEST_NAME))
        else:
            changed, written = found.st_ctime_ns, found.st_mtime_ns
            head = pack(
                changed // _SECOND & _WORD,
                changed % _SECOND,
                written // _SECOND & _WORD,
                written % _SECOND,
                found.st_dev & _WORD,
                found.st_ino & _WORD,
                mode,
                found.st_uid & _WORD,
                found.st_gid & _WORD,
                found.st_size & _WORD,
                object_id,
                min(length, _LONGEST_NAME),
            )
        parts.append(b"%b%b%b" % (head, name, bytes(8 - (begin + length) % 8)))
    parts[0] = struct.pack(">4sII", b"DIRC", 2, len(parts) - 1)
    content = b"".join(parts)
    digest = hashlib.sha1(content, usedforsecurity=False) if id_size == 20 else hashlib.sha256(content)  # noqa: PLR2004 - SHA-1's
    _write(path / "index", content + digest.digest())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
