"""Which place a build has on a real farm: who is charged, who brings a better one, and what keeps it."""

from attrs import evolve

from buildtool.model.farm.weights import NICE_MOST, Weights
from buildtool.model.records import AttemptEnd, Build, Demand, JoinReason
from buildtool.model.servers import Held
from buildtool.scheduling.answers import Dispatched, JoinedBuild, Queued
from buildtool.scheduling.events import CancelRequested, ServerPaused, Submitted
from tests.scheduling.farm import Farm, NewRequest
from tests.scheduling.worlds import POLICY, machine, spec

PPC = {"os": "linux", "arch": "ppc"}
ANN, BOB, CID = "ann@example.org", "bob@example.org", "cid@example.org"


class Queue:
    """A farm whose people ask for one revision after the other, and which tells who is built for next."""

    def __init__(self, weights: Weights | None = None) -> None:
        self.farm = Farm()
        if weights is not None:
            self.farm.broker.state.reconfigure(self.farm.policies, weights)
        self.revision = 0

    def ask(
        self, email: str, revision: int = 0, nice: int = 0, platform: dict[str, str] | None = None, share: str = ""
    ) -> NewRequest:
        """Somebody asks for a revision, a new one unless it is told which."""
        self.revision += 1
        commit = f"{revision or 1_000 + self.revision:040x}"
        wanted = evolve(spec(platform=platform), revision=commit)
        client = f"queue {self.revision}"
        event = Submitted(client, client, email, Demand(wanted, "main", "", (commit,)), share=share, nice=nice)
        answer = self.farm.send(event)
        assert isinstance(answer, Dispatched | Queued | JoinedBuild)
        return answer

    def next(self, name: str = "anna") -> str:
        """What the server builds is delivered; return who is charged with what it builds then."""
        self.farm.deliver(name)
        return self.charged(name)

    def charged(self, name: str = "anna") -> str:
        return self.build_on(name).share

    def build_on(self, name: str = "anna") -> Build:
        return self.farm.build(self.farm.attempt_on(name).build_id)


def test_three_thousand_requests_of_one_delay_the_single_one_of_another_by_one_build_at_most() -> None:
    queue = Queue()
    queue.farm.login("anna")
    for _ in range(3_000):
        queue.ask(ANN)
    for _ in range(3):
        assert queue.next() == ANN
    single = queue.ask(BOB)
    told = queue.farm.why(single)
    assert (told.ahead, told.ahead_own, told.ahead_shares) == (0, 0, 0)
    assert queue.next() == BOB
    assert queue.next() == ANN


def test_who_waits_is_told_how_many_stand_before_of_their_own_and_of_how_many_others() -> None:
    queue = Queue()
    queue.farm.login("anna")
    for email in (ANN, ANN, BOB, CID, ANN, BOB):
        queue.ask(email)
    told = queue.farm.why(queue.ask(ANN))
    assert (told.ahead, told.ahead_own, told.ahead_shares) == (5, 2, 2)


def test_people_whose_addresses_are_not_confirmed_share_the_turns_of_their_network() -> None:
    queue = Queue()
    queue.farm.login("anna")
    for number in range(6):
        queue.ask(f"invented{number}@example.org", share="192.0.2.0/24")
    queue.ask(BOB)
    queue.ask(BOB)
    assert [queue.next() for _ in range(4)] == [BOB, "192.0.2.0/24", BOB, "192.0.2.0/24"]


def test_weights_are_taken_from_the_configuration() -> None:
    queue = Queue(Weights({ANN: 3.0}))
    queue.farm.login("anna")
    for email in (ANN, BOB):
        for _ in range(12):
            queue.ask(email)
    assert [queue.next() for _ in range(8)].count(ANN) == 6


def test_a_build_that_is_joined_stands_where_the_best_placed_of_those_who_wait_would() -> None:
    queue = Queue()
    queue.farm.login("anna")
    asked = [queue.ask(ANN) for _ in range(10)]
    revision = 1_000 + queue.revision
    joined = queue.ask(BOB, revision)
    assert isinstance(joined, JoinedBuild)
    build = queue.farm.build_of(asked[-1])
    assert (build.share, build.place) == (BOB, joined.request.id)
    assert queue.next() == BOB
    assert queue.build_on().id == build.id


def test_who_joins_a_build_in_a_better_place_than_their_own_is_charged_with_nothing() -> None:
    queue = Queue()
    queue.farm.login("anna")
    queue.ask(ANN)
    first = queue.ask(CID)
    for _ in range(5):
        queue.ask(BOB)
    joined = queue.ask(BOB, 1_002)
    assert isinstance(joined, JoinedBuild)
    assert queue.farm.build_of(first).share == CID
    own = queue.farm.build_of(queue.ask(BOB))
    assert own.tag - own.base == 5.0


def test_when_the_best_placed_leaves_the_build_stands_where_the_next_would_and_is_charged_to_them() -> None:
    queue = Queue()
    queue.farm.login("anna")
    asked = [queue.ask(ANN) for _ in range(10)]
    joined = queue.ask(BOB, 1_000 + queue.revision)
    before = queue.farm.build_of(asked[-1])
    queue.farm.send(CancelRequested(joined.request.id))
    build = queue.farm.build_of(asked[-1])
    assert (build.share, build.place) == (ANN, asked[-1].request.id)
    assert build.tag > before.tag
    other = queue.farm.build_of(queue.ask(BOB))
    assert other.tag == other.base, "what Bob took back is not held against him"


def test_what_is_cancelled_gives_its_turn_back_to_what_is_asked_for_next() -> None:
    queue = Queue()
    queue.farm.login("anna")
    asked = [queue.ask(ANN) for _ in range(10)]
    for one in asked[1:]:
        queue.farm.cancel(one)
    build = queue.farm.build_of(queue.ask(ANN))
    assert build.tag - build.base == 1.0


def test_a_build_that_is_tried_again_keeps_its_place() -> None:
    queue = Queue()
    queue.farm.login("anna")
    for _ in range(3):
        queue.ask(ANN)
    second = queue.ask(BOB)
    queue.farm.deliver("anna")
    before = queue.farm.build_of(second)
    queue.farm.end("anna", AttemptEnd.RETURNED)
    queue.ask(CID)
    queue.ask(CID)
    after = queue.farm.build_of(second)
    assert (after.tag, after.place, after.share) == (before.tag, before.place, BOB)
    queue.farm.pass_time(POLICY.lost_ttl)
    queue.farm.deliver("anna")
    assert queue.charged() == BOB


def test_a_restart_changes_nothing_in_the_order() -> None:
    def order(restart: bool) -> list[str]:
        queue = Queue(Weights())
        queue.farm.login("anna")
        for email, count in ((ANN, 7), (BOB, 4), (CID, 2)):
            for _ in range(count):
                queue.ask(email, nice=len(email) % 2)
        found = [queue.next() for _ in range(3)]
        if restart:
            held = [Held(*key) for key in queue.farm.broker.state.slots.attempts_of["anna"]]
            queue.farm.broker.crash()
            queue.farm.login("anna", held=held)
        queue.ask("dora@example.org")
        queue.ask(BOB)
        return [*found, *(queue.next() for _ in range(11))]

    assert order(restart=True) == order(restart=False)


def test_what_only_one_machine_can_make_goes_before_what_others_can_make_too() -> None:
    queue = Queue()
    queue.farm.login("anna", machine(cross=("ppc",)))
    queue.farm.login("bert")
    for _ in range(8):
        queue.ask(ANN)
    lone = queue.ask(ANN, platform=PPC)
    queue.farm.deliver("anna")
    assert queue.farm.running_on(lone) == "anna"


def test_what_others_can_make_too_is_not_kept_waiting_for_ever_by_what_only_one_machine_can_make() -> None:
    queue = Queue()
    queue.farm.login("anna", machine(cross=("ppc",)))
    queue.farm.login("bert")
    queue.ask(CID)
    queue.ask(CID)
    for _ in range(100):
        queue.ask(ANN, platform=PPC)
    waits = queue.ask(BOB)
    for _ in range(40):
        if queue.farm.running_on(waits):
            return
        queue.next()
    raise AssertionError("it starved")


def test_nobody_goes_before_what_no_other_machine_takes_at_present() -> None:
    queue = Queue()
    queue.farm.login("anna", machine(cross=("ppc",)))
    queue.farm.login("bert")
    queue.farm.send(ServerPaused("bert", "by hand"))
    first = queue.ask(ANN)
    second = queue.ask(ANN)
    queue.ask(ANN, platform=PPC)
    assert queue.farm.running_on(first) == "anna"
    queue.farm.deliver("anna")
    assert queue.farm.running_on(second) == "anna"


def test_who_is_nice_is_built_for_after_others_and_what_an_operator_raised_before_them() -> None:
    queue = Queue()
    queue.farm.login("anna")
    queue.ask(CID)
    queue.ask(ANN, nice=2)
    for _ in range(3):
        queue.ask(BOB)
    raised = queue.ask(BOB, nice=-NICE_MOST)
    assert isinstance(raised, Queued)
    served = [queue.next() for _ in range(5)]
    assert served[0] == BOB
    assert served.index(ANN) >= 3


def test_requests_that_joined_what_came_to_nothing_take_turns_of_their_own() -> None:
    """Many who joined one build by range are admitted anew together: they do not all stand where the first would."""
    queue = Queue()
    farm = queue.farm
    farm.login("anna")
    farm.ask(spec(1), email=ANN)
    anew = [farm.ask(spec(number), email=ANN, near=4) for number in (0, 2, 3)]
    assert {farm.request(one).joined for one in anew} == {JoinReason.RANGE}
    queue.ask(BOB)
    farm.fail("anna")
    tags = sorted(farm.build_of(one).tag for one in anew)
    assert tags[2] - tags[0] > 1.9
