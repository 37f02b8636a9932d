"""How watches look: at repositories for what came to their branches, and at what was built for what they tell.

Tested by tests/metaserver/telling/test_watches.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import UnknownRef, UsageError
from buildtool.metaserver.access.askers import check_may_ask
from buildtool.metaserver.demands import Resolved
from buildtool.metaserver.telling.watch_book import WatchBook, person_of
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.telling.watch import WATCH, BranchWatch, digest_time, followed, mail_of, told
from buildtool.ports.metaserver import Notifier
from buildtool.ports.telling import WatchStore
from buildtool.ports.triggers import RefReader
from buildtool.project.zones import zone_named
from buildtool.protocol.news import EventNotes

__all__ = ["WatchLooks"]

LOOK = 60.0
"""Seconds between two looks at a repository of which branches are watched."""

RETRY = Backoff(10, 3_600)
"""Of a repository that does not answer."""

UNCONFIRMED = 86_400.0
"""Seconds for which a watch waits until its address is confirmed."""

_BUILT = frozenset({"build-succeeded", "attempt-succeeded"})


def _at_leisure() -> None:
    """Leave the next look to its time."""


@define(eq=False)
class WatchLooks:
    """The looks of all watches of a book; ``life`` makes the keys of mails.

    Repositories are looked at side by side, each once at a time. ``hasten`` is called when something may have to be
    looked at.
    """

    book: WatchBook
    refs: RefReader
    store: WatchStore
    notifier: Notifier
    life: str
    hasten: Callable[[], None] = _at_leisure
    _next: dict[str, float] = field(factory=dict, init=False)
    _failures: dict[str, int] = field(factory=dict, init=False)
    _built: set[int] = field(factory=set, init=False)
    _looks: dict[str, Deferred[None]] = field(factory=dict, init=False)

    async def start(self) -> None:
        """Take up the watches; what was built meanwhile is looked for. Raises StorageUnavailable."""
        for one in await self.store.watches():
            self.book.take(one)
            self.book.unchecked[one.id].update(one.awaited)

    async def stop(self) -> None:
        """Return when no look is under way any more. What version control does has been ended before."""
        for one in tuple(self._looks.values()):
            await one

    def heard(self, batch: EventNotes) -> None:
        """Take what happened: whatever was built may be what a watch awaits."""
        ids = [int(note.subject.removeprefix("build/")) for note in batch.notes if note.kind in _BUILT]
        if not batch.whole:
            for one in self.book.watches.values():
                self.book.unchecked[one.id].update(one.awaited)
            self._next.clear()
        if self.book.watches and (ids or not batch.whole):
            self._built.update(ids)
            self.hasten()

    async def round_(self, _task: PeriodicTask) -> float:
        """Start the looks that are due; return after how many seconds the next are."""
        await self._drop_unconfirmed()
        await self._note_built()
        now = self.book.now()
        groups: dict[str, list[int]] = defaultdict(list)
        for one in self.book.watches.values():
            groups[self.book.url(one)].append(one.id)
        for url, ids in groups.items():
            if url not in self._looks and not now < self._next.get(url, 0.0) <= now + RETRY.most:
                self._begin(url, ids)
        return LOOK if not groups else max(1.0, min(LOOK, min(self._next.get(url, now) for url in groups) - now))

    def _begin(self, url: str, ids: Sequence[int]) -> None:
        self._next[url] = self.book.now() + LOOK
        look = Deferred.fromCoroutine(self._look(url, ids))
        if not look.called:
            self._looks[url] = look
            look.addCallback(lambda _none: self._looks.pop(url))

    async def _look(self, url: str, ids: Sequence[int]) -> None:
        tips: Mapping[str, str] | None = None
        why = ""
        try:
            tips = await self.refs.tips(url)
            self._failures.pop(url, None)
        except Exception as error:  # noqa: BLE001 - a defect is logged, and the look made again later
            why = self.book.why(error)
            failures = self._failures[url] = self._failures.get(url, 0) + 1
            self._next[url] = self.book.now() + RETRY.delay(failures - 1, 0.5)
        for number in ids:
            watch = self.book.watches.get(number)
            if watch is None or self.book.silence(watch):
                continue
            try:
                if tips is not None:
                    why = await self._follow(url, watch, tips)
                await self._check(url, number)
            except Exception as error:  # noqa: BLE001 - as above
                why = self.book.why(error)
            if number in self.book.watches:
                self.book.said[number] = why

    async def _follow(self, url: str, watch: BranchWatch, tips: Mapping[str, str]) -> str:
        """Follow a branch to where it is, and ask for that; return what is in the way. Raises BuildToolError."""
        if watch.ref not in tips:
            return f"{watch.ref} is gone: what comes there again is told"
        if tips[watch.ref] == watch.tip:
            return ""
        project, wish = self.book.wanted(watch)
        demand = await self.book.demands.read(project, url, wish, Resolved())
        check_may_ask(self.book.requests.permissions, person_of(watch), demand, watch.email, force=False)
        tip = demand.spec.revision
        moved = followed(watch, tip, await self._came(url, watch.tip, tip))
        if watch.asks:
            asker = Principal(PrincipalRole.TRIGGER, name=f"{WATCH}{watch.email}", trusted=True)
            await self.book.requests.submit(asker, evolve(wish, client_id=self.book.id_of(moved, wish)))
        if watch.id not in self.book.watches:
            await self.book.withdraw(moved)  # it was ended meanwhile
            return ""
        await self.store.keep(moved)
        self.book.unchecked[watch.id].update(set(moved.awaited) - set(watch.awaited))
        self.book.take(moved)
        return ""

    async def _came(self, url: str, before: str, tip: str) -> tuple[str, ...] | None:
        """Return the commits since ``before``, newest first; None where ``tip`` does not follow from there."""
        try:
            return (await self.book.requests.resolver.acceptable(url, tip, f"{before}..{tip}"))[:-1]
        except (UnknownRef, UsageError):
            return None

    async def _check(self, url: str, number: int) -> None:
        """Tell of each awaited commit of which there is a binary now, oldest first."""
        for commit in reversed(self.book.watches[number].awaited):
            if commit not in self.book.unchecked[number]:
                continue
            project, wish = self.book.wanted(self.book.watches[number])
            demand = await self.book.demands.read(project, url, evolve(wish, revision=commit), Resolved())
            found = await self.book.hit(demand, self.book.watches[number].email)
            watch = self.book.watches.get(number)
            if watch is None:
                return
            if found is not None:
                now, after = self.book.now(), told(watch, commit)
                mail = mail_of(watch, found, self.life, now)
                await self.store.tell(after, mail, digest_time(watch.digest, zone_named, now))
                self.book.take(after)
                self.notifier.nudge()
            self.book.unchecked[number].discard(commit)

    async def _note_built(self) -> None:
        """Find out for whom what was built may be of interest: that is looked for, and the repository looked at."""
        for number in tuple(self._built):
            build = await self.book.requests.broker.store.build(number)
            self._built.discard(number)
            for one in self.book.watches.values() if build is not None else ():
                if build is not None and (one.project, one.source) == (build.spec.project, build.spec.source):
                    self.book.unchecked[one.id].add(build.spec.revision)
                    self._next.pop(self.book.url(one), None)

    async def _drop_unconfirmed(self) -> None:
        before = self.book.now() - UNCONFIRMED
        for one in [each for each in self.book.watches.values() if each.made < before and not self.book.believed(each)]:
            await self.store.end(one.id)
            self.book.drop(one)
