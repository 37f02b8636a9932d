"""What the metaserver packed for build servers, read and checked before it goes into a mirror.

The file comes from the metaserver, whose word on a commit is its id. git computes the id of each object from its
content and follows all links from the commit, so what is taken is that commit, or nothing. Its word on tags is what
they are called: one that leads nowhere is not taken. Everything here blocks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from attrs import frozen

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git.command import GitCommand, need
from buildtool.adapters.vcs.git.gitdir import Tag
from buildtool.adapters.vcs.git.ids import BUNDLE_HEADERS as HEADERS
from buildtool.adapters.vcs.git_mirrors.salvage import text_of
from buildtool.adapters.vcs.git_mirrors.tags import tags_in
from buildtool.adapters.vcs.process import ProcessOutput
from buildtool.errors import BadUpload

LINES = 200_000
"""Most refs of a bundle that are read."""

READING_LIMIT = 1_800.0
"""Seconds that each step may take."""

Fetch = Callable[[str, tuple[str, ...]], ProcessOutput]
"""Fetches into the mirror what it is told, from an address."""

_CUTS = "refs/shallow/"
_LINE_LIMIT = 4_096
_LINE = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/(?:pins|tags|shallow)/\S+)\n\Z")


@frozen
class _Header:
    """The refs of a bundle, by their names."""

    refs: dict[str, str]

    @property
    def cuts(self) -> list[str]:
        return [one for name, one in self.refs.items() if name.startswith(_CUTS)]

    @property
    def tags(self) -> set[str]:
        return {name for name in self.refs if name.startswith("refs/tags/")}


def unbundle(command: GitCommand, bundle: Path, commit: str, mirror: Path, fetch: Fetch) -> None:
    """Unpack a bundle of a commit and its tags to where ``fetch`` fetches it into ``mirror``.

    Raises BadUpload for a bundle that does not hold ``commit`` and all that leads to it; OSError, TimedOut.
    """
    with _place(command, bundle, commit) as place:
        with bundle.open("rb") as stream:
            header = _read_header(stream, commit)
            _write_cuts(place, "".join(f"{one}\n" for one in header.cuts))
            _unpack(command, stream, place, header)
        _make_way(command, mirror, header)
        specs = (f"+refs/pins/{commit}:refs/fetched/{commit}", "+refs/tags/*:refs/tags/*")
        _need(fetch(f"file://{place}", specs))


def unbundle_tags(command: GitCommand, bundle: Path, commit: str, mirror: Path, fetch: Fetch) -> dict[str, Tag]:
    """Unpack a bundle of tags that reach a commit of ``mirror`` as ``unbundle`` does, and return these tags.

    Raises BadUpload where one of them is neither there nor in the mirror; OSError, TimedOut.
    """
    with _place(command, bundle, commit) as place:
        (place / "objects" / "info").mkdir(exist_ok=True)
        (place / "objects" / "info" / "alternates").write_bytes(os.fsencode(mirror / "objects") + b"\n")
        with bundle.open("rb") as stream:
            header = _read_header(stream, commit, only_tags=True)
            _write_cuts(place, text_of(mirror / "shallow"))
            _unpack(command, stream, place, header)
        _make_way(command, mirror, header)
        if header.tags:
            _need(fetch(f"file://{place}", ("+refs/tags/*:refs/tags/*",)))
        return tags_in(command, place)


@contextmanager
def _place(command: GitCommand, bundle: Path, commit: str) -> Iterator[Path]:
    """Give an empty repository beside a bundle, which goes afterwards."""
    place = bundle.with_name(f"{bundle.name}.git")
    remove_tree(place)
    form = "sha256" if len(commit) == max(HEADERS) else "sha1"
    try:
        _need(command.run(("init", "--quiet", "--bare", "--template=", f"--object-format={form}", str(place))))
        yield place
    finally:
        remove_tree(place)


def _write_cuts(place: Path, lines: str) -> None:
    if lines:
        (place / "shallow").write_text(lines, encoding="ascii")


def _unpack(command: GitCommand, stream: IO[bytes], place: Path, header: _Header) -> None:
    """Put the objects and refs of a bundle, of which the header was read, into a repository."""
    os.lseek(stream.fileno(), stream.tell(), os.SEEK_SET)  # git reads on from there
    _need(command.run(("index-pack", "--stdin"), git_dir=place, given=stream, limit=READING_LIMIT))
    lines = "".join(f"update {name} {one}\n" for name, one in header.refs.items() if not name.startswith(_CUTS))
    given = lines.encode("utf-8", "surrogateescape")
    _need(command.run(("update-ref", "--stdin"), git_dir=place, given=given))


def _make_way(command: GitCommand, mirror: Path, header: _Header) -> None:
    """Take tags out of a mirror that stand where one of the bundle needs a directory, or the reverse."""
    tags, old = header.tags, tags_in(command, mirror) if mirror.exists() else {}
    above = {name[:end] for name in tags for end in _slashes(name)}
    gone = [name for name in old if name in above or any(name[:end] in tags for end in _slashes(name))]
    if gone:
        given = "".join(f"delete {name}\n" for name in gone).encode("utf-8", "surrogateescape")
        _need(command.run(("update-ref", "--stdin"), git_dir=mirror, given=given))


def _slashes(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "/"]


def _read_header(stream: IO[bytes], commit: str, *, only_tags: bool = False) -> _Header:
    lines = (HEADERS.get(len(commit), "") + (f"-{commit}\n" if only_tags else "")).encode()
    if stream.read(len(lines)) != lines:
        raise BadUpload("what the metaserver sent is no bundle of such ids")
    refs: dict[str, str] = {}
    while (line := stream.readline(_LINE_LIMIT)) != b"\n":
        found = _LINE.match(line.decode("utf-8", "surrogateescape"))
        if found is None or len(found[1]) != len(commit) or len(refs) >= LINES:
            raise BadUpload("what the metaserver sent begins like a bundle, and goes on as none")
        refs[found[2]] = found[1]
    if refs.get(f"refs/pins/{commit}") != commit:
        raise BadUpload(f"what the metaserver sent does not hold commit {commit}")
    return _Header(refs)


def _need(answer: ProcessOutput) -> None:
    need(answer, BadUpload, "what the metaserver sent cannot be used: ")
