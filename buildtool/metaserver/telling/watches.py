"""Watches of branches: new commits are asked for, and each new binary of one is told, whoever had it built.

A watch asks first and remembers afterwards, as triggers do, by ids that are made again after a restart. What it tells
is written together with what it remembers, under a key of watch and commit, so that each binary is told once.

The test is tests/metaserver/telling/test_watches.py.
"""

from __future__ import annotations

from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from buildtool.errors import LimitReached, Overloaded, Unauthorised, UnknownRef, UsageError
from buildtool.metaserver.access.askers import addressed, check_may_ask
from buildtool.metaserver.demands import Resolved, ref_and_range, source_url
from buildtool.metaserver.telling.watch_book import WatchBook
from buildtool.model.access.rights import Act, Extent, Subject
from buildtool.model.addresses import valid_address
from buildtool.model.principal import Principal
from buildtool.model.records import Demand
from buildtool.model.telling.watch import EACH, BranchWatch, read_digest
from buildtool.model.triggers.trigger import BRANCHES, TAGS
from buildtool.ports.metaserver import Handlers
from buildtool.ports.telling import WatchStore
from buildtool.ports.triggers import RefReader
from buildtool.project.zones import zone_named
from buildtool.protocol.codec import text_of
from buildtool.protocol.messages import Submit
from buildtool.protocol.operator import ActionResult
from buildtool.protocol.projects.watches import LISTED, AskWatches, EndWatch, WatchBranch, WatchesFound, WatchStatus
from buildtool.scheduling.allowances import STANDING_AGAIN

__all__ = ["WatchService"]

log = Logger()

MOST = 10_000
"""Most watches of a farm."""


@define(eq=False)
class WatchService:
    """A service for who wants to be told of branches. Every method raises BuildToolError for what cannot be done."""

    book: WatchBook
    refs: RefReader
    store: WatchStore
    _adding: DeferredLock = field(factory=DeferredLock, init=False)

    @property
    def handlers(self) -> Handlers:
        """What may be asked."""
        return {WatchBranch: self.watch, AskWatches: self.told, EndWatch: self.end}

    async def watch(self, by: Principal, message: WatchBranch) -> WatchStatus:
        """Start a watch of a branch; the same again is the same watch. Raises what asking for a build raises."""
        (wish,) = addressed(by, (message.wish,))
        if wish.revrange or wish.force:
            raise UsageError("a watch is of a branch, and tells what is new: leave --revrange and --force out")
        project, email = self.book.requests.permissions.project(by, wish.project), valid_address(wish.email)
        digest, admittance = read_digest(message.digest, zone_named), self.book.requests.admittance
        admittance.submission(by, email, 1)
        url = source_url(project, wish.source)
        wish = evolve(wish, client_id="", email="", revision=await self._branch(url, wish), supersede=message.asks)
        demand = await self.book.demands.read(project, url, wish, Resolved())
        check_may_ask(self.book.requests.permissions, by, demand, email, force=False)
        made = BranchWatch(
            0, email, project.name, wish.source, wish.revision, text_of(wish).decode(), self.book.now(), message.asks,
            digest, by.name, by.key, by.owner, by.address, by.trusted, demand.spec.revision,
        )  # fmt: skip
        await self._adding.acquire()
        try:
            kept = await self._added(made, demand, by)
        finally:
            self._adding.release()
        return self.book.status(kept, by, own=True)

    async def _added(self, made: BranchWatch, demand: Demand, by: Principal) -> BranchWatch:
        """Keep a new watch, unless the same is there; one at a time, so that all of them keep to the limits."""
        email, admittance = made.email, self.book.requests.admittance
        same = next((one for one in self.book.watches.values() if _is_same(one, made)), None)
        if same is not None:
            return same
        if sum(one.email == email for one in self.book.watches.values()) >= EACH:
            raise LimitReached(f"{email} has {EACH} watches, which is the limit: end one with unwatch", STANDING_AGAIN)
        if len(self.book.watches) >= MOST:
            raise Overloaded(f"there are {MOST} watches, more are not taken")
        await admittance.must_wait(by, email, 1)
        awaited = () if await self.book.hit(demand, email) else (made.tip,)
        made = await self.store.add(evolve(made, id=max(self.book.watches, default=0) + 1, awaited=awaited))
        await self.book.subscriptions.forget(email, made.topic)
        self.book.take(made)
        log.info("{email} watches {ref} of {project}", email=email, ref=made.ref, project=made.project)
        return made

    async def told(self, by: Principal, message: AskWatches) -> WatchesFound:
        """Return the watches of a caller, or all where they may see them. Raises Unauthorised."""
        every = (
            by.trusted or self.book.requests.permissions.settings.rights.most(by.role, Act.SEE_REQUEST) is Extent.ALL
        )
        if not (every or by.owner):
            raise Unauthorised("no key says who you are, so nobody knows which watches are yours")
        seen = [
            one for one in self.book.watches.values() if (every or one.email == by.owner) and one.id > message.after
        ]
        return WatchesFound(tuple(self.book.status(one, by) for one in seen[:LISTED]), len(seen) > LISTED)

    async def end(self, by: Principal, message: EndWatch) -> ActionResult:
        """End a watch, and what it asked for that waits. Raises Unauthorised, StorageUnavailable."""
        watch, rights = self.book.watches.get(message.watch), self.book.requests.permissions.settings.rights
        subject = Subject(frozenset({watch.email} if watch else ()), watch.project if watch else "")
        if watch is None or not (by.trusted or rights.allows(by, Act.CANCEL, subject)):
            raise Unauthorised(f"watch {message.watch} is not yours, or there is none: watches shows yours")
        await self.store.end(watch.id)
        self.book.drop(watch)
        await self.book.withdraw(watch)
        return ActionResult((f"watch {watch.id} has ended: {watch.ref} of {watch.project} is told no more",), count=1)

    async def _branch(self, url: str, wish: Submit) -> str:
        """Return the full name of the branch of a wish. Raises UnknownRef, RepositoryUnreachable, UsageError."""
        ref, tips = ref_and_range(wish)[0], await self.refs.tips(url)
        for name in (ref, f"{BRANCHES}{ref}"):
            if name in tips and not name.startswith(TAGS):
                return name
        if f"{TAGS}{ref}" in tips or ref in tips:
            raise UsageError(f"{ref} is a tag, which stays where it is: ask for it once")
        raise UnknownRef(f"{ref!r} is no branch: a watch is of a branch")


def _is_same(one: BranchWatch, other: BranchWatch) -> bool:
    return (one.email, one.project, one.source, one.ref, one.wish) == (
        other.email, other.project, other.source, other.ref, other.wish,
    )  # fmt: skip
