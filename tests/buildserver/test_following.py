"""What follows a repository: looked at now and then, tried, and taken over once nothing builds; what is told of it."""

from datetime import UTC

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.buildserver.following import FAILURES, LONGEST_SLEEP, ConfigurationFollower
from buildtool.errors import BuildToolError, MachineFault, RepositoryUnreachable, UsageError
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.model.guest.following import FollowedTip, Kinship, SignatureVerdict
from buildtool.model.guest.hours import WeekHours, read_hours
from buildtool.ports.buildserver import FollowLook
from tests.fakes_build import Place, order, place

OLD, NEW, NEXT = "a" * 40, "b" * 40, "c" * 40
EVERY = 900.0
NIGHT = (read_hours("22:00-06:00", lambda _: UTC),)


@define(eq=False)
class Repository:
    """A followed repository, and the memory of who follows it."""

    tip: FollowedTip
    trouble: BuildToolError | None = None
    wrong: str = ""
    full: bool = False
    looks: int = 0
    tried: list[str] = field(factory=list)
    kept: list[FollowRecord] = field(factory=list)

    async def look(self, holds: str) -> FollowLook:
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return FollowLook(evolve(self.tip, kinship=Kinship.SAME) if self.tip.commit == holds else self.tip, "new")

    async def attempt(self, commit: str) -> str:
        self.tried.append(commit)
        return self.wrong

    async def keep(self, record: FollowRecord) -> None:
        if self.full:
            raise MachineFault("the disk is full")
        self.kept.append(record)


class Wall:
    """A clock on the wall that begins at midnight."""

    def __init__(self, at: Place) -> None:
        self.at = at

    def wall(self) -> float:
        return 1_800_057_600.0 + self.at.clock.seconds()


class Following(SynchronousTestCase):
    def follow(
        self, commit: str = NEW, *, asks: bool = False, network: tuple[WeekHours, ...] = (), building: bool = False
    ) -> tuple[Place, Repository, ConfigurationFollower, list[str]]:
        at = place(max_builds=2)
        if building:
            self.successResultOf(Deferred.fromCoroutine(at.server.build(order())))
            at.clock.advance(0)
        it = Repository(FollowedTip(commit, SignatureVerdict.TRUSTED, Kinship.NEWER))
        anew: list[str] = []
        follower = ConfigurationFollower(
            it, "URL", FollowRecord("s", holds=OLD), it.keep, at.server, asks, EVERY, lambda: network, Wall(at),
            at.clock, anew.append, lambda: 0.0,
        )  # fmt: skip
        follower.start()
        at.clock.advance(0)
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(follower.stop())))
        return at, it, follower, anew

    def taken(self, follower: ConfigurationFollower) -> None:
        self.successResultOf(Deferred.fromCoroutine(follower.take_over()))

    def test_a_new_commit_is_tried_once_and_begins_when_nothing_builds_any_more(self) -> None:
        at, it, follower, anew = self.follow(building=True)
        assert it.tried == [NEW]
        assert anew == [f"{NEW[:12]} is taken over when nothing builds any more"]
        assert (follower.record.holds, follower.record.begins) == (OLD, "")
        it.tip = evolve(it.tip, signature=SignatureVerdict.UNSIGNED, commit=NEXT)
        at.clock.advance(EVERY)
        assert (it.tried, it.looks) == ([NEW], 1), "a server that wavers changes nothing of what was chosen"

        self.taken(follower)
        assert it.kept[-1].begins == NEW
        assert it.kept[-1].holds == OLD, "until it was loaded"

    def test_what_is_not_signed_is_neither_tried_nor_taken_over(self) -> None:
        at, it, follower, anew = self.follow(OLD)
        it.tip = FollowedTip(NEW, SignatureVerdict.UNSIGNED, Kinship.NEWER)
        at.clock.advance(EVERY)
        assert (it.tried, anew) == ([], [])
        assert "is not signed" in it.kept[-1].words
        self.taken(follower)
        assert follower.record.begins == ""

    def test_what_does_not_load_is_given_up_until_there_is_another_commit(self) -> None:
        at, it, follower, anew = self.follow(OLD)
        it.tip, it.wrong = evolve(it.tip, commit=NEW), "config.py:1: it raised"
        at.clock.advance(EVERY)
        at.clock.advance(EVERY)
        assert (it.tried, anew) == ([NEW], [])
        assert it.kept[-1].words == f"{NEW[:12]} cannot be used: config.py:1: it raised"
        it.tip, it.wrong = evolve(it.tip, commit=NEXT), ""
        at.clock.advance(EVERY)
        assert (it.tried, len(anew)) == ([NEW, NEXT], 1)
        assert follower.record.tip == NEXT

    def test_where_the_owner_is_asked_nothing_runs_before_they_name_what_they_read(self) -> None:
        at, it, follower, anew = self.follow(asks=True)
        assert (it.tried, anew) == ([], [])
        with self.assertRaisesRegex(UsageError, "'bbbbbb' is not what waits"):
            follower.accept(NEW[:6])
        follower.accept(NEW[:7])
        at.clock.advance(0)
        assert (it.tried, len(anew)) == ([NEW], 1)
        it.tip = evolve(it.tip, commit=NEXT)
        follower.look_again()
        at.clock.advance(0)
        assert it.tried == [NEW]
        self.taken(follower)
        assert follower.record.begins == NEW, "what they have read, whatever came after it"

    def test_what_cannot_be_remembered_is_not_taken_over(self) -> None:
        at, it, _, anew = self.follow(OLD)
        it.tip, it.full = evolve(it.tip, commit=NEW), True
        at.clock.advance(EVERY)
        assert anew == []
        it.full = False
        at.clock.advance(EVERY)
        assert len(anew) == 1

    def test_a_repository_that_is_away_is_asked_less_and_less_often(self) -> None:
        at, it, follower, _ = self.follow(OLD)
        it.trouble = RepositoryUnreachable("it is away")
        at.clock.advance(EVERY)
        looks = it.looks
        at.clock.advance(FAILURES.first)
        at.clock.advance(FAILURES.first)
        assert it.looks == looks + 1
        at.clock.advance(FAILURES.first)
        assert it.looks == looks + 2
        assert follower.trouble == "it is away"
        it.trouble = None
        at.clock.advance(FAILURES.most)
        assert follower.trouble == ""

    def test_it_is_not_looked_while_the_network_may_not_be_used(self) -> None:
        at, it, _, _ = self.follow(OLD, network=NIGHT)
        assert it.looks == 1
        at.clock.advance(8 * 3_600.0)
        known = it.looks
        for _hour in range(13):
            at.clock.advance(LONGEST_SLEEP)
        assert it.looks == known
        at.clock.advance(LONGEST_SLEEP)
        assert it.looks > known
