"""The broker's shell: batches, commits that fail, and who is told what, in which order."""

from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.concurrency.asker import Asker, working_for
from buildtool.errors import ConflictingRow, IllegalTransition, InternalError, StorageUnavailable, Unavailable
from buildtool.metaserver.batches import SLICE
from buildtool.metaserver.broker import RETRY, SWEEP, Broker
from buildtool.model.policy import Policy
from buildtool.model.records import Artifact, Attempt, AttemptState, Build, BuildState, Request, RequestState
from buildtool.model.servers import Held, HeldVerdict, Server, Verdict
from buildtool.ports.metaserver import Snapshot
from buildtool.scheduling.answers import Hit, Queued, SessionOpened
from buildtool.scheduling.effects import Dispatch, RequestMoved
from buildtool.scheduling.events import CancelRequested, Event, Explain, Registered, Tick
from buildtool.scheduling.state.lease_table import LEASE
from buildtool.scheduling.state.state import State
from tests.metaserver.deliveries import deliver_all
from tests.scheduling.broker import fingerprint
from tests.scheduling.worlds import POLICIES, machine, spec, submitted
from tests.support.logs import listening
from tests.support.memory import MemoryFiles, MemoryStore, Performed, WallClock, full_disk


@define
class World:
    """A broker over in-memory stores."""

    store: MemoryStore = field(factory=MemoryStore)
    files: MemoryFiles = field(factory=MemoryFiles)
    performed: Performed = field(factory=Performed)
    wall: WallClock = field(factory=WallClock)
    timers: Clock = field(factory=Clock)
    takes: float = 0.0
    read: float = 0.0
    broker: Broker = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.start()

    def start(self, policies: Mapping[str, Policy] = POLICIES) -> None:
        """Start a metaserver on what the store holds; one that ran before is gone at once."""
        for call in self.timers.getDelayedCalls():
            call.cancel()
        self.broker = Broker(
            State(policies), self.store, self.wall, self.timers, self.files, self.performed, self.stopwatch
        )
        done = Deferred.fromCoroutine(self.broker.start())
        assert done.called

    def stopwatch(self) -> float:
        """Read as if whatever the broker does ``takes`` so long."""
        self.read += self.takes
        return self.read

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on, a second at a time."""
        for _ in range(int(seconds)):
            self.wall.now += 1.0
            self.timers.advance(1.0)

    def send(self, event: Event) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.broker.send(event))


@define
class Unreadable(MemoryStore):
    """A store that cannot be read while a test says so."""

    unreadable: bool = False

    async def load(self) -> Snapshot:
        if self.unreadable:
            raise full_disk()
        return await super().load()


class BatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_an_event_is_answered_after_its_commit_and_not_before(self) -> None:
        self.world.store.held = []
        answer = self.world.send(submitted("a"))
        self.assertNoResult(answer)
        self.world.store.held.pop().callback(None)
        assert isinstance(self.successResultOf(answer), Queued)
        assert [row.id for row in self.world.store.all(Build)] == [1]

    def test_events_that_arrive_during_a_commit_share_the_next_one(self) -> None:
        self.world.store.held = []
        answers = [self.world.send(submitted(f"c{number}", spec(number % 4))) for number in range(20)]
        self.world.store.held.pop().callback(None)
        self.world.store.held.pop().callback(None)
        for answer in answers:
            self.successResultOf(answer)
        assert len(self.world.store.commits) == 3, "one for the start, one for the first, one for the other nineteen"

    def test_a_start_says_how_many_open_builds_it_takes_over(self) -> None:
        for number in range(2):
            self.world.send(submitted(f"c{number}", spec(number)))
        with listening() as said:
            self.world.start()
        assert said == ["taken over: builds that run: 0, that wait: 2"]

    def test_a_failed_commit_leaves_everything_as_it_was_and_says_so(self) -> None:
        self.world.send(Registered("anna", machine()))
        before = fingerprint(self.world.broker.state)
        self.world.performed.effects.clear()
        self.world.store.problems = [full_disk()]
        problem = self.failureResultOf(self.world.send(submitted("a")), StorageUnavailable)
        assert "nothing was accepted" in str(problem.value)
        assert fingerprint(self.world.broker.state) == before
        assert self.world.performed.effects == []
        assert isinstance(self.successResultOf(self.world.send(submitted("a"))).request, Request)

    def test_a_commit_that_took_effect_although_it_failed_is_believed(self) -> None:
        """The disk may say no after it has written: nothing of that may be given out a second time."""
        self.world.store.took_effect = True
        self.world.store.problems = [full_disk()]
        self.failureResultOf(self.world.send(submitted("a")), StorageUnavailable)
        other = self.successResultOf(self.world.send(submitted("b", spec(1))))
        assert (other.request.id, other.build.id) == (2, 2)
        assert self.successResultOf(self.world.send(submitted("a"))).request_id == 1

    def test_who_follows_a_request_hears_of_its_end_though_the_commit_of_it_seemed_to_fail(self) -> None:
        self.world.send(Registered("anna", machine()))
        asked = self.successResultOf(self.world.send(submitted("a"))).request
        for took_effect in (False, True):
            self.world.performed.effects.clear()
            self.world.store.took_effect = took_effect
            self.world.store.problems = [full_disk()]
            self.failureResultOf(self.world.send(CancelRequested(asked.id)), StorageUnavailable)
            assert self.world.performed.effects == []
            self.world.send(Tick())
            moves = [one for one in self.world.performed.effects if isinstance(one, RequestMoved)]
            assert [one.request.state for one in moves] == [RequestState.CANCELLED] * took_effect

    def test_what_cannot_be_committed_is_a_problem_until_something_can(self) -> None:
        self.world.store.problems = [full_disk()]
        self.failureResultOf(self.world.send(submitted("a")), StorageUnavailable)
        (problem,) = self.world.broker.problems()
        assert "nothing can be committed" in problem
        self.world.store.problems = [full_disk()]
        self.failureResultOf(self.world.send(Tick()), StorageUnavailable)
        assert self.world.broker.problems() == (problem,), "a sweep, which changes nothing, finds out too"
        self.successResultOf(self.world.send(Tick()))
        assert self.world.broker.problems() == ()
        assert [row.kind for row in self.world.store.happened][-1] == "storage-back"

    def test_a_row_that_the_database_refuses_spoils_no_other_event_of_its_batch(self) -> None:
        self.world.store.refuse = lambda row: (
            ConflictingRow("no") if isinstance(row, Request) and row.email == "bad@example.org" else None
        )
        self.world.store.held = []
        first = self.world.send(Tick())
        good = self.world.send(submitted("good"))
        bad = self.world.send(submitted("bad", email="bad@example.org"))
        also_good = self.world.send(submitted("also"))
        while self.world.store.held:
            self.world.store.held.pop(0).callback(None)
        self.successResultOf(first)
        assert isinstance(self.successResultOf(good), Queued)
        self.failureResultOf(bad, InternalError)
        self.successResultOf(also_good)
        assert {row.client_id for row in self.world.store.all(Request)} == {"good", "also"}

    def test_an_event_that_cannot_be_decided_spoils_no_other_and_is_answered(self) -> None:
        self.world.store.held = []
        first = self.world.send(submitted("a"))
        broken = self.world.send(Registered("anna", "no capability at all"))  # type: ignore[arg-type]
        good = self.world.send(submitted("b", spec(1)))
        while self.world.store.held:
            self.world.store.held.pop(0).callback(None)
        self.successResultOf(first)
        self.failureResultOf(broken, InternalError)
        assert isinstance(self.successResultOf(good), Queued)
        assert "anna" not in self.world.broker.state.servers
        assert self.flushLoggedErrors(AttributeError)

    def test_a_step_that_no_table_allows_is_a_defect_of_one_event_and_no_trouble_of_the_disk(self) -> None:
        self.successResultOf(self.world.send(submitted("a")))
        state = self.world.broker.state
        state.builds[1] = evolve(state.builds[1], state=BuildState.SUCCEEDED)  # memory is not what the database has
        self.world.store.held = []
        first = self.world.send(submitted("b", spec(1)))
        login, good = self.world.send(Registered("anna", machine())), self.world.send(submitted("c", spec(2)))
        while self.world.store.held:
            self.world.store.held.pop(0).callback(None)
        for one, kind in ((first, Queued), (login, SessionOpened), (good, Queued)):
            assert isinstance(self.successResultOf(one), kind)
        assert self.world.broker.problems() == ()
        assert self.flushLoggedErrors(IllegalTransition)

    def test_where_nothing_can_be_decided_nor_read_anew_all_are_refused_until_it_can(self) -> None:
        store = Unreadable()
        world = World(store)
        store.unreadable = True
        broken = world.send(Registered("anna", "no capability at all"))  # type: ignore[arg-type]
        assert "nothing was accepted" in str(self.failureResultOf(broken, StorageUnavailable).value)
        assert self.flushLoggedErrors(AttributeError)
        assert "nothing can be read" in world.broker.problems()[0]
        self.failureResultOf(world.send(submitted("a")), StorageUnavailable)
        store.unreadable = False
        assert isinstance(self.successResultOf(world.send(submitted("a"))), Queued)
        assert world.broker.problems() == ()
        assert store.all(Server) == []
        assert world.broker.state.servers == {}

    def test_a_login_is_answered_before_its_first_order_goes_out(self) -> None:
        self.world.send(submitted("a"))
        self.world.performed.order.clear()
        self.world.store.held = []
        answer = self.world.send(Registered("anna", machine()))

        def note(opened: object) -> object:
            self.world.performed.order.append("answer")
            return opened

        answer.addCallback(note)
        self.world.store.held.pop().callback(None)
        assert isinstance(self.successResultOf(answer), SessionOpened)
        assert self.world.performed.order == ["answer", "Dispatch", "RequestMoved"]

    def test_an_act_that_fails_keeps_no_other_from_being_done(self) -> None:
        self.world.send(submitted("a"))
        self.world.performed.effects.clear()
        self.world.performed.problem = ValueError("this act fails")
        self.successResultOf(self.world.send(Registered("anna", machine())))
        assert len(self.world.performed.effects) == 1
        assert self.flushLoggedErrors(ValueError)


class SliceTests(SynchronousTestCase):
    """What takes long is done in slices, and fairly by who asks."""

    def setUp(self) -> None:
        self.world = World()
        self.order: list[str] = []

    def ask(self, name: str, asker: Asker, number: int = 0) -> None:
        with working_for(asker):
            self.world.send(submitted(name, spec(number))).addCallback(lambda _: self.order.append(name))

    def let_go(self) -> None:
        """Let commits succeed and the reactor turn until there is nothing left to do."""
        for _ in range(1_000):
            self.world.timers.advance(0)
            while self.world.store.held:
                self.world.store.held.pop(0).callback(None)

    def test_a_batch_ends_when_deciding_has_taken_long_enough_and_the_reactor_turns_before_the_next(self) -> None:
        self.world.takes = SLICE / 3
        self.world.store.held = []
        for number in range(30):
            self.ask(f"c{number}", Asker("10.0.0.1", 1), number % 4)
        before = len(self.world.store.commits)
        self.world.store.held.pop(0).callback(None)
        assert len(self.order) <= 3, "the others wait for the reactor's next turn, or for a commit of their own"
        self.let_go()
        assert self.order == [f"c{number}" for number in range(30)]
        assert len(self.world.store.commits) - before >= 10

    def test_questions_that_write_nothing_let_the_reactor_turn_too(self) -> None:
        self.world.takes = SLICE / 3
        asked = [self.world.send(Explain(submitted("x").demand, force=False)) for _ in range(30)]
        assert sum(one.called for one in asked) < 10
        self.let_go()
        assert all(one.called for one in asked)

    def test_one_connection_that_asks_much_holds_another_up_by_one_event(self) -> None:
        self.world.takes = SLICE
        self.world.store.held = []
        for number in range(60):
            self.ask(f"many{number}", Asker("10.0.0.1", 1))
        self.ask("other connection", Asker("10.0.0.1", 2))
        self.ask("other address", Asker("10.0.0.2", 3))
        self.let_go()
        assert len(self.order) == 62
        assert self.order.index("other address") <= 3
        assert self.order.index("other connection") <= 4
        assert [name for name in self.order if name.startswith("many")] == [f"many{n}" for n in range(60)]

    def test_a_question_of_somebody_who_has_hung_up_is_not_answered(self) -> None:
        self.world.store.held = []
        first, asker = self.world.send(submitted("a")), Asker("10.0.0.1", 1)
        with working_for(asker):
            asked = self.world.send(Explain(submitted("x").demand, force=False))
            submission = self.world.send(submitted("b"))
        asker.leave()
        self.let_go()
        self.successResultOf(first)
        self.failureResultOf(asked, Unavailable)
        self.successResultOf(submission)

    def test_a_broker_that_stops_refuses_what_waits_at_once(self) -> None:
        self.world.takes = SLICE
        self.world.store.held = []
        asked = [self.world.send(submitted(f"c{number}")) for number in range(9)]
        stopped = Deferred.fromCoroutine(self.world.broker.stop())
        self.world.store.held.pop(0).callback(None)
        self.world.timers.advance(0)
        self.world.timers.advance(0)
        self.successResultOf(stopped)
        assert isinstance(self.successResultOf(asked[0]), Queued)
        for one in asked[1:]:
            self.failureResultOf(one, StorageUnavailable)


class RestartTests(SynchronousTestCase):
    def test_a_restart_keeps_the_queue_and_what_runs_and_gives_every_lease_a_fresh_term(self) -> None:
        world = World()
        world.send(Registered("anna", machine()))
        world.send(submitted("running", spec(0)))
        world.send(submitted("waiting", spec(1)))
        world.pass_time(LEASE - 1)
        world.start()
        world.pass_time(LEASE - 1)
        states = {row.id: row.state for row in world.store.all(Build)}
        assert states == {1: BuildState.RUNNING, 2: BuildState.QUEUED}
        opened = self.successResultOf(world.send(Registered("anna", machine(), (Held(1, 1),))))
        assert opened.verdicts == (HeldVerdict(1, 1, Verdict.GO_ON),)

    def test_an_attempt_that_is_not_heard_of_after_a_restart_goes_missing_by_the_brokers_own_alarm(self) -> None:
        world = World()
        world.send(Registered("anna", machine()))
        world.send(submitted("running", spec(0)))
        world.start()
        world.pass_time(LEASE)
        (attempt,) = world.store.all(Attempt)
        assert attempt.state is AttemptState.MISSING

    def test_numbers_go_on_where_they_were(self) -> None:
        world = World()
        world.send(submitted("a"))
        world.start()
        assert self.successResultOf(world.send(submitted("b", spec(1)))).request.id == 2

    def test_a_resent_submission_is_recognised_after_a_restart(self) -> None:
        world = World()
        first = self.successResultOf(world.send(submitted("a")))
        world.start()
        assert self.successResultOf(world.send(submitted("a"))).request_id == first.request.id


class FileTests(SynchronousTestCase):
    def test_an_artifact_whose_file_is_gone_is_no_hit_and_is_withdrawn(self) -> None:
        world = World()
        world.send(Registered("anna", machine()))
        world.send(submitted("a"))
        deliver_all(world.broker)
        assert isinstance(self.successResultOf(world.send(submitted("b"))), Hit)
        (artifact,) = world.store.all(Artifact)
        world.files.missing.add(artifact.digest)
        assert not isinstance(self.successResultOf(world.send(submitted("c"))), Hit)
        (artifact,) = world.store.all(Artifact)
        assert artifact.withdrawn

    def test_when_the_newest_is_gone_the_one_before_it_is_given_out(self) -> None:
        """Only the newest of a platform is in memory; the database has the others."""
        world = World()
        world.send(Registered("anna", machine()))
        for number in range(4):
            world.send(submitted(f"c{number}", force=True))
            deliver_all(world.broker)
        world.start()
        for build in (4, 3):
            world.files.missing.add(f"{build:064x}")
        hit = self.successResultOf(world.send(submitted("b")))
        assert isinstance(hit, Hit)
        assert hit.artifact.build_id == 2
        assert len([one for one in world.store.all(Artifact) if one.withdrawn]) == 2

    def test_the_disk_is_asked_about_no_file_that_would_not_be_given_out(self) -> None:
        world = World()
        world.send(Registered("anna", machine()))
        for number in range(20):
            world.send(submitted(f"c{number}", force=True))
            deliver_all(world.broker)
        world.files.asked.clear()
        assert isinstance(self.successResultOf(world.send(submitted("b"))), Hit)
        assert world.files.asked == [f"{20:064x}"]
        assert not isinstance(self.successResultOf(world.send(submitted("c", force=True))), Hit)
        assert len(world.files.asked) == 1

    def test_the_files_of_a_batch_are_asked_for_in_one_question(self) -> None:
        world = World()
        world.send(Registered("anna", machine()))
        world.send(submitted("a"))
        deliver_all(world.broker)
        world.files.questions = 0
        world.store.held = []
        hits = [world.send(submitted(f"d{number}")) for number in range(10)]
        world.store.held.pop().callback(None)
        world.store.held.pop().callback(None)
        assert all(isinstance(self.successResultOf(one), Hit) for one in hits)
        assert world.files.questions == 2, "one for the first, one for the other nine"

    def test_while_the_disk_does_not_answer_nothing_is_decided_and_everybody_is_answered_once(self) -> None:
        world = World()
        world.send(Registered("anna", machine()))
        world.send(submitted("a"))
        deliver_all(world.broker)
        world.store.held = []
        first = world.send(submitted("b"))
        others = [world.send(submitted(f"d{number}")) for number in range(5)]
        world.takes = SLICE
        world.files.trouble = StorageUnavailable("the disk is away")
        world.store.held.pop().callback(None)
        world.timers.pump([0.0] * 20)
        assert isinstance(self.successResultOf(first), Hit)
        for one in others:
            self.failureResultOf(one, StorageUnavailable)
        world.files.trouble, world.store.held = None, None
        assert isinstance(self.successResultOf(world.send(submitted("c"))), Hit)


class TimerTests(SynchronousTestCase):
    def test_a_clock_that_is_set_ends_no_lease_and_lets_none_last_longer(self) -> None:
        for step in (3_600.0, -3_600.0):
            world = World()
            world.send(Registered("anna", machine()))
            world.send(submitted("a"))
            world.wall.now += step
            world.pass_time(LEASE - 1)
            (attempt,) = world.store.all(Attempt)
            assert attempt.state is AttemptState.OFFERED
            world.pass_time(1)
            (attempt,) = world.store.all(Attempt)
            assert attempt.state is AttemptState.MISSING

    def test_a_clock_that_is_set_while_a_commit_is_in_doubt_ends_no_lease(self) -> None:
        for step in (3_600.0, -3_600.0):
            world = World()
            world.send(Registered("anna", machine()))
            world.send(submitted("a"))
            world.wall.now += step
            world.store.took_effect = True
            world.store.problems = [full_disk()]
            self.failureResultOf(world.send(submitted("b")), StorageUnavailable)
            world.pass_time(LEASE - 1)
            (attempt,) = world.store.all(Attempt)
            assert attempt.state is AttemptState.OFFERED
            world.pass_time(SWEEP)
            (attempt,) = world.store.all(Attempt)
            assert attempt.state is AttemptState.MISSING

    def test_that_the_clock_was_set_is_not_forgotten_when_it_cannot_be_committed(self) -> None:
        world = World()
        world.send(Registered("anna", machine()))
        world.send(submitted("a"))
        world.wall.now += 3_600.0
        world.store.problems = [full_disk()]
        self.failureResultOf(world.send(submitted("b")), StorageUnavailable)
        world.pass_time(RETRY)
        (attempt,) = world.store.all(Attempt)
        assert attempt.state is AttemptState.OFFERED

    def test_a_request_expires_by_the_brokers_own_alarm(self) -> None:
        world = World()
        world.start({name: evolve(policy, request_ttl=100.0) for name, policy in POLICIES.items()})
        world.send(submitted("a"))
        world.pass_time(99)
        assert world.store.all(Request)[0].state is RequestState.WAITING
        world.pass_time(1)
        assert world.store.all(Request)[0].state is RequestState.EXPIRED

    def test_a_sweep_that_cannot_be_committed_is_tried_again(self) -> None:
        world = World()
        world.start({name: evolve(policy, request_ttl=100.0) for name, policy in POLICIES.items()})
        world.send(submitted("a"))
        world.pass_time(99)
        world.store.problems = [full_disk()]
        world.pass_time(RETRY)
        assert world.store.all(Request)[0].state is RequestState.WAITING
        world.pass_time(1)
        assert world.store.all(Request)[0].state is RequestState.EXPIRED

    def test_a_clock_that_is_wrong_for_a_while_expires_nothing(self) -> None:
        """Eight days ahead for half a minute, whether the step back comes or the metaserver dies meanwhile."""
        for dies in (False, True):
            for in_doubt in (False, True):
                world = World()
                world.send(submitted("a"))
                (before,) = world.store.all(Request)
                world.wall.now += 8 * 86_400.0
                if in_doubt:
                    world.store.took_effect, world.store.problems = True, [full_disk()]
                world.pass_time(SWEEP + RETRY)
                if dies:
                    world.wall.now -= 8 * 86_400.0
                    world.start()
                else:
                    world.wall.now -= 8 * 86_400.0
                    world.pass_time(SWEEP)
                (request,) = world.store.all(Request)
                assert request.state is RequestState.WAITING
                assert abs(request.expires_at - before.expires_at) < SWEEP + RETRY

    def test_what_was_asked_for_does_not_grow_older_while_there_is_no_metaserver(self) -> None:
        for away, counted in ((30 * 86_400.0, 0.0), (45.0, 45.0), (-86_400.0, 0.0)):
            world = World()
            world.send(submitted("a"))
            world.pass_time(SWEEP)
            (before,) = world.store.all(Request)
            left = before.expires_at - world.wall.now
            world.wall.now += away
            world.start()
            world.pass_time(SWEEP)
            (request,) = world.store.all(Request)
            assert request.state is RequestState.WAITING
            lived = left - (request.expires_at - world.wall.now) - SWEEP
            assert counted - SWEEP - 1 <= lived <= counted + 1

    def test_a_stopped_broker_takes_nothing_more_and_leaves_no_timer(self) -> None:
        world = World()
        self.successResultOf(Deferred.fromCoroutine(world.broker.stop()))
        self.failureResultOf(world.send(CancelRequested(1)), StorageUnavailable)
        assert world.timers.getDelayedCalls() == []


class ReconfiguringTests(SynchronousTestCase):
    """Another configuration comes between two batches, and takes effect although a commit fails."""

    def setUp(self) -> None:
        self.world = World()
        self.world.start({name: evolve(policy, options_digest="older") for name, policy in POLICIES.items()})
        self.successResultOf(self.world.send(Registered("anna", machine())))
        assert isinstance(self.successResultOf(self.world.send(submitted("c1", spec()))), Queued)

    def reconfigure(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.world.broker.reconfigure(POLICIES))

    def test_what_can_be_built_now_is_given_out(self) -> None:
        self.successResultOf(self.reconfigure())
        assert [type(effect) for effect in self.world.performed.effects].count(Dispatch) == 1
        assert "reconfigured" in [one.kind for one in self.world.store.happened]

    def test_a_batch_in_flight_is_decided_by_what_held_when_it_began(self) -> None:
        self.world.store.held = []
        asked = self.world.send(submitted("c2", spec(1)))
        taken = self.reconfigure()
        self.assertNoResult(taken)
        assert self.world.broker.state.projects.of != POLICIES
        while self.world.store.held:
            self.world.store.held.pop(0).callback(None)
        self.successResultOf(asked)
        self.successResultOf(taken)
        assert self.world.broker.state.projects.of == POLICIES

    def test_a_commit_that_fails_puts_off_what_follows_from_it(self) -> None:
        self.world.store.problems = [full_disk()]
        self.failureResultOf(self.reconfigure(), StorageUnavailable)
        self.world.pass_time(SWEEP)
        assert Dispatch in [type(effect) for effect in self.world.performed.effects]
