"""What is taken of whom: limits that one caller reaches for itself only, and requests that wait for a confirmation."""

from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.key_settings import Trusted
from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import LimitReached, StorageUnavailable, Unauthorised, UsageError
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.access.mailed_codes import MailedCodes, open_codes
from buildtool.metaserver.access.tokens import TokenService
from buildtool.metaserver.access.visiting import LocalQuestions, VisitorService
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.explanations import Explainer
from buildtool.metaserver.request_status import PublicUrls, RequestStatusReader
from buildtool.metaserver.requests import RequestService
from buildtool.model.access.ceilings import NO_CEILINGS, USUAL_CEILINGS, Ceilings, Counted, Most
from buildtool.model.access.confirmation import DAY, MailDomains, mail_code
from buildtool.model.access.rights import RIGHTS
from buildtool.model.incarnations import Keys
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Mail, Request, RequestState
from buildtool.programs.startcompile.logging_in import code_words
from buildtool.protocol.enrolment import AskCode, CodeMailed, ShowCode
from buildtool.protocol.messages import AskWhy, Cancel, RequestStatus, Submit
from buildtool.scheduling.allowances import Allowances, Counting
from buildtool.scheduling.events import Tick
from buildtool.scheduling.state.state import State
from tests.fakes_build import project
from tests.metaserver.test_build_servers import settings
from tests.metaserver.test_requests import Resolver
from tests.support.memory import MemoryFiles, MemoryStore, Performed, WallClock

SECRET = b"k" * 32
ANN, BEN = "ann@example.org", "ben@example.org"
KEYED = Principal(PrincipalRole.REQUESTER, "ann-1", "192.0.2.1", key="ab", owner=ANN)
STRANGER = Principal(PrincipalRole.JOINING, address="198.51.100.9")

FOR_ANYBODY = RIGHTS.with_changes({"requester": {"submit": "all"}})
"""The table of rights where a key may ask in the name of others than its owner."""

T = TypeVar("T")


@define
class Nudged:
    """A ``ports.Notifier`` that counts."""

    count: int = 0

    def nudge(self, targets: Collection[str] = ()) -> None:
        self.count += 1


@define
class World:
    """A service whose requesters have keys, with mail, over stores in memory; ``restart`` begins anew over its rows."""

    ceilings: Ceilings = NO_CEILINGS
    store: MemoryStore = field(factory=MemoryStore)
    wall: WallClock = field(factory=WallClock)
    clock: Clock = field(factory=Clock)
    mailer: Nudged = field(factory=Nudged)
    secret: bytes = SECRET
    deployment: CurrentConfiguration = field(init=False)
    broker: Broker = field(init=False)
    codes: MailedCodes = field(init=False)
    admittance: Admittance = field(init=False)
    service: RequestService = field(init=False)

    def __attrs_post_init__(self) -> None:
        mail = MailSettings(host="127.0.0.1", port=25, sender="farm@example.org")
        self.deployment = CurrentConfiguration(
            evolve(settings(), projects=(project(),), mail=mail, trusted=Trusted.NOBODY, rights=FOR_ANYBODY)
        )
        self.restart()

    def restart(self) -> None:
        one = project()
        self.broker = Broker(
            State({one.name: one.scheduling()}), self.store, self.wall, self.clock, MemoryFiles(), Performed()
        )
        done(self.broker.start())
        allowances = Allowances(self.ceilings)
        self.codes = done(
            open_codes(
                MailedCodes(
                    self.deployment,
                    self.store,
                    self.wall,
                    self.clock.seconds,
                    self.mailer,
                    allowances,
                    self.secret,
                    "life",
                )
            )
        )
        self.admittance = Admittance(self.broker, allowances, self.codes)
        reader = RequestStatusReader(
            self.broker.state, self.store, PublicUrls(self.deployment), Keys(SECRET), self.wall.wall
        )
        explainer = Explainer(self.broker.state, self.store, reader)
        self.service = RequestService(
            self.deployment, self.broker, self.store, Resolver(), reader, explainer, self.broker,
            admittance=self.admittance,
        )  # fmt: skip
        done(self.admittance.settle())

    def submit(self, number: int, email: str, by: Principal = KEYED) -> Coroutine[Any, Any, RequestStatus]:
        return self.service.submit(by, Submit(f"{number:032x}", "paint", email, "", "", "", {}, {}, {}))

    def wait(self, seconds: float) -> None:
        self.wall.now += seconds
        self.clock.advance(seconds)

    def mails(self) -> list[Mail]:
        return [row for row in self.store.rows.values() if isinstance(row, Mail)]

    def requests(self) -> list[Request]:
        return [row for row in self.store.rows.values() if isinstance(row, Request)]

    def code(self) -> str:
        """The code that was mailed last."""
        mail = max(self.mails(), key=lambda one: one.created_at)
        return mail_code(self.secret, mail.email, mail.created_at)


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine that waits for nothing returns."""
    found: list[T] = []
    Deferred.fromCoroutine(coroutine).addCallback(found.append)
    (one,) = found
    return one


def test_addresses_that_nobody_confirmed_share_the_turns_of_their_network_and_others_have_their_own() -> None:
    world = World()
    neighbours = [
        Principal(PrincipalRole.VISITOR, address=address) for address in ("192.0.2.7", "192.0.2.200", "203.0.113.9")
    ]
    shares = [world.admittance.share(one, f"invented{number}@example.net") for number, one in enumerate(neighbours)]
    assert shares == ["192.0.2.0/24", "192.0.2.0/24", "203.0.113.0/24"]
    assert world.admittance.share(KEYED, "somebody@example.net") == ANN
    here = Principal(PrincipalRole.VISITOR, address="127.0.0.1")
    assert world.admittance.share(here, "Invented@example.net") == "invented@example.net"
    trusted = Principal(PrincipalRole.REQUESTER, address="192.0.2.7", trusted=True)
    assert world.admittance.share(trusted, BEN) == BEN


class Tests(SynchronousTestCase):
    def refused(self, coroutine: Coroutine[Any, Any, object], kind: type[Exception]) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(coroutine), kind).value)

    def test_a_request_for_an_unconfirmed_address_waits_for_its_code_whatever_is_restarted(self) -> None:
        world = World()
        told = done(world.submit(1, BEN))
        assert (told.answer, told.state, told.build_id) == ("unconfirmed", "waiting", None)
        assert "confirmed" in told.reason
        why = done(world.service.why(KEYED, AskWhy(told.request_id, told.token)))
        assert "confirmed" in why.reason
        assert [(mail.email, mail.purpose, mail.asker) for mail in world.mails()] == [(BEN, "confirm", "192.0.2.1")]
        assert world.mailer.count == 1
        world.restart()
        assert not world.broker.state.builds
        done(world.codes.show(STRANGER, ShowCode(world.code())))
        (request,) = world.requests()
        assert request.state is RequestState.WAITING
        assert request.build_id is not None
        assert request.answer == "confirmed"
        assert request.expires_at > world.wall.wall() + 2 * DAY

    def test_one_mail_a_day_goes_to_an_unconfirmed_address_whatever_networks_ask(self) -> None:
        world = World()
        for number in range(40):
            by = evolve(KEYED, address=f"203.0.{number}.1")
            done(world.submit(number, BEN, by))
            done(world.codes.ask(evolve(STRANGER, address=f"198.51.{number}.1"), AskCode(BEN)))
        assert len(world.mails()) == 1
        world.wait(DAY)
        done(world.submit(100, BEN))
        assert len(world.mails()) == 2
        done(world.codes.show(STRANGER, ShowCode(world.code())))
        assert [one.build_id for one in world.requests() if one.state is RequestState.WAITING] == [1]

    def test_an_address_that_is_the_keys_own_or_configured_needs_no_confirmation(self) -> None:
        world = World()
        assert done(world.submit(1, ANN)).build_id is not None
        assert done(world.submit(2, BEN, Principal(PrincipalRole.OPERATOR, "root"))).build_id is not None
        world.deployment.settings = evolve(world.deployment.settings, confirmed=MailDomains.of(["@example.net"]))
        assert done(world.submit(3, "cid@example.net")).build_id is not None
        assert not world.mails()

    def test_where_all_are_trusted_nothing_waits(self) -> None:
        world = World()
        world.deployment.settings = evolve(world.deployment.settings, trusted=Trusted.LOOPBACK)
        assert done(world.submit(1, BEN)).build_id is not None
        assert not world.mails()

    def test_what_is_not_confirmed_in_time_expires_and_mails_nobody(self) -> None:
        world = World()
        told = done(world.submit(1, BEN))
        world.wait(DAY + 1)
        done(world.broker.send(Tick()))
        (request,) = world.requests()
        assert request.state is RequestState.EXPIRED
        assert "not confirmed" in request.reason
        assert len(world.mails()) == 1
        self.refused(world.codes.show(STRANGER, ShowCode(world.code())), Unauthorised)
        ended = done(world.service.why(KEYED, AskWhy(told.request_id, told.token)))
        assert ended.verdict == "expired"

    def test_who_asked_may_cancel_what_waits_for_the_confirmation(self) -> None:
        world = World()
        told = done(world.submit(1, BEN))
        assert done(world.service.cancel(KEYED, Cancel(told.request_id, told.token))).state == "cancelled"
        done(world.codes.show(STRANGER, ShowCode(world.code())))
        assert not world.broker.state.builds
        assert len(world.mails()) == 1

    def test_other_settings_let_go_what_waits(self) -> None:
        world = World()
        done(world.submit(1, BEN))
        world.deployment.settings = evolve(world.deployment.settings, confirmed=MailDomains.of([BEN]))
        done(world.admittance.reconfigure(NO_CEILINGS))
        assert world.requests()[0].build_id is not None

    def test_a_code_that_could_not_be_kept_was_not_mailed(self) -> None:
        world = World()
        world.store.problems.append(StorageUnavailable("the disk is full"))
        self.refused(world.submit(1, BEN), StorageUnavailable)
        assert (world.mails(), world.mailer.count) == ([], 0)
        done(world.submit(1, BEN))
        assert len(world.mails()) == 1

    def test_a_visitor_of_the_pages_confirms_and_guesses_count_for_their_network(self) -> None:
        world = World(Ceilings(codes_an_hour=Most(None, 2, 5)))
        done(world.submit(1, BEN))
        tokens = TokenService(world.deployment, world.store, world.wall, "life", b"", str, lambda _key: None)
        pages = LocalQuestions(VisitorService(world.deployment, world.service.handlers, world.codes.handlers, tokens))
        for _ in range(2):
            self.refused(pages.confirm("aaaa-bbbb-cccc-dddd", "203.0.113.5"), Unauthorised)
        self.refused(pages.confirm("aaaa-bbbb-cccc-dddd", "203.0.113.5"), LimitReached)
        assert done(pages.confirm(world.code(), "203.0.113.99")) == BEN
        assert world.requests()[0].build_id is not None

    def test_a_code_invites_its_reader_once(self) -> None:
        world = World()
        told = done(world.codes.ask(STRANGER, AskCode(BEN)))
        assert (told.fresh, told.email) == (True, BEN)
        assert "was mailed to ben@example.org" in code_words(told)
        assert "was mailed already" in code_words(done(world.codes.ask(STRANGER, AskCode(BEN))))
        invitation = done(world.codes.invitation(STRANGER, world.code(), used=False))
        assert invitation is not None
        assert (invitation.role, invitation.owner) == (PrincipalRole.REQUESTER, BEN)
        assert invitation.name.startswith("ben-")
        done(world.codes.used(invitation.token))
        assert done(world.codes.invitation(STRANGER, world.code(), used=True)) is None, "a retry finds its own row"
        assert "ask for a new one" in self.refused(
            world.codes.invitation(STRANGER, world.code(), used=False), Unauthorised
        )
        assert done(world.codes.invitation(STRANGER, "t" * 32, used=False)) is None, "the token of an invitation"
        again: CodeMailed = done(world.codes.ask(STRANGER, AskCode(BEN)))
        assert again.fresh, "a confirmed address is mailed again at once"

    def test_after_a_restore_codes_of_before_are_void_and_another_is_mailed(self) -> None:
        world = World()
        done(world.codes.ask(STRANGER, AskCode(BEN)))
        code = world.code()
        world.secret = b"l" * 32
        world.restart()
        self.refused(world.codes.show(STRANGER, ShowCode(code)), Unauthorised)
        world.wait(1)
        assert done(world.codes.ask(STRANGER, AskCode(BEN))).fresh
        self.refused(world.codes.show(STRANGER, ShowCode(code)), Unauthorised)
        done(world.codes.show(STRANGER, ShowCode(world.code())))

    def test_guesses_are_few_and_cost_only_the_network_that_guesses(self) -> None:
        world = World(Ceilings(codes_an_hour=Most(None, 3, 5)))
        done(world.codes.ask(evolve(STRANGER, address="203.0.113.5"), AskCode(BEN)))
        for _ in range(3):
            self.refused(world.codes.show(STRANGER, ShowCode("aaaa-bbbb-cccc-dddd")), Unauthorised)
        told = self.refused(world.codes.show(STRANGER, ShowCode("aaaa-bbbb-cccc-dddd")), LimitReached)
        assert "3 codes by mail an hour from 198.51.100.9" in told
        done(world.codes.show(evolve(STRANGER, address="203.0.113.5"), ShowCode(world.code())))

    def test_a_thousand_strangers_with_invented_addresses_keep_nobody_from_logging_in(self) -> None:
        world = World(USUAL_CEILINGS)
        refused = 0
        for number in range(1_000):
            stranger = evolve(STRANGER, address=f"198.51.100.{number % 256}")
            told: list[object] = []
            asked = world.codes.ask(stranger, AskCode(f"victim{number}@example.org"))
            Deferred.fromCoroutine(asked).addBoth(told.append)
            refused += isinstance(told[0], Failure) and told[0].check(LimitReached) is not None
        assert refused == 970, "a network has 30 codes an hour"
        assert len(world.mails()) == 30
        honest = evolve(STRANGER, address="203.0.113.5")
        assert done(world.codes.ask(honest, AskCode(BEN))).fresh
        assert done(world.submit(1, ANN)).build_id is not None

    def test_keys_by_mail_are_for_whom_the_operator_says_and_need_a_mail_server(self) -> None:
        world = World()
        world.deployment.settings = evolve(world.deployment.settings, logins=MailDomains.of(["@example.net"]))
        assert "gives no key by mail" in self.refused(world.codes.ask(STRANGER, AskCode(BEN)), Unauthorised)
        world.deployment.settings = evolve(world.deployment.settings, mail=None)
        assert "sends no mail" in self.refused(world.codes.ask(STRANGER, AskCode("x@example.net")), UsageError)

    def test_requests_and_explanations_are_counted_and_the_limit_says_when(self) -> None:
        world = World(Ceilings(requests_an_hour=Most(2), explanations_a_minute=Most(1), open_requests=Most(3)))
        first = done(world.submit(1, ANN))
        done(world.submit(2, ANN))
        told = self.refused(world.submit(3, ANN), LimitReached)
        assert told == "the limit of 2 requests an hour for ann@example.org is reached: try again in 30 min"
        done(world.submit(4, BEN, evolve(KEYED, name="ben-1", key="cd", owner=BEN)))
        world.clock.advance(1_800)
        done(world.submit(3, ANN))
        world.clock.advance(1_800)
        told = self.refused(world.submit(5, ANN), LimitReached)
        assert told.startswith("the limit of 3 open requests for ann@example.org is reached (3 there are)")
        done(world.service.cancel(KEYED, Cancel(first.request_id, first.token)))
        world.clock.advance(1_800)
        done(world.submit(5, ANN))
        done(world.service.why(KEYED, AskWhy(first.request_id, first.token)))
        self.refused(world.service.why(KEYED, AskWhy(first.request_id, first.token)), LimitReached)

    def test_what_was_open_before_a_restart_counts_after_it(self) -> None:
        world = World(Ceilings(open_requests=Most(2, None, 3)))
        done(world.submit(1, ANN))
        done(world.submit(2, ANN))
        world.restart()
        mailed = len(world.mails())
        self.refused(world.submit(3, ANN), LimitReached)
        assert len(world.mails()) == mailed
        neighbour = Principal(PrincipalRole.REQUESTER, "ben-1", "192.0.2.77", key="cd", owner=BEN)
        done(world.submit(4, BEN, neighbour))
        told = self.refused(world.submit(5, BEN, neighbour), LimitReached)
        assert "from the network 192.0.2.0/24" in told

    def test_what_is_stored_counts_for_who_sent_it_and_who_asked(self) -> None:
        world = World(Ceilings(stored_gib_a_day=Most(1)))
        told = done(world.submit(1, ANN))
        assert told.build_id is not None
        world.admittance.stored(told.build_id, 1, 3 * 1024**3)
        assert "GiB stored a day for ann@example.org" in self.refused(world.submit(2, ANN), LimitReached)
        done(world.submit(3, BEN, evolve(KEYED, name="ben-1", key="cd", owner=BEN)))
        world.admittance.allowances.take(Counted.STORED, Counting("attic"), world.clock.seconds(), 2)
        world.admittance.check_storing(told.build_id, 1)
