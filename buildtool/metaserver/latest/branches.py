"""Where branches are, as their repositories said lately: many who ask cost one look at an origin a minute.

Tested by tests/metaserver/latest/test_finding.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.errors import RepositoryUnreachable, UnknownRef
from buildtool.model.text import meant, quoted
from buildtool.model.triggers.trigger import BRANCHES, TAGS, short_ref
from buildtool.ports.triggers import RefReader

FRESH = 60.0
"""Seconds for which it is believed where branches are; what is built of a newer commit says so before."""

KEPT = 32
"""Of how many repositories that is kept."""

log = Logger()


@frozen
class BranchTip:
    """A commit that a branch is at, by the branch's name for people, as it was ``age`` seconds ago."""

    name: str
    commit: str
    age: float


@frozen
class _Seen:
    refs: Mapping[str, str]
    at: float
    commits: frozenset[str]


@define(eq=False)
class BranchTips:
    """A reader of where branches are. ``timers`` say what time it is."""

    reader: RefReader
    timers: IReactorTime
    _seen: OrderedDict[str, _Seen] = field(factory=OrderedDict, init=False)
    _doubted: set[str] = field(factory=set, init=False)

    def doubt(self, url: str, commit: str) -> None:
        """Forget where the branches of a repository are, unless one of them is known to be at a commit."""
        seen = self._seen.get(url)
        if seen is not None and commit not in seen.commits:
            self._doubted.add(url)

    async def read(self, url: str, branch: str) -> BranchTip:
        """Return where a branch is, "" for HEAD. Where the origin is away, that is what it said before.

        Raises UnknownRef, RepositoryUnreachable.
        """
        refs, age = await self.refs(url)
        ref = _full(branch)
        if ref not in refs:
            raise _unknown(branch, refs)
        return BranchTip(short_ref(ref), refs[ref], age)

    async def refs(self, url: str) -> tuple[Mapping[str, str], float]:
        """Return the commits of HEAD, branches and tags by full names, as they were so many seconds ago.

        Raises RepositoryUnreachable.
        """
        seen = self._seen.get(url)
        if seen is None or url in self._doubted or self.timers.seconds() >= seen.at + FRESH:
            seen = await self._look(url, seen)
        return seen.refs, max(0.0, self.timers.seconds() - seen.at)

    async def _look(self, url: str, before: _Seen | None) -> _Seen:
        now = self.timers.seconds()
        self._doubted.discard(url)
        try:
            refs = await self.reader.tips(url)
        except RepositoryUnreachable as error:
            if before is None:
                raise
            log.info("a branch is where it was before: {why}", why=error)
            return before
        if len(refs) > _TAGS_KEPT:
            refs = {name: commit for name, commit in refs.items() if not name.startswith(TAGS)}
        seen = _Seen(refs, now, frozenset(refs.values()))
        keep_newest(self._seen, url, seen, KEPT)
        return seen


_TAGS_KEPT = 20_000
"""Of a repository with more refs its tags are not kept."""


def _full(branch: str) -> str:
    """Return the full name of a branch; a tag is found under no such name."""
    if branch in ("", "HEAD"):
        return "HEAD"
    return branch if branch.startswith(BRANCHES) else BRANCHES + branch


def _unknown(branch: str, refs: Mapping[str, str]) -> UnknownRef:
    """Return what is wrong with a name that is no branch, and what would be right."""
    short = branch.removeprefix(TAGS)
    if TAGS + short in refs:
        return UnknownRef(f"{quoted(short)} is a tag, and not a branch: ask for it by --revision {short}")
    names = [short_ref(name) for name in refs if not name.startswith(TAGS)]
    hint = meant(branch, names) or f": there {'is' if len(names) == 1 else 'are'} {', '.join(sorted(names)[:_NAMED])}"
    return UnknownRef(f"there is no branch {quoted(branch)}{hint if names else ''}")


_NAMED = 8
