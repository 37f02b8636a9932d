"""What the operator should know of builds: each in a line, the first few of a kind by number, the others counted."""

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.errors import StorageUnavailable
from buildtool.metaserver.problems import BUILDS_SHOWN, TRIED_OFTEN, BuildProblems
from buildtool.model.records import Attempt, AttemptEnd
from buildtool.scheduling.events import AttemptEnded, Event, Registered
from tests.metaserver.test_build_servers import World
from tests.scheduling.worlds import machine, spec, submitted
from tests.support.memory import full_disk


class BuildProblemsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world, self.clock = World(), Clock()
        self.problems = BuildProblems(self.world.broker, self.clock)

    def send(self, event: Event) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(event)))

    def ask(self, number: int) -> None:
        self.send(submitted(f"client{number}", spec(number % 5, jit=number >= 5)))

    def begun(self, count: int) -> list[Attempt]:
        """Return the Attempts of so many builds, which a machine with as many slots has."""
        self.send(Registered("anna", machine(max_builds=count)))
        for number in range(count):
            self.ask(number)
        return list(self.world.broker.state.attempts.values())

    def unkept(self, attempt: Attempt, why: str = "no space left") -> Deferred[None]:
        return Deferred.fromCoroutine(self.problems.unkept(*attempt.key, why))

    def test_what_is_built_and_not_delivered_is_told_until_its_attempt_ends_with_since_when(self) -> None:
        first, second = self.begun(2)
        self.successResultOf(self.unkept(first))
        self.clock.advance(40.0)
        self.successResultOf(self.unkept(first, "still no space left"))
        assert self.problems.problems() == (
            "build 1.1 is built on anna and not delivered since 40 s: still no space left",
        )
        assert self.world.broker.state.slots.is_unkept(first)
        self.send(AttemptEnded("anna", 1, *first.key, AttemptEnd.FAILED, "exit code 2"))
        self.successResultOf(self.unkept(evolve(second, epoch=9)))
        assert self.problems.problems() == ()

    def test_of_many_that_are_not_delivered_the_others_are_counted(self) -> None:
        for attempt in self.begun(BUILDS_SHOWN + 2):
            self.successResultOf(self.unkept(attempt))
        *told, more = self.problems.problems()
        assert len(told) == BUILDS_SHOWN
        assert more == "2 more builds are built and not delivered"

    def test_one_whose_slot_cannot_be_released_is_told_all_the_same(self) -> None:
        (attempt,) = self.begun(1)
        self.world.store.problems = [full_disk()]
        self.failureResultOf(self.unkept(attempt), StorageUnavailable)
        assert len(self.problems.problems()) == 1

    def test_projects_that_are_not_configured_and_builds_that_begin_over_and_over_are_found_by_a_look(self) -> None:
        for number in range(BUILDS_SHOWN + 1):
            self.ask(number)
        assert self.problems.problems() == ()
        self.problems.look()
        assert self.problems.problems() == ()
        state = self.world.broker.state
        for build in list(state.builds.values()):
            state.put(evolve(build, epoch=TRIED_OFTEN))
        self.problems.look()
        *told, more = self.problems.problems()
        assert told[0] == f"build 1 of lua was begun {TRIED_OFTEN} times and has not ended: see its page"
        assert (len(told), more) == (BUILDS_SHOWN, f"1 more builds were begun {TRIED_OFTEN} times or more")
        state.reconfigure({})
        self.problems.look()
        assert self.problems.problems()[0] == "project lua is not configured, and 6 builds wait for it"
