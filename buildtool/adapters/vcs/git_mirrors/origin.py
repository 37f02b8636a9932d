"""What is asked of the origins of mirrors, and what is written into the mirrors: shared, by turns, one act at a time.

One listing answers all refs that waited when it began, and one fetch all who want what is new. What neither brings is
asked for by its id. Whoever writes in a mirror holds its lock, and sees to it first that it is sound.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from buildtool.adapters.runtime.fair_pool import worked_for
from buildtool.adapters.vcs.git.command import NOWHERE, GitCommand, explain, unreachable
from buildtool.adapters.vcs.git.ids import Unreadable
from buildtool.adapters.vcs.git_mirrors.lines import FirstParentLines
from buildtool.adapters.vcs.git_mirrors.listing import TIPS, Listing, RefListing, tips_of
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror, MirrorKeeper, remember
from buildtool.adapters.vcs.git_mirrors.wanted import WantedIds
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.concurrency.single_flight import Batches, SingleFlight
from buildtool.errors import MachineFault, RepositoryUnreachable
from buildtool.ports.common import Executor

LIST_LIMIT = 120.0
"""Seconds that a repository has to tell what its refs are."""

FETCH_LIMIT = 1800.0
"""Seconds that a fetch may take; one that stalls ends earlier."""

ABSENT_FOR = 60.0
"""Seconds for which an origin that has not changed is not asked again for an id that it did not give out."""

ABSENT_LIMIT = 10_000
"""How many ids are remembered per program as not being given out."""

PACKED_EVERY = 200
"""After so many new pins all refs are put into one file."""

NAMED = 100
"""Most refs that an origin is asked for by name at once; for more it tells all."""

EVERYTHING = ""
"""Among the names that an origin is asked for: all that it has."""

T = TypeVar("T")

_TIPS_READ = 50_000
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


@frozen
class Fetched:
    """The ids that a fetch brought or confirmed, as far as they are worth reading, and which of them are branches'."""

    ids: frozenset[str]
    branches: frozenset[str]


class Origins:
    """The origins of mirrors. Call it in the reactor's thread; git runs in the threads of ``pool``."""

    def __init__(self, command: GitCommand, keeper: MirrorKeeper, lines: FirstParentLines, pool: Executor) -> None:
        """``lines`` is told when something was fetched."""
        self.command = command
        self.keeper = keeper
        self._lines = lines
        self._pool = pool
        self._listings: Batches[str, Listing] = Batches()
        self._fetches: SingleFlight[Fetched] = SingleFlight()
        self._refreshes: SingleFlight[Listing] = SingleFlight()
        self._looks: SingleFlight[Mapping[str, str]] = SingleFlight()
        self._wanted: dict[str, WantedIds] = {}
        self._absent: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    async def ask_for(self, mirror: Mirror, object_id: str, listing: Listing | None = None) -> bool:
        """Ask the origin for an object by its id alone; False where it does not give it out.

        ``listing`` is what the origin had, with which what it did not give out is remembered.
        """
        key, now = (mirror.url, object_id), time.monotonic()
        absent = self._absent.get(key)
        if absent is not None and listing is not None and absent[0] == listing.state and now < absent[1] + ABSENT_FOR:
            return False
        wanted = self._wanted.get(mirror.url)
        if wanted is None:
            wanted = self._wanted[mirror.url] = WantedIds(lambda ids: self._fetch_ids(mirror, ids))
        if await wanted.get(object_id):
            self._absent.pop(key, None)
            return True
        if listing is not None:
            keep_newest(self._absent, key, (listing.state, now), ABSENT_LIMIT)
        return False

    async def list_refs(self, mirror: Mirror, names: Sequence[str]) -> Listing:
        """Return what the origin has under these full names (or EVERYTHING), each with the id it points at."""

        async def ask(all_names: frozenset[str]) -> Listing:
            some = EVERYTHING not in all_names and len(all_names) <= NAMED
            wanted = sorted({"HEAD", *(name for one in all_names if one for name in (one, f"{one}^{{}}"))})
            reader = RefListing(frozenset(wanted))
            arguments = ("ls-remote", "--quiet", "--end-of-options", "origin", *(wanted if some else ()))
            await self._pool.run(lambda: self.network(mirror, arguments, NOWHERE, LIST_LIMIT, reader.line))
            return reader.listing()

        return await self._listings.ask(mirror.url, names, ask)

    async def tips(self, mirror: Mirror) -> Mapping[str, str]:
        """Return the commits of HEAD, all branches and all tags that the origin has now, by full names."""

        async def ask() -> Mapping[str, str]:
            reader = RefListing(TIPS)
            arguments = ("ls-remote", "--quiet", "--end-of-options", "origin", "HEAD", "refs/heads/*", "refs/tags/*")
            await self._pool.run(lambda: self.network(mirror, arguments, NOWHERE, LIST_LIMIT, reader.line))
            return tips_of(reader.listing())

        return await self._looks.share(mirror.url, ask)

    async def refresh(self, mirror: Mirror) -> Listing:
        """Fetch what the origin has, unless the mirror has it, and return what it has; shared by all who ask."""

        async def refresh() -> Listing:
            await self.locked(mirror, lambda: None)
            listing = await self.list_refs(mirror, (EVERYTHING,))
            if listing.digits and await self.locked(mirror, lambda: self._tips(mirror)) != listing.tips:
                await self.fetch(mirror, listing.digits)
            return listing

        return await self._refreshes.share(mirror.url, refresh)

    def _tips(self, mirror: Mirror) -> str:
        """Return (blocking) what a listing of the mirror's branches and tags would say; "" where there is no mirror."""
        if not mirror.path.exists():
            return ""
        reader = RefListing()
        arguments = ("for-each-ref", "--format=%(objectname)%09%(refname)", "refs/heads", "refs/tags")
        answer = self.command.run(arguments, git_dir=mirror.path, on_line=reader.line)
        return "" if answer.code else reader.listing().tips

    async def fetch(self, mirror: Mirror, digits: int) -> Fetched:
        """Fetch all branches and tags and return the ids they point at; a run that began after now is shared."""

        def fetch() -> Fetched:
            answer = self.fetching(mirror, digits, _REFS, all_of_it=True)
            if answer.code:
                raise unreachable(mirror.url, answer)
            self._lines.moved(mirror)
            return _fetched(mirror.path)

        return await self._fetches.share(mirror.url, lambda: self.locked(mirror, fetch))

    async def _fetch_ids(self, mirror: Mirror, ids: Sequence[str]) -> bool:
        """Fetch objects by their ids and keep them under refs; False if the origin does not give all of them out."""
        specs = tuple(f"+{one}:refs/fetched/{one}" for one in ids)
        answer = await self.locked(mirror, lambda: self.fetching(mirror, len(ids[0]), specs))
        if answer.code:
            await self.list_refs(mirror, ())  # or it does not answer at all
        return answer.code == 0

    def fetching(
        self, mirror: Mirror, digits: int, specs: Sequence[str], *, all_of_it: bool = False, url: str = ""
    ) -> ProcessOutput:
        """Fetch ``specs`` (blocking), from ``url`` if there is one. Raises RepositoryUnreachable.

        Of ``all_of_it`` what fails in a mirror that turns out to be damaged is done once more. An id that the origin
        does not have is no reason to read a whole mirror.
        """
        self.keeper.make(mirror, digits)
        before = _packed(mirror)
        usual = ("fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules", "--update-shallow")
        while True:
            # What an origin that is shallow itself has, the mirror has; once there is more, it has more.
            deeper = ("--unshallow",) if _is_shallow(mirror.path) else ()
            words = (*usual, *deeper, *(("--prune",) if all_of_it else ()), "origin", *specs)
            try:
                answer = self.command.run(words, git_dir=mirror.path, url=url or mirror.url, limit=FETCH_LIMIT)
            except TimedOut as error:
                raise RepositoryUnreachable(f"cannot read {mask(mirror.url)}: {error}") from error
            suspect = answer.code != 0 and all_of_it and self._answers(mirror)
            if not suspect or not self.keeper.see_to(mirror, thorough=True):
                self._repay(mirror)
                if not url:
                    _count_received(_packed(mirror) - before)
                return answer

    def _answers(self, mirror: Mirror) -> bool:
        """Return (blocking) whether the origin answers at all: one that does not says nothing about the mirror."""
        arguments = ("ls-remote", "--quiet", "--end-of-options", "origin", "HEAD")
        try:
            return self.command.run(arguments, git_dir=NOWHERE, url=mirror.url, limit=LIST_LIMIT).code == 0
        except TimedOut:
            return False

    def network(
        self,
        mirror: Mirror,
        arguments: tuple[str, ...],
        git_dir: Path,
        limit: float,
        on_line: Callable[[bytes], None] | None = None,
    ) -> ProcessOutput:
        """Run (blocking) what talks to the origin, for ``limit`` seconds at most. Raises RepositoryUnreachable."""
        try:
            answer = self.command.run(arguments, git_dir=git_dir, url=mirror.url, limit=limit, on_line=on_line)
        except TimedOut as error:
            raise RepositoryUnreachable(f"cannot read {mask(mirror.url)}: {error}") from error
        if answer.code:
            raise unreachable(mirror.url, answer)
        return answer

    async def locked(self, mirror: Mirror, act: Callable[[], T]) -> T:
        """Run in a thread, alone in the mirror and after it was checked, what writes in it."""

        def run() -> T:
            self.keeper.see_to(mirror)
            try:
                return act()
            finally:
                if mirror.path.exists():
                    self.keeper.left(mirror)

        return await mirror.lock.run(self._pool.run, run)

    async def read(self, mirror: Mirror, act: Callable[[], Awaitable[T]]) -> T:
        """Run what reads in the mirror; where that fails, check the mirror and run it again. Raises MachineFault."""
        try:
            return await act()
        except Unreadable:
            await self.locked(mirror, lambda: self.keeper.see_to(mirror, thorough=True))
            with suppress(RepositoryUnreachable):  # what could be saved of it may do
                await self.refresh(mirror)
        try:
            return await act()
        except Unreadable as error:
            raise MachineFault(f"the mirror {mirror.path} of {mask(mirror.url)} is unusable: {error}") from error

    def pin(self, mirror: Mirror, commit: str) -> str:
        """Pin a commit (blocking) and return what kept that from being done, "" if nothing did."""
        if commit in mirror.pinned:
            return ""
        arguments = ("update-ref", f"refs/pins/{commit}", commit)
        if not mirror.path.exists() or len(commit) != mirror.digits:
            return "it is not there"
        answer = self.command.run(arguments, git_dir=mirror.path)
        if answer.code:
            return explain(answer)
        remember(mirror.pinned, commit)
        if len(mirror.pinned) % PACKED_EVERY == 0:
            # Each new one is a file of its own, and all files are looked at whenever the mirror is used.
            self.command.run(("pack-refs", "--all"), git_dir=mirror.path)
        return ""

    def _repay(self, mirror: Mirror) -> None:
        """Pin again (blocking) what was pinned in a mirror that had to be made anew, as far as it is there by now."""
        if not mirror.owed:
            return
        try:
            there = self.keeper.objects(mirror).kinds(sorted(mirror.owed))
        except Unreadable:
            return
        for one in there:
            if not self.pin(mirror, one):
                mirror.owed.discard(one)


def _is_shallow(path: Path) -> bool:
    """Return whether the history of a mirror is cut off somewhere; git refuses to lengthen one that is not."""
    try:
        return (path / "shallow").stat().st_size > 0
    except OSError:
        return False


def _fetched(path: Path) -> Fetched:
    """Return what the last fetch brought or confirmed."""
    ids, branches = set(), set()
    with (path / "FETCH_HEAD").open("rb") as lines:
        for _, line in zip(range(_TIPS_READ), lines, strict=False):
            one, _, rest = line.decode("ascii", "replace").partition("\t")
            ids.add(one)
            if rest.partition("\t")[2].startswith("branch '"):
                branches.add(one)
    return Fetched(frozenset(ids), frozenset(branches))


def _packed(mirror: Mirror) -> int:
    """Return (blocking) how many bytes the packs of a mirror have: whatever is fetched stays one (``unpackLimit``)."""
    try:
        with os.scandir(mirror.path / "objects" / "pack") as entries:
            return sum(entry.stat().st_size for entry in entries if entry.name.endswith(".pack"))
    except FileNotFoundError:
        return 0


def _count_received(size: int) -> None:
    """Add what was fetched to what this thread's asker has received, where that is counted."""
    one = worked_for()
    if one is not None and one.received is not None and size > 0:
        one.received.add(size)
