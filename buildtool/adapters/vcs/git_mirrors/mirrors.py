"""Bare mirrors of git repositories: what a ref means now, which commits a range accepts, and keeping commits.

One mirror per repository address, kept by fetching. Refs are asked of the origin every time; a full id that is
mirrored needs no network. A moved branch costs two git processes, an unmoved one a single one, a known id none.

Ids and names are two things. A text of as many hex digits as the repository's ids have is an id, whatever branches are
called; every other text is a name first, and an abbreviated id if there is no such name.
"""

from __future__ import annotations

import hashlib
import re
import signal
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from buildtool.adapters.vcs.git.command import GitCommand
from buildtool.adapters.vcs.git.gitdir import Tag
from buildtool.adapters.vcs.git.ids import ObjectKind, Unreadable
from buildtool.adapters.vcs.git.objects import note_of
from buildtool.adapters.vcs.git.reader import DamagedMirror, ObjectCache, ObjectReader
from buildtool.adapters.vcs.git_mirrors.copies import MirrorCopies
from buildtool.adapters.vcs.git_mirrors.lines import FirstParentLines
from buildtool.adapters.vcs.git_mirrors.listing import Listed, known_names, meanings, spellings
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror, MirrorKeeper, unfit, unlock
from buildtool.adapters.vcs.git_mirrors.origin import FETCH_LIMIT, Origins
from buildtool.adapters.vcs.git_mirrors.tags import OriginTags
from buildtool.adapters.vcs.git_mirrors.trust import TrustedCommits
from buildtool.adapters.vcs.refs import (
    REVRANGE_LIMIT,
    RevisionsNear,
    check_ref,
    check_url,
    is_full_id,
    mask,
    may_be_short_id,
    parse_revrange,
)
from buildtool.concurrency.asker import INTERNAL, working_for
from buildtool.concurrency.single_flight import Batches
from buildtool.errors import MachineFault, RepositoryUnreachable, SourceUnusable, UnknownRef, UsageError
from buildtool.model.search.commits import CommitNote
from buildtool.model.text import meant
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.ports.buildserver import CommitCopy
from buildtool.ports.common import Executor

__all__ = ["FETCH_LIMIT", "GitMirror", "Mirror", "directory_name"]

log = Logger()

T = TypeVar("T")

COMMIT_LIMIT = 1 << 20
"""The largest commit that is read to say what it is about, in bytes."""

_ATTEMPTS = 3


class GitMirror:
    """All mirrors below ``directory``, which belongs to this program alone. Call it in the reactor's thread.

    Implements ``ports.SourceResolver``. git runs in the threads of ``pool``.
    """

    def __init__(self, directory: Path, pool: Executor, login: Callable[[str], str] | None = None) -> None:
        """``login`` returns a URL with the login that is needed there."""
        self.directory = directory
        self._pool = pool
        self._mirrors: dict[str, Mirror] = {}
        self._looks: Batches[str, Mapping[str, ObjectKind]] = Batches()
        settings = directory / "gitconfig"
        self.command = GitCommand(settings) if login is None else GitCommand(settings, login)
        self.keeper = MirrorKeeper(self.command)
        self._lines = FirstParentLines(self.command, pool)
        self._origins = Origins(self.command, self.keeper, self._lines, pool)
        self._trust = TrustedCommits(self._origins, self._lines, pool)
        self._copies = MirrorCopies(self._origins, pool)
        self.tags = OriginTags(self._origins, pool)

    def close(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End every git process that still runs; those that wait for one get an error. For the program's own end."""
        self.command.close(signum)

    def mirror(self, url: str) -> Mirror:
        """Return the mirror of ``url``, which need not be on disk yet. Raises RepositoryUnreachable for no address."""
        found = self._mirrors.get(url)
        if found is None:
            check_url(url)
            found = self._mirrors[url] = Mirror(url, self.directory / f"{directory_name(url)}.git")
            unlock(found.path)
        return found

    async def renew(self, url: str, commit: str, why: str, copy: CommitCopy | None = None) -> None:
        """Make a mirror anew in which ``commit`` was found to be damaged, and see to it that the commit is in it.

        Raises what ``fetch_commit`` does.
        """
        mirror = self.mirror(url)

        def renew() -> None:
            self.keeper.make_anew(mirror, why)

        await mirror.lock.run(self._pool.run, renew)
        await self.fetch_commit(url, commit, copy)

    async def resolve(self, url: str, ref: str) -> str:
        """Return the full id of the commit that ``ref`` is at the origin now.

        ``ref`` is ``HEAD``, a branch, a tag, a full ref name, or a commit id (abbreviated if that is unambiguous).
        A text as long as the repository's ids, in hex digits, is always an id: ``refs/heads/...`` names a branch that
        is called like one. Raises UnknownRef, RepositoryUnreachable.
        """
        mirror = self.mirror(url)
        if is_full_id(ref) and ref.lower() in mirror.known:  # as long as the repository's ids, or it would not be one
            return ref.lower()
        check_ref(ref, url)
        if is_full_id(ref) and len(ref) == await _digits(self._origins, mirror):
            return await self._resolve_id(mirror, ref.lower())
        before = None
        for _ in range(_ATTEMPTS):
            listing = await self._origins.list_refs(mirror, meanings(ref))
            if is_full_id(ref) and len(ref) == listing.digits:
                return await self._resolve_id(mirror, ref.lower())
            listed = listing.choose(ref, url)
            if listed is None:
                break
            found = await self._obtain(mirror, listed)
            if found is not None:
                self._trust.named(mirror, listed.name, found)
                return found
            if listed == before:
                raise UnknownRef(f"{ref!r} of {mask(url)} is at {listed.target}, which is not there: push it again")
            before = listed
        else:
            raise RepositoryUnreachable(f"{mask(url)} changes faster than it can be fetched: try again")
        if may_be_short_id(ref):
            return await _resolve_short(self._origins, self.keeper, self._pool, mirror, ref.lower())
        near = await self._pool.run(lambda: meant(ref, known_names(self.command, mirror.path)))
        raise UnknownRef(f"{mask(url)} has no branch, tag or commit {ref!r}{near}")

    async def line(self, url: str, commit: str, most: int) -> Sequence[str]:
        """Return ``commit``, fetched where it is not there, and its first-parent ancestors: ``most`` at most.

        Raises UnknownRef, RepositoryUnreachable.
        """
        mirror = self.mirror(url)
        there = await self._resolve_id(mirror, _full(commit, url))
        return await self._origins.read(mirror, lambda: self._lines.older(mirror, there, most))

    async def refs(self, url: str) -> tuple[str, ...]:
        """Return the newest branches and tags that the mirror has; none where there is no mirror yet."""
        mirror = self.mirror(url)
        return await self._pool.run(lambda: known_names(self.command, mirror.path))

    async def tips(self, url: str) -> Mapping[str, str]:
        """Return the commits of HEAD, branches and tags at the origin now. Raises RepositoryUnreachable."""
        return await self._origins.tips(self.mirror(url))

    async def fetch_commit(self, url: str, commit: str, copy: CommitCopy | None = None) -> str:
        """Fetch ``commit`` (a full id) into the mirror; the network is used only if it is not there.

        Return its id: another one where ``commit`` is the id of a tag, which a submodule may be at. ``copy`` fetches
        what the metaserver has of it, for when the origin does not give it out, or is away. Raises UnknownRef,
        RepositoryUnreachable; with ``copy`` CommitGone, MachineFault, and what that raises.
        """
        mirror, commit = self.mirror(url), _full(commit, url)
        try:
            return await self._resolve_id(mirror, commit)
        except (UnknownRef, RepositoryUnreachable) as error:
            if copy is None:
                raise
            await self._copies.take(mirror, commit, copy, error)
        if await self._commit(mirror, commit) != commit:
            raise MachineFault(f"what the metaserver sent of {mask(url)} does not hold {commit}")
        return commit

    async def tags_of(self, url: str, commit: str, copy: CommitCopy) -> dict[str, Tag]:
        """Return the tags that reach ``commit``, which is in the mirror, as ``copy`` fetches them from the metaserver.

        Raises NotFound where it knows none, and what ``copy`` does.
        """
        return await self._copies.tags(self.mirror(url), commit, copy)

    async def pin(self, url: str, commit: str) -> None:
        """Keep ``commit``, which is in the mirror, whatever is deleted or overwritten at the origin.

        Raises UnknownRef, RepositoryUnreachable.
        """
        mirror = self.mirror(url)
        commit = _full(commit, url)
        with working_for(INTERNAL):  # whoever asked may be gone before it is done
            why = await self._origins.locked(mirror, lambda: self._origins.pin(mirror, commit))
            if why:
                # It was there once, or nobody would want it kept: the mirror was made anew meanwhile.
                await self._resolve_id(mirror, commit)
                why = await self._origins.locked(mirror, lambda: self._origins.pin(mirror, commit))
        if why:
            raise UnknownRef(f"commit {commit} of {mask(url)} cannot be pinned: {why}")

    async def about(self, url: str, commit: str) -> CommitNote | None:
        """Return what a commit that is in the mirror is about; None where it cannot be read, and the log says why."""
        mirror, commit = self.mirror(url), _full(commit, url)

        def read() -> bytes:
            with ObjectReader(self.command, mirror.path, ObjectCache(), COMMIT_LIMIT) as reader:
                return reader.small(bytes.fromhex(commit), b"commit")

        try:
            return note_of(await self._pool.run(read))
        except (DamagedMirror, SourceUnusable) as error:
            log.info("what {commit} of {url} is about is not known: {why}", commit=commit, url=mask(url), why=error)
            return None

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        """Return whether ``commit``, which is in the mirror, is one of ``refs`` or lies before one of them now."""
        return await self._trust.has(self.mirror(url), _full(commit, url), refs)

    async def acceptable(self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF) -> tuple[str, ...]:
        """Return the commits that ``revrange`` accepts, nearest to ``commit`` first; ``commit`` itself is the first.

        ``N`` accepts what lies at most N first-parent steps before ``commit``, or after it on the way from a branch
        among ``refs``; of two equally near ones the older comes first. ``A..B`` accepts the first-parent line of
        ``commit``, which is what B resolved to, back to A, both ends included. ``commit`` must be in the mirror.

        Raises UsageError for a range that is none or accepts over 1,000 commits; UnknownRef if A is not on the line.
        """
        mirror = self.mirror(url)
        commit = _full(commit, url)
        asked = parse_revrange(revrange)
        if asked == RevisionsNear(0):
            return (commit,)
        if isinstance(asked, RevisionsNear):
            return await self._origins.read(mirror, lambda: self._lines.near(mirror, commit, asked.steps, refs))
        first = await self.resolve(url, asked.first)
        line = (await self._origins.read(mirror, lambda: self._lines.older(mirror, commit)))[:REVRANGE_LIMIT]
        if first not in line:
            raise UnknownRef(
                f"{asked.first!r} ({first[:12]}) is not among the last {REVRANGE_LIMIT} commits "
                f"of the first-parent line of {asked.last!r} ({commit[:12]})"
            )
        return tuple(line[: line.index(first) + 1])

    async def older(
        self, url: str, ref: str, commit: str, among: Collection[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        """Return those of ``among``, refs as typed with full ids, that are the same ref and ancestors of ``commit``.

        Raises UsageError where ``ref`` is an id, UnknownRef where it is no ref now, RepositoryUnreachable.
        """
        mirror, commit = self.mirror(url), _full(commit, url)
        if is_full_id(ref):
            raise UsageError(f"{ref!r} is a commit: name a branch or tag of {mask(url)}, of which others are older")
        listing = await self._origins.list_refs(mirror, spellings(ref))
        same = listing.named_as(ref, {name for name, _ in among}, url)
        ids = {one for name, one in among if name in same and is_full_id(one)}
        before = await self._lines.before(mirror, commit, ids)
        return frozenset((name, one) for name, one in among if name in same and one in before)

    async def refresh(self, url: str) -> None:
        """Fetch every branch and tag as they are now. Raises RepositoryUnreachable."""
        await self._origins.refresh(self.mirror(url))

    async def reading(self, url: str, act: Callable[[], Awaitable[T]]) -> T:
        """Return what ``act`` finds in the mirror; where it raises Unreadable, see to the mirror and do it again.

        Raises MachineFault if that does not help.
        """
        return await self._origins.read(self.mirror(url), act)

    # --- ids --------------------------------------------------------------------------------------------

    async def _resolve_id(self, mirror: Mirror, commit: str) -> str:
        if commit in mirror.known:
            return commit
        try:
            found = await self._commit(mirror, commit)
        except UnknownRef:  # it is something else, or a damaged mirror says so
            await self._origins.locked(mirror, lambda: None)
            found = await self._commit(mirror, commit)
        if found is None:
            try:
                listing = await self._origins.refresh(mirror)
            except RepositoryUnreachable:
                # Before the origin was asked the mirror was seen to.
                if (found := await self._commit(mirror, commit)) is None:
                    raise
                return found
            found = await self._commit(mirror, commit)
            if found is None and await self._origins.ask_for(mirror, commit, listing):
                found = await self._commit(mirror, commit)
        if found is None:
            raise UnknownRef(f"{mask(mirror.url)} has no commit {commit}{_shallow(mirror)}")
        return found

    async def _commit(self, mirror: Mirror, object_id: str) -> str | None:
        """Return the commit that a full id names in the mirror, or leads to; None when nothing is there.

        Raises UnknownRef for the id of something else.
        """
        look = partial(_kinds, self._pool, self.keeper, mirror)
        kind = (await self._looks.ask(mirror.url, (object_id,), look)).get(object_id)
        if kind is None:
            return None
        if kind.commit is None:
            raise UnknownRef(f"{object_id} of {mask(mirror.url)} is no commit, but a {kind.name}")
        return mirror.remember(kind.commit)

    # --- names ------------------------------------------------------------------------------------------

    async def _obtain(self, mirror: Mirror, listed: Listed) -> str | None:
        """Return the commit of what was listed, which is then in the mirror; None if the origin changed meanwhile.

        Raises UnknownRef where it leads to no commit.
        """
        if listed.peeled in mirror.known:
            return listed.peeled
        target = listed.target
        if not mirror.known and (found := await self._commit(mirror, target)) is not None:
            return found  # the program has just begun
        if listed.name.startswith(("refs/heads/", "refs/tags/")) or listed.name == "HEAD":
            fetched = await self._origins.fetch(mirror, len(target))
            if target in fetched.branches:
                return mirror.remember(target)  # git makes no branch of anything but a commit
        found = await self._commit(mirror, target)
        if found is None and await self._origins.ask_for(mirror, target):
            # Neither branch nor tag, or moved on since it was listed, or one tip among very many.
            found = await self._commit(mirror, target)
        return found


async def _kinds(pool: Executor, keeper: MirrorKeeper, mirror: Mirror, ids: frozenset[str]) -> Mapping[str, ObjectKind]:
    """Return what there is in the mirror of these ids."""

    def look() -> Mapping[str, ObjectKind]:
        if unfit(mirror.path):
            return {}
        try:
            return keeper.objects(mirror).kinds(ids)
        except Unreadable:
            return {}  # what follows, a fetch, sees to the mirror first

    return await pool.run(look) if mirror.digits else {}


async def _digits(origins: Origins, mirror: Mirror) -> int:
    """Return how long the repository's ids are; 0 for one that is not mirrored and has nothing."""
    return mirror.digits or (await origins.list_refs(mirror, ())).digits


def directory_name(url: str) -> str:
    """Return a file name for ``url``: readable, without passwords, and different for different addresses."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", mask(url).removesuffix(".git")).strip("-")[-40:].strip("-")
    return f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


async def _resolve_short(origins: Origins, keeper: MirrorKeeper, pool: Executor, mirror: Mirror, prefix: str) -> str:
    await origins.refresh(mirror)
    find = partial(_abbreviated, keeper, mirror, prefix)
    commits = await origins.read(mirror, lambda: pool.run(find))
    if len(commits) > 1:
        raise UnknownRef(f"{prefix!r} abbreviates several commits of {mask(mirror.url)}: give more digits")
    if not commits:
        raise UnknownRef(f"{mask(mirror.url)} has no branch, tag or commit {prefix!r}{_shallow(mirror)}")
    return mirror.remember(commits.pop())


def _abbreviated(keeper: MirrorKeeper, mirror: Mirror, prefix: str) -> set[str]:
    """Return (blocking) the commits that are meant by an abbreviation of their ids or of their tags'."""
    if not mirror.path.exists():
        return set()
    objects = keeper.objects(mirror)
    kinds = objects.kinds(objects.beginning(prefix)).values()
    return {kind.commit for kind in kinds if kind.commit is not None}


def _full(commit: str, url: str) -> str:
    if not is_full_id(commit):
        raise UnknownRef(f"{commit[:80]!r} is not a full commit id of {mask(url)}")
    return commit.lower()


def _shallow(mirror: Mirror) -> str:
    """Return what is added where something was not found, though it may have been in a history that was cut off."""
    if not (mirror.path / "shallow").exists():
        return ""
    return "; it is a shallow repository, which has only the last part of its history"
