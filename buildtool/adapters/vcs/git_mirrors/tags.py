"""The tags that origins have, which say how ``git describe`` calls a commit: asked for at every checkout.

An origin on this machine is looked at first: where its tags are the same as before, no process is started.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from buildtool.adapters.vcs.git.command import NOWHERE, GitCommand
from buildtool.adapters.vcs.git.gitdir import Tag
from buildtool.adapters.vcs.git_mirrors.looks import state_of
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror
from buildtool.adapters.vcs.git_mirrors.origin import Origins
from buildtool.adapters.vcs.refs import is_full_id, may_be_ref
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.ports.common import Executor

TAGS_LIMIT = 30.0
"""Seconds that an origin has to tell its tags, without which a build can go on."""

TAGS_READ = 100_000
"""Most tags of one origin that are read."""

LOOSE_LIMIT = 10_000
"""Of how many loose tags it is looked whether they are the same; asking git is as fast for more."""


class OriginTags:
    """The tags that origins have, by their full names. Call it in the reactor's thread; git runs in ``pool``."""

    def __init__(self, origins: Origins, pool: Executor) -> None:
        self._origins = origins
        self._pool = pool
        self._asked: SingleFlight[dict[str, Tag]] = SingleFlight()

    async def now(self, mirror: Mirror) -> dict[str, Tag]:
        """Return the tags that the origin has now. Raises RepositoryUnreachable."""

        def ask() -> dict[str, Tag]:
            state = state_of_tags(mirror.url)
            if state is not None and mirror.tags is not None and mirror.tags[0] == state:
                return mirror.tags[1]
            listed: dict[str, Tag] = {}
            arguments = ("ls-remote", "--quiet", "--tags", "--end-of-options", "origin")
            self._origins.network(mirror, arguments, NOWHERE, TAGS_LIMIT, lambda line: _take(line, b"\t", listed))
            tags = _sound(listed)
            mirror.tags = None if state is None else (state, tags)
            return tags

        return await self._asked.share(mirror.url, lambda: self._pool.run(ask))

    async def kept(self, mirror: Mirror) -> dict[str, Tag]:
        """Return the tags that the mirror has, for when the origin is away."""

        def ask() -> dict[str, Tag]:
            self._origins.keeper.see_to(mirror)
            return tags_in(self._origins.command, mirror.path)

        return _sound(await mirror.lock.run(self._pool.run, ask))


def tags_in(command: GitCommand, path: Path) -> dict[str, Tag]:
    """Return the tags of a repository by their full names (blocking), none where it cannot tell."""
    listed: dict[str, Tag] = {}
    # It goes through tags of tags as ``ls-remote`` does, which for-each-ref of git before 2.45 does not.
    arguments = ("show-ref", "--tags", "--dereference")
    command.run(arguments, git_dir=path, on_line=lambda line: _take(line, b" ", listed))
    return listed


def _take(line: bytes, between: bytes, listed: dict[str, Tag]) -> None:
    """Add what a line tells to tags, which git lists with what is behind each after it."""
    object_id, name = (one.decode("utf-8", "surrogateescape") for one in line.partition(between)[::2])
    if not is_full_id(object_id) or len(listed) >= TAGS_READ:
        return
    if not name.endswith("^{}"):
        listed[name] = Tag(object_id)
    elif (tag := name.removesuffix("^{}")) in listed:
        listed[tag] = Tag(listed[tag].target, object_id)


def _sound(listed: Mapping[str, Tag]) -> dict[str, Tag]:
    return {name: tag for name, tag in listed.items() if name.startswith("refs/tags/") and may_be_ref(name)}


def state_of_tags(url: str) -> str | None:
    """Return a text that differs after any tag of a repository on this machine did; None where that is unknown.

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
            if count > LOOSE_LIMIT:
                return None
            digest.update(line)
    except OSError:
        return None
    return digest.hexdigest()


def _states(top: Path) -> Iterator[bytes]:
    for path in (top / "packed-refs", top / "HEAD", top / "config"):
        yield state_of(str(path), path.stat()) if path.exists() else os.fsencode(f"{path}\n")
    inside = [str(top / "refs" / "tags")]
    while inside:
        directory = inside.pop()
        if not os.path.isdir(directory):  # noqa: PTH112 - as fast as can be
            continue
        with os.scandir(directory) as found:
            for entry in sorted(found, key=lambda one: one.name):
                if entry.is_dir(follow_symlinks=False):
                    inside.append(entry.path)
                yield state_of(entry.path, entry.stat(follow_symlinks=False))
