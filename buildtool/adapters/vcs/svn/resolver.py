"""Revisions of Subversion repositories: what a number or HEAD means for a path, and which ones a range accepts.

The full id of a revision is ``r123``: the last one up to what was asked for that changed the path, so that commits
elsewhere in the repository make no other Build. Nothing is mirrored, because a repository keeps all of its revisions;
what was asked once by number is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import REVRANGE_LIMIT, RevisionsNear, mask, nearest, parse_revrange
from buildtool.adapters.vcs.svn.command import LOG_LIMIT, SvnCommand, failure, note, revisions
from buildtool.adapters.vcs.svn.refs import FIRST, Address, address, full_id, full_number, revision_number
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import RepositoryUnreachable, UnknownRef, UsageError
from buildtool.model.search.commits import CommitNote
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.ports.common import Executor

KNOWN_LIMIT = 20_000
"""How many answers about revision numbers are remembered; they never change."""

_NOWHERE = Path("/")


class SvnResolver:
    """The ``ports.SourceResolver`` of svn, which runs in the threads of ``pool``. Call it in the reactor's thread."""

    def __init__(self, command: SvnCommand, pool: Executor) -> None:
        self._command = command
        self._pool = pool
        self._asked: SingleFlight[list[int]] = SingleFlight()
        self._known: OrderedDict[tuple[str, int], int] = OrderedDict()

    async def resolve(self, url: str, ref: str) -> str:
        """Return the full id of the last change of the path ``url`` up to ``ref``: ``HEAD``, ``123`` or ``r123``.

        What a number means is what stood at this very URL in that revision, whatever was moved there later.
        Raises UnknownRef, RepositoryUnreachable.
        """
        where = address(url)
        number = revision_number(ref, url)
        if number is not None and (url, number) in self._known:
            return full_id(self._known[url, number])
        asked = "HEAD" if number is None else str(number)
        key = f"{asked} {url}"
        found = await self._asked.share(key, lambda: self._pool.run(lambda: self._log(where, asked, asked, FIRST, 1)))
        if not found:
            raise UnknownRef(f"{mask(url)} has no changes that can be read up to revision {asked}")
        keep_newest(self._known, (url, found[0]), found[0], KNOWN_LIMIT)
        if number is not None:
            keep_newest(self._known, (url, number), found[0], KNOWN_LIMIT)
        return full_id(found[0])

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        """Return True for the id of a revision: its author may write at the URL. Raises UnknownRef."""
        full_number(commit, url)
        return True

    async def acceptable(self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF) -> tuple[str, ...]:
        """Return the revisions that ``revrange`` accepts, nearest to ``commit`` first; ``commit`` itself is the first.

        A step is a *change of the path*: ``N`` accepts at most N changes before ``commit`` and N after it, of two
        equally near ones the older first. ``A..B`` accepts the changes from ``commit``, which is what B resolved to,
        back to A. Both stop where the path was copied or moved from elsewhere, and the later ones are those of what
        stands at the URL now.

        Raises UsageError for a range that is none or accepts over 1,000 revisions; UnknownRef if A is not on the line.
        """
        where = address(url)
        number = full_number(commit, url)
        asked = parse_revrange(revrange)
        if asked == RevisionsNear(0):
            return (commit,)
        if isinstance(asked, RevisionsNear):
            return await self._near(where, number, asked.steps)
        first = full_number(await self.resolve(url, asked.first), url)
        line = await self._older(where, number, REVRANGE_LIMIT)
        if first not in line:
            raise UnknownRef(
                f"{asked.first!r} ({full_id(first)}) is not among the last {REVRANGE_LIMIT} changes of {mask(url)} "
                f"up to {asked.last!r} ({full_id(number)})"
            )
        return tuple(full_id(one) for one in line[: line.index(first) + 1])

    async def pin(self, url: str, commit: str) -> None:
        """Check the id, which is enough: no revision leaves a Subversion repository. Raises UnknownRef."""
        full_number(commit, url)

    async def older(
        self, url: str, ref: str, commit: str, among: Collection[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        """Return those of ``among`` that were HEAD, as ``ref`` has to be, and that ``commit`` follows at this URL.

        Looked at are the last 1,000 changes. Raises UsageError for a number, UnknownRef, RepositoryUnreachable.
        """
        if revision_number(ref, url) is not None:
            raise UsageError(f"{ref!r} is one revision of {mask(url)}: only HEAD has others that are older")
        if not among:
            return frozenset()
        line = await self._older(address(url), full_number(commit, url), REVRANGE_LIMIT)
        before = set(map(full_id, line[1:]))
        return frozenset((name, one) for name, one in among if name == ref and one in before)

    async def line(self, url: str, commit: str, most: int) -> tuple[str, ...]:
        """Return a revision and the changes of the path before it, newest first, ``most`` at most.

        Raises UnknownRef, RepositoryUnreachable.
        """
        return tuple(map(full_id, await self._older(address(url), full_number(commit, url), most)))

    async def refs(self, url: str) -> tuple[str, ...]:
        """Return nothing: branches and tags are folders there, which ``--source`` says."""
        return ()

    async def tips(self, url: str) -> Mapping[str, str]:
        """Return the last change of the path, which is all that a URL is there. Raises RepositoryUnreachable."""
        return {"HEAD": await self.resolve(url, "HEAD")}

    async def about(self, url: str, commit: str) -> CommitNote | None:
        """Return what a revision is about, None where the path did not change in it.

        Raises UnknownRef, RepositoryUnreachable.
        """
        where, number = address(url), str(full_number(commit, url))
        found = await self._pool.run(lambda: self._logged(where, number, ["--limit=1", f"--revision={number}"]))
        return note(found)

    async def _near(self, where: Address, number: int, steps: int) -> tuple[str, ...]:
        older = await self._older(where, number, steps + 1)
        newer = await self._newer(where, number, steps + 1)
        return tuple(map(full_id, nearest(older, ((near, one) for near, one in enumerate(newer) if near), steps)))

    async def _older(self, where: Address, number: int, most: int) -> list[int]:
        """Return ``number`` and the changes before it, newest first."""
        found = await self._pool.run(lambda: self._log(where, str(number), str(number), FIRST, most))
        if not found or found[0] != number:
            raise UnknownRef(f"{mask(where.url)} did not change in {full_id(number)}")
        return found

    async def _newer(self, where: Address, number: int, most: int) -> list[int]:
        """Return ``number`` and the changes after it, oldest first; nothing if it is not what the URL has now."""

        def ask() -> list[int]:
            try:
                return self._log(where, "HEAD", str(number), "HEAD", most)
            except UnknownRef:
                return []  # it was deleted or moved away since, so that nothing follows it at this URL

        found = await self._pool.run(ask)
        return found if found[:1] == [number] else []

    def _log(self, where: Address, peg: str, begin: str, end: str | int, most: int) -> list[int]:
        """Return (blocking) the first changes, from one revision to another, of what stood at the URL at ``peg``.

        The log knows also the copy that brought a directory's parent to where it is. What ``svn info`` calls the last
        change may lie before it, and then there is nothing at the URL in that revision.
        """
        further = ["--quiet", "--with-no-revprops", "--stop-on-copy", f"--limit={most}", f"--revision={begin}:{end}"]
        return revisions(self._logged(where, peg, further))

    def _logged(self, where: Address, peg: str, further: Sequence[str]) -> bytes:
        """Return (blocking) what ``svn log`` says of what stood at the URL at ``peg``, in XML."""
        try:
            answer = self._command.run(
                ["log", "--xml", *further, where.at(peg)], cwd=_NOWHERE, login=where, limit=LOG_LIMIT
            )
        except TimedOut as error:
            raise RepositoryUnreachable(f"cannot read {mask(where.url)}: {error}") from error
        if answer.code:
            raise failure(where, answer, f"revision {peg}")
        return answer.out
