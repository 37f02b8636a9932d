"""Ending in time: what hangs is cut off, what fails holds up nothing, and the process ends in any case."""

import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.programs.common.shutdown import ALTOGETHER, EACH, LAST_RESORT, LEAST, ShutdownList
from tests.support.failures import LoggedFailures
from tests.support.logs import listening

ROOT = Path(__file__).resolve().parents[3]


class ClosingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.closing = ShutdownList(self.clock)
        self.closed: list[str] = []

    def add(self, *names: str) -> None:
        for name in names:
            self.closing.add(name, lambda name=name: self.closed.append(name))  # type: ignore[misc]

    def hang(self, name: str) -> Deferred[None]:
        """Add what never closes; the Deferred says when it was cut off."""
        cut: Deferred[None] = Deferred(lambda waiting: self.closed.append(f"{name} is cut"))
        self.closing.add(name, lambda: cut)
        return cut

    def test_what_was_opened_last_is_closed_first(self) -> None:
        self.add("lock", "database", "port")
        self.successResultOf(Deferred.fromCoroutine(self.closing.close()))
        assert self.closed == ["port", "database", "lock"]

    def test_what_hangs_is_cut_off_after_a_while_and_named_and_the_others_are_closed(self) -> None:
        self.add("lock")
        self.hang("mail")
        self.add("port")
        ended = Deferred.fromCoroutine(self.closing.close())
        assert self.closed == ["port"]
        with listening() as said:
            self.clock.advance(EACH)
        self.successResultOf(ended)
        assert self.closed == ["port", "mail is cut", "lock"]
        assert said == ["cut off: mail did not end within 3.0 s"]

    def test_however_much_hangs_the_end_comes_within_the_bound_over_all(self) -> None:
        for number in range(10):
            self.hang(str(number))
        ended = Deferred.fromCoroutine(self.closing.close())
        while not ended.called:
            self.clock.advance(LEAST / 4)
        assert self.clock.seconds() <= ALTOGETHER + 10 * LEAST < LAST_RESORT
        assert len(self.closed) == 10

    def test_a_coroutine_that_hangs_is_cut_off_too(self) -> None:
        async def close() -> None:
            try:
                await Deferred[None]()
            except CancelledError:
                self.closed.append("cut")
                raise

        self.closing.add("the scrubber", close)
        ended = Deferred.fromCoroutine(self.closing.close())
        self.clock.advance(EACH)
        self.successResultOf(ended)
        assert self.closed == ["cut"]

    def test_whoever_breaks_the_end_off_is_obeyed(self) -> None:
        self.hang("mail")
        ended = Deferred.fromCoroutine(self.closing.close())
        ended.cancel()
        self.failureResultOf(ended, CancelledError)


def test_what_fails_to_close_is_logged_and_holds_up_nothing(expected_failures: LoggedFailures) -> None:
    def fail() -> None:
        raise ValueError("no")

    closed: list[str] = []
    closing = ShutdownList(Clock())
    closing.add("lock", lambda: closed.append("lock"))
    closing.add("port", fail)
    done = Deferred.fromCoroutine(closing.close())
    assert done.called
    assert closed == ["lock"]
    assert len(expected_failures.flush(ValueError)) == 1


def test_a_process_that_hangs_ends_all_the_same_and_says_so() -> None:
    program = (
        "from buildtool.programs.common.shutdown import last_resort\nlast_resort('metaserver', 0.2)\nwhile True: pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, "metaserver: cut off: it did not end within 0.2 s\n")
