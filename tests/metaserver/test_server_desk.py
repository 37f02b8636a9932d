"""What build servers tell, before any of it reaches the broker: bounded and sensible, or refused in one line."""

from pathlib import Path
from typing import TypeVar

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.domain.incarnations import Keys
from buildtool.domain.messages import AttemptAccepted
from buildtool.domain.model import Artifact, Attempt, AttemptEnd, Capability, Held, Offer, Server, Verdict
from buildtool.domain.state import State
from buildtool.domain.tickets import TicketKind, read
from buildtool.errors import Fenced, NotFound, UsageError
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.server_desk import CAPABILITY_LIMIT, KNOWN_SERVERS, WORD_LIMIT, ServerDesk, TicketOffice
from buildtool.protocol import Done, Ended, Heard, Heartbeat, Register, RenewTickets, Welcome
from buildtool.settings import Settings
from tests.domain.worlds import POLICIES, machine, submitted
from tests.fakes_build import project
from tests.support.logs import listening
from tests.support.memory import MemoryFiles, MemoryStore, Performed, WallClock

T = TypeVar("T")
DIGEST = "d" * 64


def settings() -> Settings:
    """A deployment without projects: what is looked at here does not depend on them."""
    here = Path("/farm")
    return Settings(
        path=here / "config.py",
        host="127.0.0.1",
        bind="127.0.0.1",
        pb_port=1,
        transfer_port=2,
        web_port=3,
        public_url="http://farm.example",
        transfer_url="http://files.example",
        state_dir=here,
        build_dir=here,
        mail=None,
        projects=(),
    )


@define
class World:
    """A desk over a broker and in-memory stores."""

    store: MemoryStore = field(factory=MemoryStore)
    files: MemoryFiles = field(factory=MemoryFiles)
    broker: Broker = field(init=False)
    desk: ServerDesk = field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = WallClock()
        self.broker = Broker(State(POLICIES), self.store, clock, Clock(), self.files, Performed())
        assert Deferred.fromCoroutine(self.broker.start()).called
        self.desk = ServerDesk(settings(), self.broker, self.files, TicketOffice(settings(), clock, Keys(b"k" * 32)))


class RegisteringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def register(self, name: str, capability: Capability) -> Deferred[Welcome]:
        return Deferred.fromCoroutine(self.world.desk.register(Register(name, capability)))

    def refused(self, name: str, capability: Capability) -> str:
        return str(self.failureResultOf(self.register(name, capability), UsageError).value)

    def test_a_capability_longer_than_any_machines_is_refused(self) -> None:
        """It would stay in memory, in the database and on the pages, for every name that a peer makes up."""
        words = tuple((f"property{number}", "x" * 300) for number in range(100))
        long = evolve(machine(), offers=(Offer(words),) * 4)
        assert str(CAPABILITY_LIMIT) in self.refused("anna", long)
        assert self.world.broker.state.servers == {}

    def test_a_value_that_nobody_can_read_is_refused(self) -> None:
        """Requesters are quoted what a machine has, in the reasons why their builds wait."""
        for value in ("9" * (WORD_LIMIT + 1), ("gcc", "g" * (WORD_LIMIT + 1))):
            odd = evolve(machine(), machine=(("tools", value),))
            assert str(WORD_LIMIT) in self.refused("anna", odd)

    def test_no_more_than_so_many_names_are_remembered_and_known_ones_come_back(self) -> None:
        state = self.world.broker.state
        state.load(Server(f"s{number}", 1, machine(), False, 0.0, 0.0) for number in range(KNOWN_SERVERS))
        assert str(KNOWN_SERVERS) in self.refused("one-more", machine())
        assert self.successResultOf(self.register("s7", machine())).session == 2
        assert len(state.servers) == KNOWN_SERVERS

    def test_what_a_server_brings_back_is_judged_renewed_and_said_in_the_log(self) -> None:
        self.successResultOf(self.register("anna", machine()))
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(submitted("a"))))
        held = (Held(1, 1), Held(9, 1))
        with listening() as said:
            again = Deferred.fromCoroutine(self.world.desk.register(Register("anna", machine(), held)))
            welcome = self.successResultOf(again)
        assert [one.verdict for one in welcome.verdicts] == [Verdict.GO_ON, Verdict.DROP]
        assert "build server anna connected, session 2; of the 2 builds that it has 1 go on" in said
        beat = self.world.desk.heartbeat("anna", 2, Heartbeat(held[:1]))
        assert self.successResultOf(Deferred.fromCoroutine(beat)) == Heard()
        late = self.world.desk.heartbeat("anna", 1, Heartbeat(held[:1]))
        self.failureResultOf(Deferred.fromCoroutine(late), Fenced)

    def test_a_ticket_for_a_commit_is_given_to_whose_attempt_it_is_and_only_if_it_is_asked_for(self) -> None:
        self.successResultOf(self.register("anna", machine()))
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(submitted("a"))))
        self.world.desk.tickets.settings = evolve(settings(), projects=(project(name="lua"),))
        renew, key = self.world.desk.renew, Keys(b"k" * 32).build(1)
        plain = self.successResultOf(Deferred.fromCoroutine(renew("anna", 1, RenewTickets(1, 1))))
        assert plain.source_ticket == ""
        told = self.successResultOf(Deferred.fromCoroutine(renew("anna", 1, RenewTickets(1, 1, source=True))))
        ticket = read(told.source_ticket, key, 0.0)
        assert (ticket.kind, ticket.build_id, ticket.epoch) == (TicketKind.SOURCE, 1, 1)
        for server, session, epoch in (("bert", 1, 1), ("anna", 2, 1), ("anna", 1, 2)):
            asked = Deferred.fromCoroutine(renew(server, session, RenewTickets(1, epoch, source=True)))
            self.failureResultOf(asked, NotFound)

    def test_more_than_a_server_can_have_or_the_same_twice_is_refused(self) -> None:
        for held in ((Held(1, 1), Held(1, 1)), tuple(Held(number, 1) for number in range(513))):
            register = Deferred.fromCoroutine(self.world.desk.register(Register("anna", machine(), held)))
            assert "each once" in str(self.failureResultOf(register, UsageError).value)

    @given(st.sampled_from(["", "-x", "a/b", "..", "a b", "a\n", "é", "a" * 64]))
    def test_a_name_that_could_not_be_a_files_is_refused(self, name: str) -> None:
        assert "not usable" in self.refused(name, machine())


class DeliveringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        welcome = Deferred.fromCoroutine(self.world.desk.register(Register("anna", machine())))
        session = self.successResultOf(welcome).session
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(submitted("a"))))
        (attempt,) = self.world.broker.state.attempts.values()
        assert isinstance(attempt, Attempt)
        self.session, self.attempt = session, attempt
        accepted = AttemptAccepted("anna", session, attempt.build_id, attempt.epoch)
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(accepted)))

    @given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda seconds: not 0 <= seconds <= 366 * 86_400))
    def test_a_duration_that_no_build_has_is_refused(self, seconds: float) -> None:
        """It stands in the mail and on the pages, and estimates are made of it."""
        done = Done(self.attempt.build_id, self.attempt.epoch, DIGEST, DIGEST, 10, "x.zip", seconds, "")
        told = Deferred.fromCoroutine(self.world.desk.done("anna", self.session, done))
        assert "seconds" in str(self.failureResultOf(told, UsageError).value)
        assert self.world.store.all(Artifact) == []

    def test_a_decline_is_logged_once_with_its_reason(self) -> None:
        """The owner of a farm sees who says no to what, without asking for each build."""
        key = (self.attempt.build_id, self.attempt.epoch)
        for expected in (["build 1.1 of lua declined by anna: busy until Monday"], []):
            with listening() as said:
                ended = Ended(*key, AttemptEnd.REFUSED, "busy until Monday", "")
                self.successResultOf(Deferred.fromCoroutine(self.world.desk.ended("anna", self.session, ended)))
            assert said == expected
