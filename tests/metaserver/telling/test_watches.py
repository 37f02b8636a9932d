"""Watches over a real service for requests: each new binary of a branch is told once, whatever happens meanwhile."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import settings as bounds
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred

from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import LimitReached, RepositoryUnreachable, Unauthorised, UnknownRef, UsageError
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.metaserver.telling.watch_book import WatchBook
from buildtool.metaserver.telling.watch_looks import WatchLooks
from buildtool.metaserver.telling.watches import WatchService
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Artifact, Demand, Request
from buildtool.model.telling.topics import Unsubscription
from buildtool.model.telling.watch import EACH, BranchWatch
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.protocol.messages import Submit
from buildtool.protocol.news import EventNotes
from buildtool.protocol.pages.subscriptions import EndSubscription
from buildtool.protocol.projects.watches import AskWatches, EndWatch, WatchBranch, WatchStatus
from tests.metaserver.test_requests import Resolver, World
from tests.support.inline import run
from tests.support.lanes import examples
from tests.support.outbox import artifact
from tests.support.telling import MemorySubscriptions, MemoryWatches

MAIN = "refs/heads/main"
ANN = Principal(PrincipalRole.REQUESTER, "ann", owner="ann@example.org")
BEN = Principal(PrincipalRole.REQUESTER, "ben", owner="ben@example.org")
OLGA = Principal(PrincipalRole.OPERATOR, "olga", trusted=True)


@define
class Repository(Resolver):
    """A repository whose branch ``main`` tests move: a version control of the metaserver's, and a ``RefReader``."""

    line: list[str] = field(factory=lambda: ["0" * 40])
    away: bool = False

    async def tips(self, url: str) -> Mapping[str, str]:
        if self.away:
            raise RepositoryUnreachable("it does not answer")
        return {MAIN: self.line[-1], "refs/tags/v1": self.line[0]}

    async def resolve(self, url: str, ref: str) -> str:
        return self.line[-1] if ref == MAIN else ref

    async def acceptable(self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF) -> tuple[str, ...]:
        first, _, last = revrange.partition("..")
        if not last:
            return (commit,)
        if first not in self.line:
            raise UnknownRef("it is not on the line")
        return tuple(reversed(self.line[self.line.index(first) :]))


@define(eq=False)
class Built(WatchBook):
    """A book to which a test says of which commits there is a binary."""

    commits: set[str] = field(factory=set)

    async def hit(self, demand: Demand, email: str) -> Artifact | None:
        revision = demand.spec.revision
        made = artifact()
        return evolve(made, shelf=demand.spec.shelf, build_id=12) if revision in self.commits else None


@define(eq=False)
class Farm:
    """A farm with watches, which a test may restart."""

    repository: Repository = field(factory=Repository)
    store: MemoryWatches = field(factory=MemoryWatches)
    ended: MemorySubscriptions = field(factory=MemorySubscriptions)
    commits: set[str] = field(factory=set)
    world: World = field(init=False)
    service: WatchService = field(init=False)
    looks: WatchLooks = field(init=False)
    nudged: int = 0

    def __attrs_post_init__(self) -> None:
        self.world = World(resolver=self.repository)
        self.world.service.open_limit = 10_000
        self.begin()

    def nudge(self, targets: Collection[str] = ()) -> None:
        self.nudged += 1

    def begin(self) -> None:
        """Begin as a metaserver does that knows only what was written."""
        requests = self.world.service
        subscriptions = Subscriptions(self.ended, requests.broker.clock, b"secret")
        run(subscriptions.start())
        book = Built(requests, subscriptions, b"secret", commits=self.commits)
        self.looks = WatchLooks(book, self.repository, self.store, self, "life")
        run(self.looks.start())
        self.service = WatchService(book, self.repository, self.store)

    def watch(self, by: Principal = ANN, ref: str = "main", **more: Any) -> int:
        wish = Submit("", "paint", "", "", ref, "", {}, {}, {})
        return run(self.service.watch(by, WatchBranch(wish, **more))).watch

    def round(self) -> None:
        """Have everything looked at anew."""
        self.looks.heard(EventNotes(0, 1, (), whole=False))
        run(self.looks.round_(PeriodicTask("looks", self.world.service.broker.timers, self.looks.round_)))

    def told(self, watch: int = 1) -> list[str]:
        return [key.rpartition(":")[2] for key in self.store.mails if f":watch:{watch}:" in key]


def test_what_came_is_asked_for_in_the_name_of_the_watch_and_told_once_it_is_there() -> None:
    farm = Farm()
    farm.watch()
    farm.round()
    assert farm.world.store.all(Request) == [], "what was there before is not asked for"
    farm.repository.line += ["1" * 40, "2" * 40]
    farm.round()
    farm.round()
    (asked,) = farm.world.store.all(Request)
    assert (asked.email, asked.share, asked.demand.spec.revision) == ("", "watch:ann@example.org", "2" * 40)
    farm.commits.update({"1" * 40, "2" * 40})
    farm.round()
    assert farm.told() == ["1" * 40, "2" * 40], "whoever had the other one built"
    assert farm.nudged == 2
    (mail, due), _ = farm.store.mails.values()
    assert (mail.email, mail.about, mail.build_id, due) == ("ann@example.org", f"watch:1 {MAIN}", 12, None)


def test_who_only_wants_to_be_told_asks_for_nothing_and_what_was_there_before_is_not_told() -> None:
    farm = Farm(commits={"0" * 40})
    farm.watch(asks=False, digest="daily")
    farm.repository.line.append("1" * 40)
    farm.commits.add("1" * 40)
    farm.round()
    assert farm.world.store.all(Request) == []
    assert farm.told() == ["1" * 40]
    ((_, due),) = farm.store.mails.values()
    assert due is not None
    assert due % 86_400 == 7 * 3_600


def test_a_watch_is_one_of_its_owner_who_sees_and_ends_it_as_the_operator_may() -> None:
    farm = Farm()
    assert farm.watch() == farm.watch() == 1
    assert farm.watch(BEN) == 2
    assert [one.email for one in run(farm.service.told(ANN, AskWatches())).found] == ["ann@example.org"]
    assert len(run(farm.service.told(OLGA, AskWatches())).found) == 2
    assert [one.watch for one in run(farm.service.told(OLGA, AskWatches(1))).found] == [2]
    with pytest.raises(Unauthorised, match="no key says"):
        run(farm.service.told(Principal(PrincipalRole.REQUESTER), AskWatches()))
    for number in (2, 77):
        with pytest.raises(Unauthorised, match="not yours, or there is none"):
            run(farm.service.end(ANN, EndWatch(number)))
    farm.repository.line.append("1" * 40)
    farm.round()
    run(farm.service.end(ANN, EndWatch(1)))
    run(farm.service.end(OLGA, EndWatch(2)))
    farm.commits.add("1" * 40)
    farm.begin()
    farm.round()
    assert farm.store.mails == {}
    assert not farm.world.service.broker.state.requests, "what a watch asked for ends with it"


def test_what_is_no_branch_and_what_is_too_much_is_refused() -> None:
    farm = Farm()
    with pytest.raises(UnknownRef, match="no branch"):
        farm.watch(ref="mian")
    with pytest.raises(UsageError, match="v1 is a tag"):
        farm.watch(ref="v1")
    with pytest.raises(UsageError, match="--digest"):
        farm.watch(digest="hourly")
    with pytest.raises(UsageError, match="--revrange"):
        run(farm.service.watch(ANN, WatchBranch(Submit("", "paint", "", "", "main", "2", {}, {}, {}))))
    farm.watch()
    book = farm.service.book
    book.watches.update({number: evolve(book.watches[1], id=number, wish="") for number in range(2, EACH + 1)})
    with pytest.raises(LimitReached, match=f"has {EACH} watches"):
        farm.watch(asks=False)


def test_what_is_in_the_way_is_said_and_made_up_for() -> None:
    farm = Farm()
    farm.watch()
    farm.repository.line.append("1" * 40)
    farm.repository.away = True
    farm.round()
    (shown,) = run(farm.service.told(ANN, AskWatches())).found
    assert shown.said == "it does not answer"
    farm.repository.away, farm.store.full = False, True
    farm.round()
    assert run(farm.service.told(ANN, AskWatches())).found[0].said == "the disk is full"
    farm.store.full = False
    farm.begin()
    farm.round()
    assert len(farm.world.store.all(Request)) == 1, "it is asked for by the same id again"
    assert run(farm.service.told(ANN, AskWatches())).found[0].said == ""


class AnyOrder(RuleBasedStateMachine):
    """Pushes, rewritten branches, builds by anybody, links that are followed, restarts, and a disk that is full."""

    def __init__(self) -> None:
        super().__init__()
        self.farm = Farm()
        self.farm.watch()
        self.seen = {self.farm.repository.line[-1]}
        self.pushed = 0

    @rule(count=st.integers(1, 3))
    def push(self, count: int) -> None:
        for _ in range(count):
            self.pushed += 1
            self.farm.repository.line.append(f"{self.pushed:040x}")

    @rule(keep=st.integers(1, 3))
    def rewrite(self, keep: int) -> None:
        del self.farm.repository.line[keep:]

    @rule(number=st.integers(0, 12))
    def build(self, number: int) -> None:
        line = self.farm.repository.line
        self.farm.commits.add(line[max(len(line) - 1 - number // 3, 0)] if number % 3 else f"{number:040x}")

    @rule()
    def restart(self) -> None:
        self.farm.begin()

    @rule(full=st.booleans())
    def look(self, full: bool) -> None:
        self.farm.store.full = full
        self.farm.round()
        if not full:
            self.seen.update(self.farm.repository.line)
            line = self.farm.repository.line
            assert line[-1] not in self.farm.commits or line[-1] in self.farm.told()

    @invariant()
    def each_is_told_once_and_only_what_was_on_the_branch(self) -> None:
        told = self.farm.told()
        assert len(told) == len(set(told))
        assert set(told) <= self.farm.commits & (self.seen | set(self.farm.repository.line))


AnyOrder.TestCase.settings = bounds(max_examples=examples(15, 200), stateful_step_count=15, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_who_follows_the_link_of_a_mail_is_told_nothing_more_until_they_want_it_again() -> None:
    farm = Farm()
    farm.watch()
    subscriptions = farm.service.book.subscriptions
    token = Unsubscription("ann@example.org", ("watch:1",)).token(b"secret")
    run(subscriptions.change(ANN, EndSubscription(token)))
    farm.repository.line.append("1" * 40)
    farm.commits.add("1" * 40)
    farm.round()
    assert (farm.told(), farm.world.store.all(Request)) == ([], [])
    run(subscriptions.change(ANN, EndSubscription(token, again=True)))
    farm.round()
    assert farm.told() == ["1" * 40]


def test_watches_that_are_asked_for_side_by_side_are_no_more_than_their_limit() -> None:
    farm, held = Farm(), Deferred[None]()

    class Slow(MemoryWatches):
        async def add(self, watch: BranchWatch) -> BranchWatch:
            await held
            return await super().add(watch)

    farm.watch()
    farm.service.store = Slow(farm.store.kept)
    book = farm.service.book
    book.watches.update({number: evolve(book.watches[1], id=number, wish="") for number in range(2, EACH - 1)})
    wishes = [Submit("", "paint", "", "", "main", "", {}, {}, {}, nice=number) for number in (1, 2, 3, 4)]
    asked = [Deferred.fromCoroutine(farm.service.watch(ANN, WatchBranch(one))) for one in (*wishes, wishes[0])]
    held.callback(None)
    ends = [run(_end(one)) for one in asked]
    assert len(book.watches) == EACH
    assert [type(one) for one in ends] == [WatchStatus, WatchStatus, LimitReached, LimitReached, WatchStatus]
    assert ends[-1] == ends[0], "the same again is the same watch"


async def _end(asked: Deferred[WatchStatus]) -> WatchStatus | Exception:
    try:
        return await asked
    except LimitReached as error:
        return error
