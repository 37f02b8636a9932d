"""What the metaserver packed for build servers, read and checked before it goes into a mirror.

The file comes from the metaserver, whose word on a commit is its id. git computes the id of each object from its
content and follows all links from the commit, so what is taken is that commit, or nothing. Everything here blocks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from attrs import frozen

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git.command import GitCommand, need
from buildtool.adapters.vcs.git.ids import BUNDLE_HEADERS as HEADERS
from buildtool.adapters.vcs.process import ProcessOutput
from buildtool.errors import BadUpload

LINES = 200_000
"""Most refs of a bundle that are read."""

READING_LIMIT = 1_800.0
"""Seconds that each step may take."""

_LINE_LIMIT = 4_096
_LINE = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/(?:pins|tags|shallow)/\S+)\n\Z")


@frozen
class _Header:
    """The refs of a bundle, by their names."""

    refs: dict[str, str]

    @property
    def cuts(self) -> list[str]:
        return [one for name, one in self.refs.items() if name.startswith("refs/shallow/")]


def unbundle(
    command: GitCommand, bundle: Path, commit: str, fetch: Callable[[str, tuple[str, ...]], ProcessOutput]
) -> None:
    """Unpack a bundle to where ``fetch`` fetches it: it is given an address and what to fetch from there.

    Raises BadUpload for a bundle that does not hold ``commit`` and all that leads to it; OSError, TimedOut.
    """
    place = bundle.with_name(f"{bundle.name}.git")
    remove_tree(place)
    form = "sha256" if len(commit) == max(HEADERS) else "sha1"
    try:
        _need(command.run(("init", "--quiet", "--bare", "--template=", f"--object-format={form}", str(place))))
        with bundle.open("rb") as stream:
            header = _read_header(stream, commit)
            (place / "shallow").write_text("".join(f"{one}\n" for one in header.cuts), encoding="ascii")
            os.lseek(stream.fileno(), stream.tell(), os.SEEK_SET)  # git reads on from there
            _need(command.run(("index-pack", "--stdin"), git_dir=place, given=stream, limit=READING_LIMIT))
        if not header.cuts:
            (place / "shallow").unlink()
        refs = {name: one for name, one in header.refs.items() if not name.startswith("refs/shallow/")}
        lines = "".join(f"update {name} {one}\n" for name, one in refs.items())
        given = lines.encode("utf-8", "surrogateescape")
        _need(command.run(("update-ref", "--stdin"), git_dir=place, given=given))
        specs = (f"+refs/pins/{commit}:refs/fetched/{commit}", "+refs/tags/*:refs/tags/*")
        _need(fetch(f"file://{place}", specs))
    finally:
        remove_tree(place)


def _read_header(stream: IO[bytes], commit: str) -> _Header:
    lines = HEADERS.get(len(commit), "").encode()
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
