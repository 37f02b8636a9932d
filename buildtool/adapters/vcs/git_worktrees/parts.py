"""What the metaserver gives out of the sources of a Build: its commit, and submodules of the same private origin.

A submodule is named by its path, never by a URL: where it is follows from the Build's commit, as on a build server.
Who may commit to a project chooses that, so the login of the project's own origin is shown for its submodules only, and
nothing is fetched for them without one.

Tested by tests/adapters/vcs/git_worktrees/test_parts.py.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.vcs.git.ids import Unreadable
from buildtool.adapters.vcs.git.objects import shown
from buildtool.adapters.vcs.git.reader import DamagedMirror, ObjectCache, ObjectReader
from buildtool.adapters.vcs.git_mirrors.bundles import Bundles, Patience
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.submodules import Submodule, SubmoduleReader
from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.errors import MachineFault, NotFound, RepositoryUnreachable, SourceUnusable, UnknownRef
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import Bundle
from buildtool.protocol.source_parts import SourceKind, SourcePart

REPOSITORIES = 100
"""Most repositories of submodules that are mirrored for one repository while the program runs."""

READ_LIMIT = 2 << 20
"""The largest directory on the way to a submodule, and the largest ``.gitmodules``, in bytes."""

KNOWN_LIMIT = 1_000
"""Of how many submodules it is remembered where they are."""

Shares = Callable[[str, str], bool]
"""Says whether a repository and that of its submodule have the same login, by one entry of the settings."""


class SourceParts:
    """The parts of Builds' sources, as bundles. Call it in the reactor's thread; git runs in ``pool``."""

    def __init__(
        self, mirror: GitMirror, bundles: Bundles, pool: Executor, clock: IReactorTime, shares: Shares
    ) -> None:
        self._mirror = mirror
        self._bundles = bundles
        self._pool = pool
        self._shares = shares
        self._finding: Patience[tuple[str, str]] = Patience(clock)
        self._fetching = DeferredLock()
        self._known: OrderedDict[tuple[str, str, str], Submodule] = OrderedDict()
        self._repositories: dict[str, set[str]] = {}

    async def give(self, url: str, commit: str, part: SourcePart) -> Bundle:
        """Return a part of the sources that are at ``commit`` of a repository, as a bundle.

        Raises NotFound where there is none, or it is not given out; BeingMade; MachineFault and StorageUnavailable.
        """
        if part.inside:
            key = "\0".join((commit, url, *part.inside))
            url, commit = await self._finding.wait(key, partial(self._find, url, commit, part.inside))
        return await (self._bundles.tags if part.kind is SourceKind.TAGS else self._bundles.of)(url, commit)

    async def _find(self, url: str, commit: str, inside: tuple[str, ...]) -> tuple[str, str]:
        """Return the repository and commit of the submodule at these paths in one another, which are mirrored then."""
        top, place = url, "/".join(shown(os.fsencode(one)) for one in inside)
        try:
            for path in inside:
                one = await self._submodule(url, await self._fetched(top, url, commit), path)
                if not self._shares(url, one.url):
                    raise NotFound(f"origin_logins has no entry that leads to {mask(url)} and to {mask(one.url)}")
                url, commit = one.url, one.commit
            await self._fetched(top, url, commit)
        except (UnknownRef, RepositoryUnreachable, SourceUnusable) as error:
            raise NotFound(f"the submodule {place!r} is not here: {error}") from error
        return url, commit

    async def _fetched(self, top: str, url: str, commit: str) -> str:
        """Return the id of a commit that is in its mirror, where it is fetched to: one at a time, others have to go on.

        Raises NotFound where a repository has submodules of too many others.
        """
        if url != top:
            mirrored = self._repositories.setdefault(top, set())
            if url not in mirrored and len(mirrored) >= REPOSITORIES:
                raise NotFound(f"{mask(top)} has submodules of more than {REPOSITORIES} repositories")
            mirrored.add(url)
        if commit in self._mirror.mirror(url).known:
            return commit
        return await self._fetching.run(self._mirror.fetch_commit, url, commit)

    async def _submodule(self, url: str, commit: str, path: str) -> Submodule:
        """Return the submodule that a mirrored commit has at a path. Raises NotFound, SourceUnusable, MachineFault."""
        key = (url, commit, path)
        if key in self._known:
            return self._known[key]
        read = partial(self._read, url, commit, os.fsencode(path))
        found = await self._mirror.reading(url, lambda: self._pool.run(read))
        return keep_newest(self._known, key, found, KNOWN_LIMIT)

    def _read(self, url: str, commit: str, path: bytes) -> Submodule:
        # Whoever commits decides how much there is to read and to remember, so nothing of it is kept for the next.
        command, git_dir = self._mirror.command, self._mirror.mirror(url).path
        try:
            with ObjectReader(command, git_dir, ObjectCache(), READ_LIMIT) as reader:
                found = SubmoduleReader(command).of(reader, reader.along(commit, path), url)
        except DamagedMirror as error:
            raise Unreadable(str(error)) from error
        except (TimedOut, OSError) as error:
            raise MachineFault(f"cannot read {commit} of {mask(url)}: {error}") from error
        for one in found:
            if one.path == path and one.wanted:
                return one
        raise NotFound(f"commit {commit} of {mask(url)} has no submodule {shown(path)!r}")
