"""A patrol does its rounds until it is stopped, whatever becomes of one of them."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.concurrency.periodic import RETRY, PeriodicTask
from buildtool.errors import StorageUnavailable
from tests.support.inline import run


class TestPatrol(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.began: list[float] = []
        self.problem: Exception | None = None

    async def round_(self, task: PeriodicTask) -> float:
        self.began.append(self.clock.seconds())
        problem, self.problem = self.problem, None
        if problem is not None:
            raise problem
        await task.rest(5)
        return 10.0

    def start(self) -> PeriodicTask:
        task = PeriodicTask("the look around", self.clock, self.round_)
        task.start(2.0)
        return task

    def test_rounds_follow_each_other_after_as_long_as_each_says(self) -> None:
        task = self.start()
        self.clock.pump([1.0] * 40)
        assert self.began == [2.0, 17.0, 32.0]
        run(task.stop())

    def test_a_round_that_the_disk_refuses_is_tried_again(self) -> None:
        self.problem = StorageUnavailable("the disk is full")
        task = self.start()
        self.clock.pump([1.0] * int(RETRY + 3))
        assert self.began == [2.0, 2.0 + RETRY]
        run(task.stop())

    def test_a_defect_is_logged_and_ends_nothing(self) -> None:
        self.problem = LookupError("a defect")
        task = self.start()
        self.clock.pump([1.0] * int(RETRY + 3))
        assert self.began == [2.0, 2.0 + RETRY]
        assert len(self.flushLoggedErrors(LookupError)) == 1
        run(task.stop())

    def test_a_stop_waits_for_what_is_being_done_and_for_no_pause(self) -> None:
        doing: Deferred[None] = Deferred()

        async def slow(task: PeriodicTask) -> float:
            await doing
            await task.rest(1_000)
            raise AssertionError("it was told to stop")

        task = PeriodicTask("slow", self.clock, slow)
        task.start(0)
        self.clock.advance(0)
        stopped = Deferred.fromCoroutine(task.stop())
        self.assertNoResult(stopped)
        doing.callback(None)
        self.successResultOf(stopped)
        assert self.clock.getDelayedCalls() == []

    def test_one_that_is_hastened_does_its_next_round_at_once_and_goes_on_from_there(self) -> None:
        async def look(_: PeriodicTask) -> float:
            self.began.append(self.clock.seconds())
            if len(self.began) == 2:
                task.hasten()  # what is new came while it looked
            return 100.0

        task = PeriodicTask("the look around", self.clock, look)
        task.start(2.0)
        self.clock.pump([1.0] * 5)
        task.hasten()
        self.clock.pump([1.0] * 150)
        assert self.began == [2.0, 5.0, 6.0, 106.0]
        run(task.stop())

    def test_one_that_was_never_started_stops_too(self) -> None:
        run(PeriodicTask("idle", self.clock, self.round_).stop())
