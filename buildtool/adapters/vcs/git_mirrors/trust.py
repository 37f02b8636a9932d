"""Which commits of a mirror are on refs that are trusted: where one was resolved, or which of them it lies before.

Only branches and tags are: what was fetched by its id, or kept by a pin, has refs of its own in the mirror, which say
nothing. Branches move away from commits, so what was found holds until something is fetched.

Tested by tests/adapters/vcs/git_mirrors/test_trust.py.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.logger import Logger

from buildtool.adapters.vcs.git.command import need
from buildtool.adapters.vcs.git.ids import Unreadable
from buildtool.adapters.vcs.git_mirrors.lines import FirstParentLines
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror
from buildtool.adapters.vcs.git_mirrors.origin import Origins
from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import RepositoryUnreachable
from buildtool.model.trust.sources import TrustedRefs
from buildtool.ports.common import Executor

log = Logger()

KEPT = 20_000
"""How many commits are remembered as trusted."""

WALK_LIMIT = 60.0
"""Seconds that looking for a ref that has a commit may take."""


class TrustedCommits:
    """A finder of commits that are on trusted refs. Call it in the reactor's thread; git runs in those of ``pool``."""

    def __init__(self, origins: Origins, lines: FirstParentLines, pool: Executor) -> None:
        """``lines`` knows whether something was fetched."""
        self._origins = origins
        self._pool = pool
        self._lines = lines
        self._finding: SingleFlight[bool] = SingleFlight()
        self._named: OrderedDict[tuple[str, str], tuple[int, frozenset[str]]] = OrderedDict()
        self._found: OrderedDict[tuple[str, str, tuple[str, ...]], int] = OrderedDict()

    def named(self, mirror: Mirror, ref: str, commit: str) -> None:
        """Remember that the origin said now that a ref, by its full name, is at ``commit``."""
        key, moves = (mirror.url, commit), self._lines.moves(mirror)
        before = self._named.get(key)
        names = before[1] if before is not None and before[0] == moves else frozenset[str]()
        keep_newest(self._named, key, (moves, names | {ref}), KEPT)

    async def has(self, mirror: Mirror, commit: str, refs: TrustedRefs) -> bool:
        """Return whether ``commit``, which is in the mirror, is on one of ``refs``. Raises MachineFault.

        Where the mirror does not know, the origin is asked what its refs are now; if it does not answer, it is not.
        """
        before = self._lines.moves(mirror)  # what is fetched from now on, by whomever, may not have been looked at
        if await self._origins.read(mirror, lambda: self._reached(mirror, commit, refs)):
            return True
        try:
            await self._origins.refresh(mirror)
        except RepositoryUnreachable:
            return False
        fetched = self._lines.moves(mirror) != before
        return fetched and await self._origins.read(mirror, lambda: self._reached(mirror, commit, refs))

    async def _reached(self, mirror: Mirror, commit: str, refs: TrustedRefs) -> bool:
        """Return whether ``commit`` is on one of ``refs`` as the mirror has them. Raises Unreadable."""
        moves, key = self._lines.moves(mirror), (mirror.url, commit, refs.patterns)
        named = self._named.get((mirror.url, commit))
        if self._found.get(key) == moves or (named is not None and named[0] == moves and any(map(refs.has, named[1]))):
            return True
        words = " ".join((mirror.url, commit, *refs.patterns))
        found = await self._finding.share(words, lambda: self._pool.run(lambda: self._find(mirror, commit, refs)))
        if found:
            keep_newest(self._found, key, moves, KEPT)
        return found

    def _find(self, mirror: Mirror, commit: str, refs: TrustedRefs) -> bool:
        """Return (blocking) whether a branch or tag among ``refs`` has ``commit`` in its history."""
        enough = ("--count=1",) if refs.all_of_them else ()
        arguments = ("for-each-ref", *enough, "--format=%(refname)", f"--contains={commit}", "refs/heads", "refs/tags")
        try:
            said = need(self._origins.command.run(arguments, git_dir=mirror.path, limit=WALK_LIMIT), Unreadable).text
        except TimedOut:
            words = {"url": mask(mirror.url), "commit": commit}
            log.warn("{commit} of {url} is not trusted: to find a ref that has it took too long", **words)
            return False
        return any(refs.has(name) for name in said.splitlines())
