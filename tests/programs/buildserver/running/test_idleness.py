"""A build server with ``--max-idle`` ends when it had nothing to do for so long, and never while it is busy."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.programs.buildserver.running.idleness import IdleLimit
from buildtool.programs.common.program import StopRequest
from tests.fakes_build import order, place


class Idle(SynchronousTestCase):
    def begun(self, seconds: int | None) -> None:
        self.at = place()
        self.clock: Clock = self.at.clock
        self.drain = StopRequest()
        self.limit = IdleLimit(self.at.server, self.clock, seconds, self.drain)
        self.addCleanup(self.limit.watch())

    def why(self) -> str:
        return self.drain.reason

    def test_it_drains_once_it_had_nothing_to_do_for_so_long(self) -> None:
        self.begun(60)
        self.clock.pump([1.0] * 59)
        assert not self.why()
        self.clock.pump([1.0] * 2)
        assert self.limit.reached
        assert self.why() == "nothing to do for 60 s (--max-idle)"

    def test_without_a_limit_it_stays_for_ever(self) -> None:
        self.begun(None)
        self.clock.pump([3600.0] * 24)
        assert not self.why()

    def test_while_something_is_built_or_waits_to_be_delivered_it_is_not_idle(self) -> None:
        self.begun(60)
        self.clock.pump([1.0] * 50)
        self.successResultOf(Deferred.fromCoroutine(self.at.server.build(order())))
        assert self.at.server.running or self.at.server.held()
        self.clock.pump([1.0] * 59)
        assert not self.why()

    def test_a_build_between_two_looks_counts_too(self) -> None:
        self.begun(60)
        self.clock.pump([1.0] * 50)
        self.at.server.busy_at = self.clock.seconds()
        self.clock.pump([1.0] * 59)
        assert not self.why()
        self.clock.pump([1.0] * 2)
        assert self.limit.reached

    def test_who_was_told_to_drain_before_was_not_idle(self) -> None:
        self.begun(60)
        self.drain.ask("its owner wants it")
        self.clock.pump([1.0] * 70)
        assert not self.limit.reached
        assert self.why() == "its owner wants it"
