"""What a build server takes from the metaserver where an origin gives nothing out: commits, and tags that reach them.

Tested by tests/adapters/vcs/git_mirrors/test_private_origins.py and tests/adapters/vcs/git_mirrors/test_bundles.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git.gitdir import Tag
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror
from buildtool.adapters.vcs.git_mirrors.origin import Origins
from buildtool.adapters.vcs.git_mirrors.unbundle import Fetch, unbundle, unbundle_tags
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import BadTicket, BuildToolError, CommitGone, MachineFault, NotFound, UnknownRef
from buildtool.ports.buildserver import CommitCopy
from buildtool.ports.common import Executor

log = Logger()

T = TypeVar("T")


class MirrorCopies:
    """The copies that are taken into mirrors, each once for all who want it at the same time."""

    def __init__(self, origins: Origins, pool: Executor) -> None:
        self._origins = origins
        self._pool = pool
        self._commits: SingleFlight[None] = SingleFlight()
        self._tags: SingleFlight[dict[str, Tag]] = SingleFlight()

    async def take(self, mirror: Mirror, commit: str, copy: CommitCopy, error: BuildToolError) -> None:
        """Take a commit and its tags after the origin failed with ``error``.

        Raises that, or CommitGone, where there is none; MachineFault, BadUpload, and what ``copy`` does.
        """

        def unpack(path: Path, fetch: Fetch) -> None:
            unbundle(self._origins.command, path, commit, mirror.path, fetch)

        async def take() -> None:
            await self._taken("bundle", mirror, commit, copy, unpack)
            log.info("commit {commit} of {url} came from the metaserver", commit=commit, url=mask(mirror.url))

        try:
            await _shared(self._commits, f"{commit} {mirror.url}", take)
        except NotFound as absent:
            if isinstance(error, UnknownRef):
                raise CommitGone(
                    f"commit {commit} is nowhere any more: neither {mask(mirror.url)} nor the metaserver has it; "
                    "push it again"
                ) from absent
            raise error from absent

    async def tags(self, mirror: Mirror, commit: str, copy: CommitCopy) -> dict[str, Tag]:
        """Return the tags that reach a commit of the mirror now, which are in it then.

        Raises NotFound where the metaserver knows none; MachineFault, BadUpload, and what ``copy`` does.
        """

        def unpack(path: Path, fetch: Fetch) -> dict[str, Tag]:
            return unbundle_tags(self._origins.command, path, commit, mirror.path, fetch)

        async def take() -> dict[str, Tag]:
            return await self._taken("tags.bundle", mirror, commit, copy, unpack)

        return await _shared(self._tags, f"{commit} {mirror.url}", take)

    async def _taken(
        self, kind: str, mirror: Mirror, commit: str, copy: CommitCopy, unpack: Callable[[Path, Fetch], T]
    ) -> T:
        """Fetch a bundle beside the mirror, as a file whose name ends with ``kind``, and return what unpacking gave."""
        path = mirror.path.with_name(f"{mirror.path.name}.{commit[:16]}.{kind}")

        def fetch(url: str, specs: tuple[str, ...]) -> ProcessOutput:
            return self._origins.fetching(mirror, len(commit), specs, url=url)

        def take() -> T:
            try:
                return unpack(path, fetch)
            except TimedOut as late:
                raise MachineFault(f"cannot read what the metaserver sent: {late}") from late
            except OSError as failed:
                raise MachineFault(f"cannot read what the metaserver sent: {failed.strerror}") from failed

        await self._pool.run(lambda: remove_tree(path))
        await copy(path)
        try:
            return await self._origins.locked(mirror, take)
        finally:
            await self._pool.run(lambda: path.unlink(missing_ok=True))


async def _shared(flights: SingleFlight[T], key: str, take: Callable[[], Awaitable[T]]) -> T:
    """Return what is taken, by whoever asked first; who is told that there is nothing asks with the own ticket then.

    The one that was shown is of another build, which may have ended meanwhile.
    """
    asked = False

    async def run() -> T:
        nonlocal asked
        asked = True
        return await take()

    while True:
        try:
            return await flights.share(key, run)
        except (NotFound, BadTicket):
            if asked:
                raise
