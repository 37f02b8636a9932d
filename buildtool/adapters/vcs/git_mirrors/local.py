"""Origins on this machine: whether their tags are still the same, without starting a process. Blocks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

TAGS_LIMIT = 10_000
"""Of how many loose tags it is looked whether they are the same; asking git is as fast for more."""


def state_of_tags(url: str) -> str | None:
    """Return a text that differs after any tag of a repository on this machine did; None where nobody can say.

    git never changes a ref in place, but puts another file there.
    """
    path = Path(url.removeprefix("file://"))
    if not path.is_absolute():
        return None
    top = path / ".git" if (path / ".git").is_dir() else path
    if not (top / "refs" / "heads").is_dir() or (top / "reftable").exists() or (top / "commondir").exists():
        return None
    digest = hashlib.sha256()
    try:
        for count, line in enumerate(_states(top)):
            if count > TAGS_LIMIT:
                return None
            digest.update(line.encode("utf-8", "surrogateescape"))
    except OSError:
        return None
    return digest.hexdigest()


def _states(top: Path) -> Iterator[str]:
    for path in (top / "packed-refs", top / "HEAD", top / "config"):
        yield _state(str(path), path.stat()) if path.exists() else f"{path}\n"
    inside = [str(top / "refs" / "tags")]
    while inside:
        directory = inside.pop()
        if not os.path.isdir(directory):  # noqa: PTH112 - as fast as can be
            continue
        with os.scandir(directory) as found:
            for entry in sorted(found, key=lambda one: one.name):
                if entry.is_dir(follow_symlinks=False):
                    inside.append(entry.path)
                yield _state(entry.path, entry.stat(follow_symlinks=False))


def _state(name: str, found: os.stat_result) -> str:
    return f"{name}\0{found.st_ino}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}\n"
