"""What build servers tell, before any of it reaches the broker: bounded and sensible, or refused in one line."""

import math
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.settings import Settings
from buildtool.errors import Fenced, NameTaken, NotFound, Overloaded, UnsafeArchive, UsageError
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.build_servers import (
    ANNOUNCED_MOST,
    CAPABILITY_LIMIT,
    OFFERS_A_MARK,
    OWNER_CHANGES,
    WORD_LIMIT,
    BuildServerService,
)
from buildtool.metaserver.problems import FLAPS, TOLD_FOR
from buildtool.metaserver.ticket_office import TicketOffice
from buildtool.model.incarnations import Keys
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.model.records import Artifact, Attempt, AttemptEnd, AttemptState
from buildtool.model.servers import Capability, Held, Offer, OfferKind, OwnerNotice, ProjectSkill, Server, Verdict
from buildtool.model.tickets import TicketKind, read
from buildtool.protocol.messages import (
    AbortOrder,
    Done,
    Ended,
    Heartbeat,
    HeartbeatAnswer,
    Ok,
    Order,
    Register,
    RenewTickets,
    Welcome,
)
from buildtool.scheduling.effects import RequestMoved
from buildtool.scheduling.events import AttemptAccepted, Disconnected
from buildtool.scheduling.servers.names import KNOWN
from buildtool.scheduling.state.lease_table import LEASE
from buildtool.scheduling.state.state import State
from tests.fakes_build import project
from tests.scheduling.worlds import POLICIES, machine, submitted
from tests.support.logs import listening
from tests.support.memory import MemoryFiles, MemoryStore, Performed, WallClock

T = TypeVar("T")
DIGEST = "d" * 64
STRANGER = Principal(PrincipalRole.BUILD_SERVER)


def anna(session: int, name: str = "anna") -> Principal:
    """Return a build server that has registered."""
    return Principal(PrincipalRole.BUILD_SERVER, name, session=session)


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
class Links:
    """``ports.BuildServers`` whose machines have been silent for so long when they are asked."""

    silent: float = math.inf
    asked: list[tuple[str, int]] = field(factory=list)

    def dispatch(self, server: str, session: int, order: Order) -> None:
        """Send nothing."""

    def abort(self, server: str, session: int, order: AbortOrder) -> None:
        """Send nothing."""

    def fence(self, server: str, session: int) -> None:
        """Close nothing."""

    async def silence(self, server: str, session: int) -> float:
        self.asked.append((server, session))
        return self.silent


@define
class World:
    """A service over a broker and in-memory stores."""

    store: MemoryStore = field(factory=MemoryStore)
    links: Links = field(factory=Links)
    files: MemoryFiles = field(factory=MemoryFiles)
    performed: Performed = field(factory=Performed)
    broker: Broker = field(init=False)
    service: BuildServerService = field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = WallClock()
        self.broker = Broker(State(POLICIES), self.store, clock, Clock(), self.files, self.performed)
        assert Deferred.fromCoroutine(self.broker.start()).called
        configuration = CurrentConfiguration(settings())
        tickets = TicketOffice(configuration, clock, Keys(b"k" * 32))
        self.service = BuildServerService(configuration, self.broker, self.files, tickets, self.links)


class RegisteringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def register(self, name: str, capability: Capability) -> Deferred[Welcome]:
        return Deferred.fromCoroutine(self.world.service.register(STRANGER, Register(name, capability)))

    def refused(self, name: str, capability: Capability) -> str:
        return str(self.failureResultOf(self.register(name, capability), UsageError).value)

    def known(self, by: Principal) -> Capability:
        """Log in, and return what is kept of what was announced."""
        welcome = self.world.service.register(by, Register(by.name, machine()))
        self.successResultOf(Deferred.fromCoroutine(welcome))
        return self.world.broker.state.servers[by.name].capability

    def test_a_key_builds_what_it_is_limited_to_and_it_is_kept_whose_machine_it_is(self) -> None:
        offered = machine()
        names = [skill.project for skill in offered.skills]
        by = Principal(PrincipalRole.BUILD_SERVER, "attic", owner="ann@example.org")
        assert self.known(by) == offered
        assert self.world.broker.state.servers["attic"].owner == "ann@example.org"
        assert self.known(evolve(by, limits=Scope(projects=(names[0],)))).skills == offered.skills[:1]
        assert self.known(evolve(by, limits=Scope(projects=("other",)))).skills == ()
        platform = dict(offered.offers[0].platform)
        assert self.known(evolve(by, limits=Scope(platforms=(str(platform["arch"]),)))) == offered
        assert self.known(evolve(by, limits=Scope(platforms=("m68k",)))).offers == ()

    def test_a_capability_longer_than_any_machines_is_refused(self) -> None:
        """It would stay in memory, in the database and on the pages, for every name that a peer makes up."""
        words = tuple((f"property{number}", "x" * 300) for number in range(100))
        long = evolve(machine(), offers=(Offer(words),) * 4)
        assert str(CAPABILITY_LIMIT) in self.refused("anna", long)
        assert self.world.broker.state.servers == {}

    def test_more_members_of_one_kind_than_any_machine_has_are_refused(self) -> None:
        """They are looked through when builds are given out, for every build server that is connected."""
        many = tuple((f"p{number}", number) for number in range(ANNOUNCED_MOST + 1))
        tools = tuple((name, "x") for name, _ in many)
        skills = tuple(ProjectSkill(name, 1, "") for name, _ in many)
        words = tuple(name for name, _ in many)
        for changed, what in (
            (evolve(machine(), machine=many), "properties of its machine"),
            (evolve(machine(), offers=(Offer(many),)), "properties of a platform"),
            (evolve(machine(), offers=(Offer((), OfferKind.NATIVE, tools),)), "tools of an offer"),
            (evolve(machine(), skills=skills), "projects"),
            (evolve(machine(), machine=(("tools", words),)), "members of one property"),
        ):
            assert f"at most {ANNOUNCED_MOST} {what}, not {ANNOUNCED_MOST + 1}" in self.refused("anna", changed)

    def test_of_one_os_arch_and_libc_so_many_offers_are_used_native_ones_first_and_the_log_says_so(self) -> None:
        def offer(number: int, kind: OfferKind = OfferKind.CROSS, arch: str = "ppc") -> Offer:
            return Offer((("arch", arch), ("libc", "glibc"), ("libc_version", f"2.{number}"), ("os", "linux")), kind)

        offers = (*(offer(number) for number in range(20)), offer(99, OfferKind.NATIVE), offer(0, arch="x86_64"))
        with listening() as said:
            self.successResultOf(self.register("anna", evolve(machine(), offers=offers)))
        used = self.world.broker.state.servers["anna"].capability.offers
        assert used == (*offers[: OFFERS_A_MARK - 1], *offers[20:])
        (line,) = [one for one in said if "are not used" in one]
        assert line == f"anna offers more than {OFFERS_A_MARK} platforms of one os, arch and libc: 13 are not used"

    def test_a_value_that_nobody_can_read_is_refused(self) -> None:
        """Requesters are quoted what a machine has, in the reasons why their builds wait."""
        for value in ("9" * (WORD_LIMIT + 1), ("gcc", "g" * (WORD_LIMIT + 1))):
            odd = evolve(machine(), machine=(("tools", value),))
            assert str(WORD_LIMIT) in self.refused("anna", odd)

    def test_no_more_than_so_many_names_are_remembered_and_known_ones_come_back(self) -> None:
        state = self.world.broker.state
        now = self.world.broker.clock.wall()
        state.load(Server(f"s{number}", 1, machine(), True, now, now, used_at=now) for number in range(KNOWN))
        said = str(self.failureResultOf(self.register("one-more", machine()), Overloaded).value)
        assert str(KNOWN) in said
        assert "bin/metaserver forget SERVER" in said
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(Disconnected("s7", 1, "gone"))))
        assert self.successResultOf(self.register("s7", machine())).session == 2
        assert len(state.servers) == KNOWN

    def test_what_a_server_brings_back_is_judged_renewed_and_said_in_the_log(self) -> None:
        self.successResultOf(self.register("anna", machine()))
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(submitted("a"))))
        held = (Held(1, 1), Held(9, 1))
        with listening() as said:
            again = Deferred.fromCoroutine(self.world.service.register(STRANGER, Register("anna", machine(), held)))
            welcome = self.successResultOf(again)
        assert [one.verdict for one in welcome.verdicts] == [Verdict.GO_ON, Verdict.DROP]
        assert "build server anna connected, session 2; builds that it has: 2, that go on: 1" in said
        beat = self.world.service.heartbeat(anna(2), Heartbeat(held[:1]))
        assert self.successResultOf(Deferred.fromCoroutine(beat)) == HeartbeatAnswer()
        late = self.world.service.heartbeat(anna(1), Heartbeat(held[:1]))
        self.failureResultOf(Deferred.fromCoroutine(late), Fenced)

    def test_an_owner_who_comes_and_goes_without_end_is_heard_of_now_and_then_and_at_last(self) -> None:
        """Each change is committed, and told to everybody who follows the build: a peer causes so many, and no more."""
        self.successResultOf(self.register("anna", machine()))
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(submitted("a"))))
        timers, state = self.world.broker.timers, self.world.broker.state
        assert isinstance(timers, Clock)

        def beat(*, frozen: bool) -> None:
            notice = OwnerNotice("its owner is there") if frozen else OwnerNotice()
            message = Heartbeat((Held(1, 1, frozen=frozen),), notice)
            heard = self.world.service.heartbeat(anna(1), message)
            assert self.successResultOf(Deferred.fromCoroutine(heard)) == HeartbeatAnswer()

        performed = self.world.performed
        before = len(performed.effects)
        with listening() as said:
            for number in range(1_000):
                beat(frozen=number % 2 == 0)
        moved = [one for one in performed.effects[before:] if isinstance(one, RequestMoved)]
        assert 0 < len(moved) <= OWNER_CHANGES.at_once + 1
        assert len(said) <= OWNER_CHANGES.at_once
        timers.advance(60.0)
        beat(frozen=True)
        assert state.servers["anna"].closed == "its owner is there"
        assert state.attempts[1, 1].frozen_at is not None
        timers.advance(60.0)
        beat(frozen=False)
        assert not state.servers["anna"].closed
        assert not any(attempt.frozen_at for attempt in state.attempts.values())

    def test_a_ticket_for_a_commit_is_given_to_whose_attempt_it_is_and_only_if_it_is_asked_for(self) -> None:
        self.successResultOf(self.register("anna", machine()))
        self.successResultOf(Deferred.fromCoroutine(self.world.broker.send(submitted("a"))))
        self.world.service.configuration.settings = evolve(settings(), projects=(project(name="lua"),))
        renew, key = self.world.service.renew, Keys(b"k" * 32).build(1)
        plain = self.successResultOf(Deferred.fromCoroutine(renew(anna(1), RenewTickets(1, 1))))
        assert plain.source_ticket == ""
        told = self.successResultOf(Deferred.fromCoroutine(renew(anna(1), RenewTickets(1, 1, source=True))))
        ticket = read(told.source_ticket, key, 0.0)
        assert (ticket.kind, ticket.build_id, ticket.epoch) == (TicketKind.SOURCE, 1, 1)
        for server, session, epoch in (("bert", 1, 1), ("anna", 2, 1), ("anna", 1, 2)):
            asked = Deferred.fromCoroutine(renew(anna(session, server), RenewTickets(1, epoch, source=True)))
            self.failureResultOf(asked, NotFound)

    def test_more_than_a_server_can_have_or_the_same_twice_is_refused(self) -> None:
        for held in ((Held(1, 1), Held(1, 1)), tuple(Held(number, 1) for number in range(513))):
            register = Deferred.fromCoroutine(self.world.service.register(STRANGER, Register("anna", machine(), held)))
            assert "each once" in str(self.failureResultOf(register, UsageError).value)

    @given(st.sampled_from(["", "-x", "a/b", "..", "a b", "a\n", "é", "a" * 64]))
    def test_a_name_that_could_not_be_a_files_is_refused(self, name: str) -> None:
        assert "not usable" in self.refused(name, machine())


class TwinTests(SynchronousTestCase):
    """Two machines under one name, as the metaserver sees them: the second is refused while the first is there."""

    def setUp(self) -> None:
        self.world = World()
        self.login("attic", "first", "192.0.2.1")

    def ask(self, name: str, instance: str, where: str) -> Deferred[Welcome]:
        by = evolve(STRANGER, address=where)
        return Deferred.fromCoroutine(self.world.service.register(by, Register(name, machine(), (), instance)))

    def login(self, name: str, instance: str, where: str) -> Welcome:
        return self.successResultOf(self.ask(name, instance, where))

    def refused(self, name: str, instance: str, where: str) -> str:
        return str(self.failureResultOf(self.ask(name, instance, where), NameTaken).value)

    def test_a_twin_is_told_who_has_the_name_from_where_since_when_and_what_to_do(self) -> None:
        self.world.links.silent = 0.0
        said = self.refused("attic", "second", "192.0.2.2")
        assert said == (
            "another machine is build server attic: it has been connected from 192.0.2.1 for less than 1 s; give this "
            "one a name of its own with --name"
        )
        assert self.world.broker.state.servers["attic"].session == 1
        assert self.world.links.asked == [("attic", 1)]

    def test_the_same_machine_takes_over_after_three_seconds_and_another_after_half_a_lease(self) -> None:
        for instance, silent, taken in (
            ("first", 0.0, False), ("first", 2.9, False), ("first", 3.0, True), ("second", 3.0, False),
            ("second", LEASE / 2 - 0.1, False), ("second", LEASE / 2, True), ("", 3.0, False),
        ):  # fmt: skip
            self.setUp()
            self.world.links.silent = silent
            if taken:
                assert self.login("attic", instance, "192.0.2.2").session == 2
            else:
                self.refused("attic", instance, "192.0.2.2")

    def test_two_of_the_first_version_do_not_cut_each_other_off(self) -> None:
        self.login("old", "", "192.0.2.1")
        self.world.links.silent = 3.0
        self.refused("old", "", "192.0.2.2")

    def test_the_operator_is_told_as_long_as_it_goes_on_and_the_log_once_from_where(self) -> None:
        self.world.links.silent = 0.0
        assert self.world.service.problems() == ()
        with listening() as said:
            for _ in range(3):
                self.refused("attic", "second", "192.0.2.2")
        (line,) = [line for line in said if "another machine wants that name" in line]
        assert "from 192.0.2.2" in line
        assert "from 192.0.2.1 since" in line
        (problem,) = self.world.service.problems()
        assert "two machines call themselves attic, and the second is turned away" in problem
        assert "192.0.2" not in problem, "the pages show it to everybody"
        timers = self.world.broker.timers
        assert isinstance(timers, Clock)
        timers.advance(TOLD_FOR)
        assert self.world.service.problems() == ()

    def test_a_machine_that_does_not_stay_is_a_problem_too(self) -> None:
        for _ in range(FLAPS):
            self.login("attic", "first", "192.0.2.1")
        (problem,) = self.world.service.problems()
        assert f"build server attic does not stay: it logged in {FLAPS} times" in problem

    def test_an_instance_is_kept_as_a_digest_only_and_shown_nowhere(self) -> None:
        secret = "s" * 64
        with listening() as said:
            self.login("bert", secret, "192.0.2.1")
        (row,) = [row for row in self.world.store.all(Server) if row.name == "bert"]
        assert row.instance == sha256(secret.encode()).hexdigest()
        assert secret not in repr(Register("bert", machine(), (), secret))
        assert not [line for line in said if secret in line or row.instance in line]


class DeliveringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        welcome = Deferred.fromCoroutine(self.world.service.register(STRANGER, Register("anna", machine())))
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
        told = Deferred.fromCoroutine(self.world.service.done(anna(self.session), done))
        assert "seconds" in str(self.failureResultOf(told, UsageError).value)
        assert self.world.store.all(Artifact) == []

    def test_a_build_took_no_longer_than_it_was_seen_to_take(self) -> None:
        """Whoever said a year could have others wait for a better machine for as long."""
        timers = self.world.broker.timers
        assert isinstance(timers, Clock)
        timers.advance(2.5)
        done = Done(self.attempt.build_id, self.attempt.epoch, DIGEST, DIGEST, 10, "x.zip", 300 * 86_400.0, "")
        self.successResultOf(Deferred.fromCoroutine(self.world.service.done(anna(self.session), done)))
        (artifact,) = self.world.store.all(Artifact)
        assert artifact.seconds == 2.5

    def test_processor_seconds_that_no_build_uses_are_refused_with_either_end(self) -> None:
        """They are added up for good."""
        key = (self.attempt.build_id, self.attempt.epoch)
        for wrong in (-0.5, 1e300):
            done = Done(*key, DIGEST, DIGEST, 10, "x.zip", 1.0, "", processor=wrong)
            ended = Ended(*key, AttemptEnd.FAILED, "it broke", "", processor=wrong)
            service, by = self.world.service, anna(self.session)
            for telling in (service.done(by, done), service.ended(by, ended)):
                refused = self.failureResultOf(Deferred.fromCoroutine(telling), UsageError)
                assert "seconds of processors" in str(refused.value)
        assert self.world.broker.state.attempts[key].state is AttemptState.BUILDING

    def test_who_delivers_what_could_do_harm_ends_the_attempt_as_a_broken_machine(self) -> None:
        """It need not say so itself: a hostile one would not."""
        self.world.files.trouble = UnsafeArchive("'../x' in it may harm")
        done = Done(self.attempt.build_id, self.attempt.epoch, DIGEST, DIGEST, 10, "x.zip", 1.0, "")
        with listening() as said:
            told = Deferred.fromCoroutine(self.world.service.done(anna(self.session), done))
        self.failureResultOf(told, UnsafeArchive)
        assert said == ["build 1.1: the artifact of anna is refused: '../x' in it may harm"]
        assert self.world.store.all(Artifact) == []
        (ended,) = self.world.store.all(Attempt)
        assert ended.end is AttemptEnd.BROKEN
        assert ended.reason == "anna delivered an artifact that is refused: '../x' in it may harm"
        self.world.files.trouble = None
        again = Deferred.fromCoroutine(self.world.service.done(anna(self.session), done))
        assert self.successResultOf(again) == Ok(stale=True)

    def test_a_decline_is_logged_once_with_its_reason(self) -> None:
        """The owner of a farm sees who says no to what, without asking for each build."""
        key = (self.attempt.build_id, self.attempt.epoch)
        for expected in (["build 1.1 of lua declined by anna: busy until Monday"], []):
            with listening() as said:
                ended = Ended(*key, AttemptEnd.REFUSED, "busy until Monday", "")
                self.successResultOf(Deferred.fromCoroutine(self.world.service.ended(anna(self.session), ended)))
            assert said == expected


@given(st.sampled_from(["anna", "eve", ""]), st.integers(0, 3), st.integers(1, 2), st.integers(0, 2))
def test_a_build_server_acts_only_for_the_attempts_of_its_own_session_whatever_it_claims(
    name: str, session: int, build_id: int, epoch: int
) -> None:
    world = World()
    for one in ("eve", "anna"):
        opened = Deferred.fromCoroutine(world.service.register(STRANGER, Register(one, machine(memory=4096))))
        assert opened.called
    assert Deferred.fromCoroutine(world.broker.send(submitted("client1"))).called
    (attempt,) = world.broker.state.attempts.values()
    by = Principal(PrincipalRole.BUILD_SERVER, name, session=session)
    if (name, session, build_id, epoch) == (attempt.server, attempt.session, *attempt.key):
        return
    told: list[object] = []
    ended = Ended(build_id, epoch, AttemptEnd.FAILED, "it says so", "")
    done = Done(build_id, epoch, "a" * 64, "b" * 64, 1, "a.zip", 1.0, "")
    for act in (world.service.ended(by, ended), world.service.done(by, done)):
        Deferred.fromCoroutine(act).addBoth(told.append)
    assert told == [Ok(stale=True), Ok(stale=True)]
    refused: list[Failure] = []
    Deferred.fromCoroutine(world.service.renew(by, RenewTickets(build_id, epoch))).addErrback(refused.append)
    assert [one.type for one in refused] == [NotFound]
    assert list(world.broker.state.attempts.values()) == [attempt]
