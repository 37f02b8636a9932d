"""Work that peers cause: askers take turns, share what is the same, and what nobody waits for any more ends."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.runtime.fair_pool import FairPool, worked_for
from buildtool.adapters.vcs.git_mirrors.wanted import WantedIds
from buildtool.concurrency.asker import Asker, asker, working_for
from buildtool.concurrency.fair_queue import FairQueue
from buildtool.concurrency.single_flight import Batches, SingleFlight
from buildtool.errors import RepositoryUnreachable, Unavailable

T = TypeVar("T")


def asked(one: Asker, act: Callable[[], Awaitable[T]]) -> "Deferred[T]":
    """What ``act`` does for ``one``."""

    async def run() -> T:
        return await act()

    with working_for(one):
        return Deferred.fromCoroutine(run())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_whoever_waits_is_served_after_at_most_one_of_each_other_connection(waiting: list[tuple[int, int]]) -> None:
    turns: FairQueue[tuple[int, int, int]] = FairQueue()
    for number, (address, connection) in enumerate(waiting):
        turns.put(Asker(str(address), connection), [(address, connection, number)])
    order = []
    while items := turns.take():
        first, *rest = items
        turns.put(Asker(str(first[0]), first[1]), rest)
        order.append(first)
    assert sorted(one[2] for one in order) == list(range(len(waiting)))
    assert not turns
    for address in {one[0] for one in order}:
        served = [place for place, one in enumerate(order) if one[0] == address]
        others = len({one[0] for one in order}) - 1
        assert all(after - before <= others + 1 for before, after in pairwise(served))
    for key in {one[:2] for one in order}:
        mine = [one[2] for one in order if one[:2] == key]
        assert mine == sorted(mine)


class RoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rounds: SingleFlight[int] = SingleFlight()
        self.runs: list[tuple[Asker, Deferred[int]]] = []

    def act(self) -> "Deferred[int]":
        self.runs.append((asker(), Deferred()))
        return self.runs[-1][1]

    def test_who_asked_first_is_told_first(self) -> None:
        """Wherever each is in memory: else a simulated world goes another way in each process."""
        told = list[int]()
        asked(Asker("a", 0), lambda: self.rounds.share("k", self.act))
        for number in range(20):
            waiting = asked(Asker("a", number), lambda: self.rounds.share("k", self.act))
            waiting.addCallback(partial(lambda number, _made: told.append(number), number))
        for _, run in self.runs:  # the second begins as the first ends
            run.callback(1)
        self.assertEqual(told, list(range(20)))

    def test_a_run_goes_on_while_anybody_waits_for_it_and_ends_with_the_last(self) -> None:
        one, two = Asker("a", 1), Asker("b", 2)
        first = asked(one, lambda: self.rounds.share("k", self.act))
        second, third = (asked(who, lambda: self.rounds.share("k", self.act)) for who in (one, two))
        self.runs[0][1].callback(0)
        self.assertEqual(self.successResultOf(first), 0)
        crowd = self.runs[1][0]
        one.leave()
        self.failureResultOf(second, Unavailable)
        self.assertFalse(crowd.gone)
        two.leave()
        self.failureResultOf(third, Unavailable)
        self.assertTrue(crowd.gone)
        self.runs[1][1].errback(Unavailable("ended"))
        fresh = asked(Asker("c"), lambda: self.rounds.share("k", self.act))
        self.runs[2][1].callback(7)
        self.assertEqual(self.successResultOf(fresh), 7)

    def test_a_run_is_that_of_who_first_waits_for_it_and_not_of_who_waited_for_an_earlier_one(self) -> None:
        """What it needs may be theirs alone, such as a ticket."""
        told: list[Deferred[str]] = []

        def act(name: str) -> "Deferred[str]":
            told.append(Deferred())
            return told[-1].addCallback(lambda said: f"{said} of {name}")

        rounds: SingleFlight[str] = SingleFlight()
        one, two, three = (
            asked(Asker(who), partial(rounds.share, "k", partial(act, who))) for who in ("a", "b", "c")
        )  # fmt: skip
        told[0].callback("first")
        told[1].callback("second")
        self.assertEqual(self.successResultOf(one), "first of a")
        self.assertEqual([self.successResultOf(each) for each in (two, three)], ["second of b"] * 2)

    def test_a_run_for_which_nobody_waits_does_not_begin(self) -> None:
        one, two = Asker("a"), Asker("b")
        asked(one, lambda: self.rounds.share("k", self.act))
        second = asked(two, lambda: self.rounds.share("k", self.act))
        two.leave()
        self.failureResultOf(second, Unavailable)
        self.runs[0][1].callback(0)
        self.assertEqual(len(self.runs), 1)

    def test_who_has_left_asks_nothing(self) -> None:
        one = Asker("a")
        one.leave()
        self.failureResultOf(asked(one, lambda: self.rounds.share("k", self.act)), Unavailable)
        self.assertEqual(self.runs, [])


class BatchesTests(SynchronousTestCase):
    def test_a_run_is_about_all_that_waited_and_not_about_what_was_dropped(self) -> None:
        batches: Batches[str, str] = Batches()
        about: list[frozenset[str]] = []
        runs: list[Deferred[str]] = []

        def act(items: frozenset[str]) -> "Deferred[str]":
            about.append(items)
            runs.append(Deferred())
            return runs[-1]

        one, gone = Asker("a"), Asker("b")
        first = asked(one, lambda: batches.ask("k", ["1"], act))
        others = [asked(one, partial(batches.ask, "k", [name], act)) for name in ("2", "3", "2")]
        dropped = asked(gone, lambda: batches.ask("k", ["4"], act))
        gone.leave()
        self.failureResultOf(dropped, Unavailable)
        runs[0].callback("x")
        self.assertEqual(about, [{"1"}, {"2", "3"}])
        runs[1].callback("y")
        self.assertEqual([self.successResultOf(each) for each in (first, *others)], ["x", "y", "y", "y"])


class WantedTests(SynchronousTestCase):
    """Ids that only the origin can tell."""

    def setUp(self) -> None:
        self.there: set[str] = set()
        self.fetched: list[tuple[str, ...]] = []
        self.runs: list[tuple[Asker, Deferred[bool]]] = []
        self.wanted = WantedIds(self.fetch)

    def fetch(self, ids: Sequence[str]) -> "Deferred[bool]":
        self.fetched.append(tuple(ids))
        self.runs.append((asker(), Deferred()))
        return self.runs[-1][1]

    def go_on(self) -> None:
        """Let fetches end until none runs, each as the origin would answer it."""
        while not (run := self.runs[-1][1]).called:
            run.callback(set(self.fetched[-1]) <= self.there)

    def test_what_is_there_is_found_whatever_is_wanted_beside_it(self) -> None:
        self.there = {"b", "d"}
        busy, other = Asker("x", 1), Asker("y", 2)
        mine = {one: asked(busy, partial(self.wanted.get, one)) for one in "abcdef"}
        theirs = asked(other, lambda: self.wanted.get("d"))
        self.go_on()
        self.assertEqual({one for one, told in mine.items() if self.successResultOf(told)}, {"b", "d"})
        self.assertTrue(self.successResultOf(theirs))

    def test_one_of_many_askers_waits_for_one_fetch_of_each(self) -> None:
        crowd = Asker("x", 1)
        for number in range(64):
            asked(crowd, partial(self.wanted.get, f"{number:02}"))
        honest = asked(Asker("y", 2), lambda: self.wanted.get("mine"))
        self.there = {"mine"}
        for _ in range(3):
            if not honest.called:
                self.runs[-1][1].callback(set(self.fetched[-1]) <= self.there)
        self.assertTrue(self.successResultOf(honest))

    def test_what_nobody_waits_for_is_not_fetched_and_a_fetch_for_nobody_ends(self) -> None:
        gone, here = Asker("x", 1), Asker("y", 2)
        dropped = [asked(gone, partial(self.wanted.get, one)) for one in "abcdef"]
        waiting = asked(here, lambda: self.wanted.get("z"))
        self.assertFalse(self.runs[0][0].gone)
        gone.leave()
        self.assertTrue(self.runs[0][0].gone)
        for one in dropped:
            self.failureResultOf(one, Unavailable)
        self.runs[0][1].errback(Unavailable("ended"))
        self.there = {"z"}
        self.go_on()
        self.assertTrue(self.successResultOf(waiting))
        self.assertEqual(self.fetched, [("a",), ("z",)])

    def test_an_origin_that_is_away_is_told_to_those_it_was_asked_for(self) -> None:
        first = asked(Asker("x", 1), lambda: self.wanted.get("a"))
        second = asked(Asker("y", 2), lambda: self.wanted.get("b"))
        self.runs[0][1].errback(RepositoryUnreachable("away"))
        self.failureResultOf(first, RepositoryUnreachable)
        self.runs[1][1].callback(True)
        self.assertTrue(self.successResultOf(second))


class HeldPool:
    """A pool whose functions end when the test says so."""

    def __init__(self) -> None:
        self.running: list[Deferred[object]] = []

    async def run(self, function: Callable[[], T]) -> T:
        waiting: Deferred[object] = Deferred()
        self.running.append(waiting)
        await waiting
        return function()

    def end(self) -> None:
        self.running.pop(0).callback(None)


class FairPoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.held = HeldPool()
        self.pool = FairPool(self.held, 3)
        self.said: list[str] = []

    def work(self, who: Asker, name: str) -> "Deferred[None]":
        def say() -> None:
            self.assertIs(worked_for(), who)
            self.said.append(name)

        return asked(who, lambda: self.pool.run(say))

    def test_one_address_never_has_all_places_and_turns_alternate(self) -> None:
        busy, other = Asker("x", 1), Asker("y", 2)
        for number in range(20):
            self.work(busy, f"busy {number}")
        self.assertEqual(len(self.held.running), 2)
        self.work(other, "other")
        self.assertEqual(len(self.held.running), 3)
        while self.held.running:
            self.held.end()
        self.assertEqual(self.said[:3], ["busy 0", "busy 1", "other"])
        self.assertEqual(len(self.said), 21)

    def test_what_waits_for_somebody_who_has_left_is_never_done(self) -> None:
        gone, here = Asker("x", 1), Asker("y", 2)
        dropped = [self.work(gone, f"gone {number}") for number in range(10)]
        gone.leave()
        for one in dropped[2:]:
            self.failureResultOf(one, Unavailable)
        kept = self.work(here, "here")
        while self.held.running:
            self.held.end()
        self.successResultOf(kept)
        self.assertEqual(sorted(self.said), ["gone 0", "gone 1", "here"])
        self.failureResultOf(self.work(gone, "later"), Unavailable)

    def test_whatever_waits_when_the_pool_stops_is_told_so(self) -> None:
        class Stopping:
            async def run(self, function: Callable[[], T]) -> T:
                await first
                raise Unavailable("the program stops")

        first: Deferred[None] = Deferred()
        pool = FairPool(Stopping(), 2)
        waiting = [asked(Asker("x", number % 7), partial(pool.run, lambda: None)) for number in range(3_000)]
        first.callback(None)
        for one in waiting:
            self.failureResultOf(one, Unavailable)
