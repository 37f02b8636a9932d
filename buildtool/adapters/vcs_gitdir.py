"""Git directories that are made anew for one checkout, and thrown away with it: nothing in them is older than it."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from attrs import frozen

from buildtool.adapters.trees import remove_tree
from buildtool.adapters.vcs_objects import GITLINK

_SHA256_DIGITS = 64
_LONGEST_NAME = 0xFFF
_WORD = 0xFFFF_FFFF
_SECOND = 10**9


class Placed(NamedTuple):
    """Something that lies in a tree as the commit has it: its path, mode, id, and what the file system says of it."""

    path: bytes
    mode: int
    object_id: bytes
    status: os.stat_result | None = None


@frozen
class Tag:
    """What a tag points at, and the commit behind it if that is an object of its own."""

    target: str
    peeled: str = ""


def make_git_dir(path: Path, commit: str, url: str, submodules: Mapping[str, str]) -> None:
    """Make a git directory without objects at ``path``, in the place of whatever is there. Raises OSError.

    ``HEAD`` is the commit and ``origin`` the URL; ``submodules`` are the URLs of those that are checked out, by name.
    """
    remove_tree(path)
    for name in ("", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"):
        (path / name).mkdir()
        (path / name).chmod(0o755)
    (path / "HEAD").write_text(f"{commit}\n", encoding="ascii")
    write_settings(path, commit, url, submodules)


def write_settings(path: Path, commit: str, url: str, submodules: Mapping[str, str]) -> None:
    """Write the settings of a git directory that was just made. Raises OSError."""
    wide = len(commit) == _SHA256_DIGITS
    lines = ["[core]", f"\trepositoryformatversion = {int(wide)}", "\tfilemode = true", "\tbare = false"]
    lines += ["\tlogallrefupdates = true"]
    lines += ["[extensions]", "\tobjectFormat = sha256"] if wide else []
    lines += ['[remote "origin"]', f"\turl = {_quoted(url)}", "\tfetch = +refs/heads/*:refs/remotes/origin/*"]
    for name, where in submodules.items():
        lines += [f"[submodule {_quoted(name)}]", "\tactive = true", f"\turl = {_quoted(where)}"]
    text = "".join(f"{line}\n" for line in lines)
    (path / "config").write_text(text, encoding="utf-8", errors="surrogateescape")


def write_tags(path: Path, tags: Mapping[str, Tag]) -> None:
    """Write the tags, by full name, that a git directory has beside its commit. Raises OSError."""
    lines = ["# pack-refs with: peeled fully-peeled sorted "]
    for name in sorted(tags, key=str.encode):
        tag = tags[name]
        lines.append(f"{tag.target} {name}")
        lines += [f"^{tag.peeled}"] if tag.peeled else []
    (path / "packed-refs").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_index(path: Path, placed: Iterable[Placed], id_size: int) -> None:
    """Write the index of a git directory: files that nobody touches afterwards are clean. Raises OSError."""
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
    (path / "index").write_bytes(content + digest.digest())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
