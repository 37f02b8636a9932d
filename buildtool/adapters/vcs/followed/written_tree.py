"""The files of a commit whose signature was found right, written where they are loaded from. Everything here blocks.

Only plain files are taken. A link leads to what is on the machine, and a submodule to another repository: neither is
what was signed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.followed.bounded_git import BoundedGit
from buildtool.adapters.vcs.git.command import need
from buildtool.adapters.vcs.process import OUT_LIMIT, ProcessOutput
from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.text import one_line, size_words

CONFIG = "config.py"
"""The file at the top that is loaded."""

MOST_FILES = 4_000
MOST_BYTES = 32 * 1024 * 1024
"""The most bytes of all files together."""

LIMIT = 60.0
"""Seconds that reading may take."""

_ENTRY = re.compile(rb"(\d{6}) ([a-z]+) ([0-9a-f]{40}|[0-9a-f]{64}) +(\d+|-)\t(.+)", re.DOTALL)
_FILES = {b"100644": 0o600, b"100755": 0o700}
_FORBIDDEN = frozenset({"", ".", "..", ".git"})
_NAME = 120


@frozen
class TreeFile:
    """A file of a commit: its path below the top, the permissions that it gets, its id, and its size in bytes."""

    path: str
    mode: int
    object_id: str
    size: int


def list_tree(git: BoundedGit, repository: Path, commit: str) -> tuple[TreeFile, ...]:
    """Return the files of a commit. Raises ConfigurationError for a tree that is not taken, MachineFault."""
    kept = bytearray()

    def take(piece: bytes) -> None:
        kept.extend(piece[: max(0, OUT_LIMIT - len(kept))])

    words = ("ls-tree", "-r", "-z", "-l", "--full-tree", commit)
    answer = git.run(words, git_dir=repository, limit=LIMIT, sink=take, settings=git.settings)
    need(answer, MachineFault, f"cannot read {repository}: ")
    entries = bytes(kept).split(b"\0")[:-1]
    if len(entries) > MOST_FILES or len(kept) >= OUT_LIMIT:
        raise ConfigurationError(f"it has more than {MOST_FILES} files")
    found = tuple(map(_file, entries))
    if sum(one.size for one in found) > MOST_BYTES:
        raise ConfigurationError(f"its files have more than {size_words(MOST_BYTES)}")
    if CONFIG not in {one.path for one in found}:
        raise ConfigurationError(f"it has no {CONFIG} at its top")
    return found


def _file(entry: bytes) -> TreeFile:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise MachineFault("git lists a tree in words that are not understood")
    mode, _, object_id, size, raw = found.groups()
    shown = one_line(raw.decode("utf-8", "replace"), _NAME)
    if mode not in _FILES:
        kinds = {b"120000": "a link", b"160000": "a submodule"}
        raise ConfigurationError(f"{shown} is {kinds.get(mode, 'no file')}: put the file itself there")
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown}: names of files are UTF-8") from error
    if not path.isprintable() or "\\" in path or any(part.lower() in _FORBIDDEN for part in path.split("/")):
        raise ConfigurationError(f"{shown} is no name for a file here")
    return TreeFile(path, _FILES[mode], object_id.decode("ascii"), int(size))


def write_tree(git: BoundedGit, repository: Path, commit: str, place: Path) -> Path:
    """Write a commit's files to ``place``, instead of what is there, and return its ``config.py``.

    Raises ConfigurationError for a tree that is not taken, MachineFault.
    """
    files = list_tree(git, repository, commit)
    fresh = place.with_name(f"{place.name}.new")
    try:
        remove_tree(fresh)
        fresh.mkdir(mode=0o700, parents=True)
        for one, data in zip(files, _contents(git, repository, files), strict=True):
            path = fresh / one.path
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(path, flags, one.mode), "wb") as stream:
                stream.write(data)
        remove_tree(place)
        fresh.rename(place)
    except OSError as error:
        raise MachineFault(f"cannot write {place}: {error.strerror or error}") from error
    return place / CONFIG


def _contents(git: BoundedGit, repository: Path, files: tuple[TreeFile, ...]) -> Iterator[bytes]:
    """Yield what is in each file. Raises MachineFault."""
    kept = bytearray()
    asked = "".join(f"{one.object_id}\n" for one in files).encode("ascii")
    answer: ProcessOutput = git.run(
        ("cat-file", "--batch"), git_dir=repository, limit=LIMIT, sink=kept.extend, given=asked, settings=git.settings
    )
    need(answer, MachineFault, f"cannot read {repository}: ")
    place = 0
    for one in files:
        head = f"{one.object_id} blob {one.size}\n".encode("ascii")
        end = place + len(head) + one.size
        if kept[place : place + len(head)] != head or kept[end : end + 1] != b"\n":
            raise MachineFault(f"cannot read {repository}: {one.object_id} is not there as it was listed")
        yield bytes(kept[place + len(head) : end])
        place = end + 1
