"""Objects of a repository that are files of their own, read without git. Everything here blocks."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

from buildtool.adapters.vcs.git.ids import SHA256_DIGITS

_PIECE = 1024 * 1024


def loose(path: Path, digits: int) -> Iterator[tuple[str, bool]]:
    """Yield the id of every object that is a file of its own, and whether its content is what the id says."""
    for directory in sorted((path / "objects").glob("[0-9a-f][0-9a-f]")):
        for file in sorted(directory.iterdir()) if directory.is_dir() else ():
            one = directory.name + file.name
            if len(one) == digits and file.is_file():
                yield one, _id_of(file, digits) == one


def _id_of(file: Path, digits: int) -> str:
    """Return the id of what is in a file of one object, "" where that cannot be read."""
    digest = hashlib.sha256() if digits == SHA256_DIGITS else hashlib.sha1(usedforsecurity=False)
    inflate = zlib.decompressobj()
    try:
        with file.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(inflate.decompress(piece))
    except (OSError, zlib.error):
        return ""
    return digest.hexdigest() if inflate.eof else ""
