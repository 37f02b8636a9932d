"""Both ends of the control connection: hello, what requesters ask, orders and their answers, losing and returning."""

import math
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import attrs
import pytest
from attrs import define, evolve, field
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.spread import pb
from twisted.trial.unittest import TestCase

from buildtool.adapters.control.broker import SERVER_FIRST, PlainBroker
from buildtool.adapters.control.build_server_link import ANSWERED, BuildServerLink, LoginPace
from buildtool.adapters.control.client import Session, connect_requester, greet
from buildtool.adapters.control.gateway import BuildServerEndpoint, Gateway, PersonEndpoint, anybody
from buildtool.adapters.control.limits import STRANGER, ConnectionLimits
from buildtool.adapters.control.operator_endpoint import OperatorEndpoint
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.tls.one_port import ALERT, PLAIN
from buildtool.errors import (
    BuildToolError,
    Conflict,
    Declined,
    Fenced,
    InternalError,
    LimitReached,
    NameTaken,
    NoContact,
    NotFound,
    ProtocolMismatch,
    StorageUnavailable,
    Unauthorised,
    Unavailable,
    UsageError,
)
from buildtool.metaserver.access.tokens import TokenService
from buildtool.metaserver.accounts import AccountService
from buildtool.metaserver.build_servers import BuildServerService
from buildtool.metaserver.operating.bounces import BounceService
from buildtool.metaserver.operating.machines import MachineService
from buildtool.metaserver.operating.ordering import OrderService
from buildtool.metaserver.operating.several import SeveralService
from buildtool.metaserver.operations import OperatorService
from buildtool.metaserver.requests import RequestService
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.metaserver.telling.targets import TargetService
from buildtool.metaserver.telling.watches import WatchService
from buildtool.metaserver.triggering.triggers import Triggers
from buildtool.model.access.ceilings import Most
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Held, HeldState, HeldVerdict, Verdict
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.metaserver import ConnectionEnded
from buildtool.protocol import codec
from buildtool.protocol.calls import REQUESTER
from buildtool.protocol.hello import PROTOCOL_VERSION, REQUESTS, Hello
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.messages import (
    AbortOrder,
    Accepted,
    AskStatus,
    Cancel,
    Done,
    Draining,
    Ended,
    Follow,
    Heartbeat,
    HeartbeatAnswer,
    Ok,
    Register,
    RenewTickets,
    RequestStatus,
    SubmitTogether,
    Tickets,
    Welcome,
)
from tests import messages
from tests.adapters.control.wires import Wires
from tests.fakes import FakeBuildServerService, FakeOrders, FakeRequestService
from tests.support.failures import LoggedFailures
from tests.support.logs import listening
from tests.support.ports import full_port

WHERE = "farm.example:23432"
DONE = Done(17, 1, messages.DIGEST, messages.DIGEST, 5, "a.zip", 1.5, "")


@define(eq=False)
class Farm:
    """A gateway with fake desks behind it, and connections to it in memory."""

    clock: Clock = field(factory=Clock)
    requesters: FakeRequestService = field(factory=lambda: FakeRequestService({12: messages.waiting()}))
    servers: FakeBuildServerService = field(factory=FakeBuildServerService)
    gateway: Gateway = field(init=False)
    ends: Wires = field(init=False)
    final: list[BuildToolError] = field(factory=list)
    identify: Any = None
    limits: ConnectionLimits | None = None

    def __attrs_post_init__(self) -> None:
        extra = {} if self.identify is None else {"identify": self.identify}
        self.gateway = Gateway(self.clock, limits=self.limits, **extra)
        self.ends = Wires(self.clock, self.gateway.factory(self.requesters.handlers, self.servers.handlers))

    def requester(self) -> Session:
        return self.ends.result(connect_requester(self.ends, WHERE, self.clock))  # type: ignore[arg-type]

    def result(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.ends.result(coroutine)

    def link(
        self, orders: FakeOrders, name: str = "anna", *, keepalive: float = 15.0, **backoff: Any
    ) -> BuildServerLink:
        """A build server's link that has been started."""
        link = BuildServerLink(
            self.ends,  # type: ignore[arg-type]
            WHERE,
            lambda: messages.register(name),
            self.clock,
            final=self.final.append,
            pace=LoginPace(**{"chance": lambda: 0.5, **backoff}),
            keepalive=keepalive,
        )
        link.orders = orders
        link.startService()
        self.ends.run()
        return link

    def stop(self, link: BuildServerLink) -> None:
        self.ends.outcome(link.stopService())


# --- requesters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "endpoint"),
    [
        (RequestService, PersonEndpoint),
        (BuildServerService, BuildServerEndpoint),
        (OperatorService, OperatorEndpoint),
    ],
)
def test_every_message_that_a_service_answers_can_be_sent_and_no_other(service: Any, endpoint: Any) -> None:
    """What needs the connection itself is the endpoint's own. Orders are answered, and connections end, unasked."""
    takes = REQUESTER if endpoint is PersonEndpoint else endpoint.takes
    own = {message for name, message in takes.items() if hasattr(endpoint, f"remote_{name}")}
    answered = set(service.__new__(service).handlers) - {Accepted, ConnectionEnded}
    if service is OperatorService:
        answered |= {*object.__new__(MachineService).handlers, *object.__new__(SeveralService).handlers}
        answered |= {*object.__new__(BounceService).handlers, *object.__new__(Triggers).handlers}
        answered |= {*object.__new__(TargetService).handlers}
        answered |= {*object.__new__(Subscriptions).handlers, *object.__new__(WatchService).handlers}
        answered |= set(object.__new__(OrderService).handlers)
        answered |= {*object.__new__(AccountService).operating, *object.__new__(TokenService).handlers, Cancel}
    assert answered - set(takes.values()) == set()
    assert set(takes.values()) - answered <= own


def test_a_requester_asks_and_is_answered() -> None:
    farm = Farm()
    client = farm.requester()
    assert farm.result(client.ask(messages.submit(), RequestStatus)) == messages.waiting()
    assert farm.requesters.submitted == [messages.submit()]
    (broker,) = farm.ends.brokers()
    assert farm.requesters.callers == [Principal(PrincipalRole.REQUESTER, "", "192.0.2.1", id(broker), trusted=True)]
    assert farm.result(client.ask(AskStatus(12, "abcdef"), RequestStatus)) == messages.waiting()
    assert farm.result(client.ask(Cancel(12, "abcdef"), RequestStatus)).state == "cancelled"


@pytest.mark.parametrize(
    "problem", [UsageError("--x: no"), StorageUnavailable("the disk is full"), Conflict("another body")]
)
def test_what_cannot_be_done_arrives_as_the_error_that_it_was(problem: BuildToolError) -> None:
    farm = Farm()
    client = farm.requester()
    farm.requesters.fail = problem
    with pytest.raises(type(problem), match=str(problem)):
        farm.result(client.ask(messages.submit(), RequestStatus))
    farm.requesters.fail = None
    with pytest.raises(NotFound):
        farm.result(client.ask(AskStatus(13, "abcdef"), RequestStatus))
    with pytest.raises(Unauthorised):
        farm.result(client.ask(AskStatus(12, "wrong"), RequestStatus))


def test_a_defect_of_the_metaserver_is_logged_there_and_answered_without_its_text(
    expected_failures: LoggedFailures,
) -> None:
    farm = Farm()
    client = farm.requester()
    farm.requesters.fail = ZeroDivisionError("/srv/secret")
    with pytest.raises(InternalError) as caught:
        farm.result(client.ask(messages.submit(), RequestStatus))
    assert "secret" not in str(caught.value)
    assert "ZeroDivisionError" not in str(caught.value)
    assert len(expected_failures.flush(ZeroDivisionError)) == 1


def test_an_error_of_many_lines_arrives_as_one_line() -> None:
    farm = Farm()
    client = farm.requester()
    farm.requesters.fail = UsageError("one\n  two\r\nthree")
    with pytest.raises(UsageError, match=r"^one two three$"):
        farm.result(client.ask(messages.submit(), RequestStatus))


def test_a_coroutine_that_waits_is_awaited_before_the_answer_goes_out() -> None:
    farm = Farm()
    client = farm.requester()
    held = farm.requesters.hold = Deferred()
    found: list[RequestStatus] = []
    Deferred.fromCoroutine(client.ask(messages.submit(), RequestStatus)).addCallback(found.append)
    farm.ends.run()
    assert not found
    held.callback(None)
    farm.ends.run()
    assert found == [messages.waiting()]


def test_a_follower_hears_every_move_until_the_end_and_no_longer() -> None:
    farm = Farm()
    client = farm.requester()
    heard: list[RequestStatus] = []
    assert farm.result(client.follow(Follow(12, "abcdef"), heard.append)) == messages.waiting()
    assert farm.gateway.followers.follows(12)
    assert not farm.gateway.followers.follows(13)
    moves = [messages.waiting(epoch=2), messages.told(), messages.told(reason="late")]
    for move in moves:
        farm.gateway.followers.moved(move)
        farm.ends.run()
    assert heard == moves[:2]
    assert not farm.gateway.followers.follows(12)


def test_moves_before_the_token_is_checked_are_kept_and_told_after_the_answer() -> None:
    farm = Farm()
    client = farm.requester()
    heard: list[object] = []
    held = farm.requesters.hold = Deferred()
    following = Deferred.fromCoroutine(client.follow(Follow(12, "abcdef"), lambda told: heard.append(told.epoch)))
    following.addCallback(lambda told: heard.append("answer"))
    farm.ends.run()
    farm.gateway.followers.moved(messages.waiting(epoch=2))
    farm.gateway.followers.moved(messages.waiting(epoch=3))
    farm.ends.run()
    held.callback(None)
    farm.ends.run()
    assert heard == ["answer", 3]


def test_nobody_follows_without_the_token() -> None:
    farm = Farm()
    client = farm.requester()
    heard: list[RequestStatus] = []
    with pytest.raises(Unauthorised):
        farm.result(client.follow(Follow(12, "wrong"), heard.append))
    farm.gateway.followers.moved(messages.told())
    farm.ends.run()
    assert not heard
    assert not farm.gateway.followers.follows(12)


def test_a_follower_who_is_gone_is_forgotten() -> None:
    farm = Farm()
    farm.result(farm.requester().follow(Follow(12, "abcdef"), lambda told: None))
    farm.ends.cut()
    assert not farm.gateway.followers.follows(12)
    farm.gateway.followers.moved(messages.told())


def test_following_an_ended_request_answers_and_follows_nothing() -> None:
    farm = Farm(requesters=FakeRequestService({12: messages.told()}))
    assert farm.result(farm.requester().follow(Follow(12, "abcdef"), lambda told: None)).state == "satisfied"
    assert not farm.gateway.followers.follows(12)


def test_one_connection_follows_a_bounded_number_of_requests_and_is_never_idle_meanwhile() -> None:
    farm = Farm()
    client = farm.requester()
    for _ in range(TOGETHER):
        farm.result(client.follow(Follow(12, "abcdef"), lambda told: None))
    with pytest.raises(UsageError, match=f"at most {TOGETHER}"):
        farm.result(client.follow(Follow(12, "abcdef"), lambda told: None))
    farm.ends.advance(10_000)
    assert not farm.ends.brokers()[0].why


def test_a_call_on_a_lost_connection_is_unavailable_and_so_is_one_that_waits() -> None:
    farm = Farm()
    client = farm.requester()
    farm.requesters.hold = Deferred()
    waiting = Deferred.fromCoroutine(client.ask(AskStatus(12, "abcdef"), RequestStatus))
    ended = client.closed()
    farm.ends.run()
    farm.ends.cut()
    with pytest.raises(Unavailable, match="the connection to the metaserver was closed"):
        farm.ends.outcome(waiting)
    assert farm.ends.outcome(ended) == "the connection to the metaserver was closed"
    assert farm.ends.brokers()[0].why == "the connection was closed"
    with pytest.raises(Unavailable, match=WHERE):
        farm.result(client.ask(AskStatus(12, "abcdef"), RequestStatus))
    farm.requesters.hold.callback(None)


def test_an_answer_that_does_not_come_in_time_is_unavailable() -> None:
    farm = Farm()
    client = farm.requester()
    farm.requesters.hold = Deferred()
    waiting = Deferred.fromCoroutine(client.ask(AskStatus(12, "abcdef"), RequestStatus))
    farm.ends.run()
    farm.ends.advance(31)
    with pytest.raises(Unavailable, match="no answer to 'status' within 30 s"):
        farm.ends.outcome(waiting)
    farm.requesters.hold.callback(None)  # too late: nobody minds
    farm.ends.run()
    farm.requesters.hold = None
    assert farm.result(client.ask(AskStatus(12, "abcdef"), RequestStatus)) == messages.waiting()


def test_an_older_metaserver_is_not_asked_for_a_sandbox_which_it_would_ignore() -> None:
    farm = Farm()
    client = farm.requester()
    client.theirs = attrs.evolve(client.theirs, capabilities=(REQUESTS,))
    one = messages.submit(sandbox=SandboxLevel.WEAK)
    for asked in (one, SubmitTogether((messages.submit(), attrs.evolve(one, client_id="1" * 32)))):
        with pytest.raises(ProtocolMismatch, match="is older, and would build in any sandbox or none: have it updated"):
            farm.result(client.ask(asked, RequestStatus))
    farm.result(client.ask(messages.submit(), RequestStatus))


# --- hello ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "update"), [(0, "update buildtool on the side that connects"), (9, "update the metaserver")]
)
def test_another_version_is_refused_with_both_numbers_and_who_should_update(theirs: int, update: str) -> None:
    farm = Farm()
    said = f"{WHERE}.*protocol {PROTOCOL_VERSION}, the other side speaks {theirs}: {update}"
    with listening() as lines, pytest.raises(ProtocolMismatch, match=said):
        farm.result(greet(farm.ends, WHERE, "requester", farm.clock, protocol=theirs))  # type: ignore[arg-type]
    assert any("is refused: " in line and update in line for line in lines)  # the operator reads it too


def test_a_hello_may_name_as_many_capabilities_as_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"{number:\N{SNOWMAN}>14}" for number in range(10, 74))
    monkeypatch.setattr("buildtool.protocol.hello.CAPABILITIES", names)
    farm = Farm()
    assert farm.result(greet(farm.ends, WHERE, "requester", farm.clock)).theirs.capabilities == names  # type: ignore[arg-type]


def test_a_role_that_there_is_not_is_refused() -> None:
    farm = Farm()
    with pytest.raises(Unauthorised, match="no role 'king'"):
        farm.result(greet(farm.ends, WHERE, "king", farm.clock))  # type: ignore[arg-type]


def test_identity_plugs_in_and_a_build_server_cannot_take_another_name() -> None:
    async def anna(stranger: Principal, transport: object, hello: Hello) -> Principal:
        return evolve(await anybody(stranger, transport, hello), name="anna")

    farm = Farm(identify=anna)
    orders = FakeOrders()
    link = farm.link(orders, "bob")
    assert not orders.log
    farm.stop(link)
    link = farm.link(orders, "anna")
    assert orders.log == ["session 1"]
    farm.stop(link)


def test_who_is_gone_before_it_is_known_who_they_are_is_not_answered() -> None:
    known: Deferred[None] = Deferred()

    async def slowly(stranger: Principal, transport: object, hello: Hello) -> Principal:
        await known
        return await anybody(stranger, transport, hello)

    farm = Farm(identify=slowly)
    greeting = Deferred.fromCoroutine(greet(farm.ends, WHERE, "requester", farm.clock))  # type: ignore[arg-type]
    farm.ends.run()
    farm.ends.cut()
    with pytest.raises(Unavailable):
        farm.ends.outcome(greeting)
    with listening() as events:
        known.callback(None)
        farm.ends.run()
    assert not events, "no defect"


def test_a_key_has_so_many_connections_and_others_have_theirs() -> None:
    names = iter(["anna", "anna", "anna", "ben", "anna"])

    async def known(stranger: Principal, transport: object, hello: Hello) -> Principal:
        name = next(names)
        return evolve(await anybody(stranger, transport, hello), name=name, key=f"key of {name}")

    farm = Farm(identify=known, limits=ConnectionLimits(most=lambda: Most(2)))

    def enter() -> Session:
        session: Session = farm.result(greet(farm.ends, WHERE, "requester", farm.clock))  # type: ignore[arg-type]
        return session

    first, second = enter(), enter()
    with pytest.raises(LimitReached, match="2 connections for anna is reached: try again when one of them has ended"):
        enter()
    ben = enter()
    first.close()
    farm.ends.run()
    third = enter()
    for session in (second, ben, third):
        session.close()
    farm.ends.run()


def test_where_a_key_was_shown_is_known_until_it_is_revoked() -> None:
    async def known(stranger: Principal, transport: object, hello: Hello) -> Principal:
        return evolve(await anybody(stranger, transport, hello), name="anna", key="anna's")

    farm = Farm(identify=known)
    met = farm.ends.server.met  # type: ignore[union-attr]
    assert farm.ends.address not in met
    farm.result(greet(farm.ends, WHERE, "requester", farm.clock))  # type: ignore[arg-type]
    assert farm.ends.address in met
    farm.gateway.end_key("anna's", "it was revoked")
    farm.ends.run()
    assert farm.ends.address not in met


@define
class Endpoint:
    """An endpoint that fails, or answers with a protocol that says ``words``."""

    outcome: Any

    def connect(self, factory: Any) -> Deferred[Any]:
        return fail(self.outcome) if isinstance(self.outcome, Exception) else self.outcome


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (error.ConnectionRefusedError(), "nothing listens there; is bin/metaserver running"),
        (error.DNSLookupError(), "no such host is known"),
        (error.TimeoutError(), "no connection within"),
        (error.NoRouteError(), "No route to host"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_why_there_is_no_connection_is_said_in_one_line(problem: Exception, words: str) -> None:
    farm = Farm()
    with pytest.raises(Unavailable, match=f"no metaserver answers at {WHERE}: .*{words}"):
        farm.result(connect_requester(Endpoint(problem), WHERE, farm.clock))  # type: ignore[arg-type]


def test_who_owns_a_machine_is_not_asked_whether_a_metaserver_runs_on_it() -> None:
    farm = Farm()
    with pytest.raises(Unavailable, match="nothing listens there; its operator knows whether it runs") as told:
        farm.result(
            connect_requester(Endpoint(error.ConnectionRefusedError()), WHERE, farm.clock, role="build server")  # type: ignore[arg-type]
        )
    assert "bin/metaserver" not in str(told.value)


class _Says(Protocol):
    words = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.words)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (b"", "it said nothing within 10 s"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "sent something that is not Perspective Broker"),
        (b"\x01\x80\x04\x82none", "does not speak Perspective Broker"),
        (b"\x01\x80\x02\x82pb", "no answer to 'hello' within 10 s"),
    ],
)
def test_what_is_no_metaserver_is_said_to_be_none(words: bytes, why: str) -> None:
    farm = Farm()
    farm.ends.server = Factory.forProtocol(type("Says", (_Says,), {"words": words}))  # type: ignore[assignment]
    waiting = Deferred.fromCoroutine(connect_requester(farm.ends, WHERE, farm.clock))  # type: ignore[arg-type]
    farm.ends.run()
    farm.ends.advance(11)
    with pytest.raises(Unavailable, match=f"{WHERE} is not a metaserver, or not its control port: .*{why}"):
        farm.ends.outcome(waiting)


def test_a_port_that_waits_for_tls_is_said_to_need_a_key() -> None:
    farm = Farm()
    farm.ends.server = Factory.forProtocol(type("Says", (_Says,), {"words": ALERT}))  # type: ignore[assignment]
    with pytest.raises(Unauthorised, match=rf"^the metaserver at {WHERE} speaks TLS, .*: join first, with the line"):
        farm.result(connect_requester(farm.ends, WHERE, farm.clock))  # type: ignore[arg-type]


class _Waits(Protocol):
    """A port that waits for TLS, and answers what is none as soon as it comes."""

    answer = b""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        assert data == b"\x02\x82pb"
        self.transport.write(self.answer)


@pytest.mark.parametrize("answer", [ALERT, PLAIN], ids=["as now", "as older ones"])
def test_a_client_that_hears_nothing_speaks_first_so_that_a_port_with_tls_need_not_wait_for_it(answer: bytes) -> None:
    farm = Farm()
    farm.ends.server = Factory.forProtocol(type("Waits", (_Waits,), {"answer": answer}))  # type: ignore[assignment]
    waiting = Deferred.fromCoroutine(connect_requester(farm.ends, WHERE, farm.clock))  # type: ignore[arg-type]
    farm.ends.run()
    farm.ends.advance(2 * SERVER_FIRST)
    with pytest.raises(Unauthorised, match="speaks TLS"):
        farm.ends.outcome(waiting)


def test_a_metaserver_that_is_slow_to_speak_first_is_told_the_dialect_once() -> None:
    farm = Farm()
    heard: list[bytes] = []

    class Slow(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            heard.append(data)
            if len(heard) == 1:
                self.transport.write(b"\x01\x80\x02\x82pb")

    farm.ends.server = Factory.forProtocol(Slow)  # type: ignore[assignment]
    waiting = Deferred.fromCoroutine(connect_requester(farm.ends, WHERE, farm.clock))  # type: ignore[arg-type]
    farm.ends.run()
    farm.ends.advance(2 * SERVER_FIRST)
    assert heard[0] == b"\x02\x82pb"
    assert b"hello" in b"".join(heard[1:]) and b"\x02\x82pb" not in b"".join(heard[1:])  # noqa: PT018 - one statement
    farm.ends.advance(11)
    with pytest.raises(Unavailable):
        farm.ends.outcome(waiting)


@pytest.mark.parametrize("tls", [True, False])
def test_where_a_handshake_goes_on_a_client_says_nothing_first_since_it_would_read_no_more(tls: bool) -> None:
    broker, clock = PlainBroker(STRANGER, is_client=True), Clock()
    transport = StringTransport()
    if tls:
        transport.getPeerCertificate = lambda: None  # type: ignore[attr-defined] # as one that speaks TLS has
    broker.transport = transport
    broker.first_word(clock)
    broker.currentDialect = b"pb"
    clock.advance(2 * SERVER_FIRST)
    assert transport.value() == (b"" if tls else b"\x02\x82pb")


# --- build servers ----------------------------------------------------------------------------------------


def test_a_build_server_registers_takes_an_order_and_tells_its_end() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.gateway.connections.dispatch("anna", 1, messages.order())
    farm.ends.run()
    assert orders.orders == [messages.order()]
    assert farm.result(link.tell(DONE, Ok)) == Ok()
    ended = Ended(17, 1, AttemptEnd.FAILED, "make failed", "the end\n")
    assert farm.result(link.tell(ended, Ok)) == Ok()
    assert farm.result(link.tell(RenewTickets(17, 1), Tickets)) == Tickets("log", "artifact")
    assert farm.result(link.tell(Draining("noon"), Ok)) == Ok()
    assert farm.servers.heard == [
        ("registered", "anna", 1),
        ("anna", 1, Accepted(17, 1)),
        ("anna", 1, DONE),
        ("anna", 1, ended),
        ("anna", 1, RenewTickets(17, 1)),
        ("anna", 1, Draining("noon")),
    ]
    farm.stop(link)


def test_a_refusal_reaches_the_desk_with_its_reason() -> None:
    farm, orders = Farm(), FakeOrders(refuse=Declined("busy: 1 of 1 builds are running"))
    link = farm.link(orders)
    farm.gateway.connections.dispatch("anna", 1, messages.order())
    farm.ends.run()
    told = Ended(17, 1, AttemptEnd.REFUSED, "busy: 1 of 1 builds are running", "")
    assert farm.servers.heard[1:] == [("anna", 1, told)]
    farm.stop(link)


def test_a_defect_of_a_build_server_is_a_refusal(expected_failures: LoggedFailures) -> None:
    farm, orders = Farm(), FakeOrders(refuse=ZeroDivisionError("x"))
    link = farm.link(orders)
    farm.gateway.connections.dispatch("anna", 1, messages.order())
    farm.ends.run()
    assert farm.servers.heard[1][2].end is AttemptEnd.REFUSED  # type: ignore[attr-defined]
    assert len(expected_failures.flush(ZeroDivisionError)) == 1
    farm.stop(link)


def test_an_abort_reaches_the_build_server() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.gateway.connections.abort("anna", 1, AbortOrder(17, 1, "cancelled"))
    farm.ends.run()
    assert orders.aborts == [AbortOrder(17, 1, "cancelled")]
    farm.stop(link)


def test_an_order_that_is_decided_while_the_login_is_committed_arrives_after_the_welcome() -> None:
    farm, orders = Farm(), FakeOrders()

    def busy(server: str, session: int) -> None:
        farm.gateway.connections.dispatch(server, session, messages.order(17))
        farm.gateway.connections.dispatch(server, session, messages.order(18))

    farm.servers.while_registering = busy
    link = farm.link(orders)
    assert orders.log == ["session 1", "build 17", "build 18"]
    farm.stop(link)


def test_an_order_that_is_not_answered_costs_the_connection() -> None:
    farm, orders = Farm(), FakeOrders(hold=Deferred())
    link = farm.link(orders)
    farm.gateway.connections.dispatch("anna", 1, messages.order())
    farm.ends.run()
    farm.ends.advance(31)
    assert ("disconnected", "anna", 1, False) in farm.servers.heard
    assert orders.log[:3] == ["session 1", "build 17", "disconnected"]
    farm.stop(link)


def test_a_lost_connection_is_told_once_and_made_again_with_growing_delay() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    with listening() as said:
        farm.ends.cut()
    assert said == ["the connection to the metaserver was closed; next try in 1.0 s"]
    assert farm.servers.heard == [("registered", "anna", 1), ("disconnected", "anna", 1, False)]
    assert orders.log == ["session 1", "disconnected"]
    with pytest.raises(Unavailable, match="there is no connection"):
        farm.result(link.tell(DONE, Ok))
    farm.ends.advance(1.01)
    assert orders.log[2:] == ["session 2"]
    farm.ends.cut()
    farm.ends.advance(1.01)
    assert orders.log[2:] == ["session 2", "disconnected"], "the second delay is longer"
    farm.ends.advance(1.01)
    assert orders.log[4:] == ["session 3"]
    farm.ends.advance(20)
    farm.ends.cut()
    farm.ends.advance(1.01)
    assert orders.log[4:] == ["session 3", "disconnected", "session 4"], "a session that held begins anew"
    farm.stop(link)


def test_a_metaserver_that_is_away_is_tried_again_at_most_so_seldom() -> None:
    farm, orders = Farm(), FakeOrders()
    server, farm.ends.server = farm.ends.server, None
    link = farm.link(orders)
    for _ in range(20):
        farm.ends.advance(60)
    farm.ends.server = server
    farm.ends.advance(61)
    assert orders.log == ["session 1"]
    farm.stop(link)


def test_a_registration_that_cannot_be_stored_now_is_tried_again() -> None:
    farm, orders = Farm(), FakeOrders()
    farm.servers.failing = [StorageUnavailable("the disk is full"), UsageError("no such name")]
    link = farm.link(orders)
    assert not orders.log
    farm.ends.advance(1.01)
    farm.ends.advance(2.02)
    assert orders.log == ["session 1"]
    farm.stop(link)


def test_another_version_of_the_protocol_is_final() -> None:
    def outdated(stranger: object, transport: object, hello: object) -> Principal:
        raise ProtocolMismatch("update buildtool")

    farm, orders = Farm(identify=outdated), FakeOrders()
    link = farm.link(orders)
    assert isinstance(farm.final[0], ProtocolMismatch)
    farm.ends.advance(100)
    assert not orders.log
    farm.stop(link)


def test_a_build_server_that_stops_says_good_bye() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.stop(link)
    assert farm.servers.heard == [("registered", "anna", 1), ("disconnected", "anna", 1, True)]
    assert orders.log == ["session 1", "disconnected"]
    farm.ends.advance(100)
    assert orders.log == ["session 1", "disconnected"]


def test_a_build_server_stops_in_time_when_its_good_bye_is_not_answered() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.ends.pumps[0].serverIO.bufferReceived = lambda data: None  # the metaserver hears nothing any more
    stopping = link.stopService()
    farm.ends.run()
    farm.ends.advance(5.1)
    farm.ends.outcome(stopping)
    assert orders.log == ["session 1", "disconnected"]


def test_a_build_server_can_be_stopped_while_it_waits_to_try_again() -> None:
    farm = Farm()
    farm.ends.server = None
    link = farm.link(FakeOrders())
    farm.stop(link)
    assert not farm.clock.getDelayedCalls()


def test_a_build_server_that_is_there_answers_when_it_is_asked_and_is_asked_once_for_all() -> None:
    farm = Farm()
    link = farm.link(FakeOrders())
    farm.ends.advance(10)
    assert farm.result(farm.gateway.connections.silence("anna", 1)) == 0.0
    asked = [Deferred.fromCoroutine(farm.gateway.connections.silence("anna", 1)) for _ in range(5)]
    (waiting,) = [pump.server for pump in farm.ends.pumps]
    assert len(waiting.waitingForAnswers) == 1
    assert [farm.ends.outcome(one) for one in asked] == [0.0] * 5
    assert farm.result(farm.gateway.connections.silence("anna", 2)) == math.inf, "there is no such Session"
    farm.stop(link)


def test_one_that_does_not_answer_within_three_seconds_was_silent_for_as_long_as_nothing_was_heard() -> None:
    farm = Farm()
    link = farm.link(FakeOrders())
    pump = farm.ends.pumps[0]
    farm.ends.advance(10)
    farm.ends.pumps.clear()  # the network swallows everything from now on
    asked = Deferred.fromCoroutine(farm.gateway.connections.silence("anna", 1))
    farm.ends.advance(2.9)
    assert not asked.called
    farm.ends.advance(0.2)
    assert farm.ends.outcome(asked) == pytest.approx(13.1, abs=0.2)
    farm.ends.pumps.append(pump)
    farm.stop(link)


def test_a_build_server_whose_name_is_taken_says_so_once_and_tries_again_now_and_then() -> None:
    farm = Farm()
    farm.servers.failing = [NameTaken("another machine is build server anna")] * 3
    with listening() as said:
        link = farm.link(FakeOrders(), taken=10.0, first=1.0, most=16.0)
        for _ in range(8):
            farm.ends.advance(10)
    (line,) = [line for line in said if "another machine is" in line]
    assert "without a further word" in line
    times = farm.ends.tried
    assert all(later - earlier >= 10 for earlier, later in pairwise(times))
    assert farm.servers.sessions == 1, "it gets in as soon as the other has gone"
    assert farm.final == []
    farm.stop(link)


def test_it_ends_when_as_many_logins_failed_as_its_owner_said() -> None:
    farm = Farm()
    farm.servers.failing = [NameTaken("another machine is build server anna")] * 3
    farm.link(FakeOrders(), retries=2)
    farm.ends.advance(30)
    (error,) = farm.final
    assert "2 logins in a row failed, the last one so: another machine is build server anna" in str(error)


def test_a_newer_login_of_the_same_name_fences_the_older_one() -> None:
    farm, older, newer = Farm(), FakeOrders(), FakeOrders()
    first = farm.link(older)
    second = farm.link(newer)
    farm.gateway.connections.fence("anna", 1)
    farm.ends.run()
    assert older.log == ["session 1", "disconnected"]
    assert newer.log == ["session 2"]
    assert farm.servers.heard[2:] == [("disconnected", "anna", 1, False)]
    farm.gateway.connections.dispatch("anna", 1, messages.order())
    farm.ends.run()
    assert not newer.orders, "an order for an older session goes nowhere"
    for link in (first, second):
        farm.stop(link)


def test_that_a_build_server_left_is_told_again_until_it_is_stored() -> None:
    farm = Farm()
    link = farm.link(FakeOrders())
    farm.servers.failing = [StorageUnavailable("full"), StorageUnavailable("full")]
    farm.stop(link)
    farm.ends.advance(1.1)
    farm.ends.advance(2.1)
    assert farm.servers.heard[1:] == [("disconnected", "anna", 1, True)]


def test_a_connection_that_is_lost_while_its_login_is_committed_is_told_as_lost() -> None:
    farm, orders = Farm(), FakeOrders()
    held = farm.servers.hold = Deferred()
    link = farm.link(orders)
    farm.ends.cut()
    farm.servers.hold = None
    farm.servers.while_registering = lambda server, session: farm.gateway.connections.dispatch(
        server, session, messages.order()
    )
    held.callback(None)
    farm.ends.run()
    assert farm.servers.heard == [("registered", "anna", 1), ("disconnected", "anna", 1, False)]
    assert not orders.orders
    farm.stop(link)


def test_an_order_for_a_session_that_has_no_connection_is_answered_by_its_end() -> None:
    """A login may have been refused although its commit took effect."""
    farm = Farm()
    link = farm.link(FakeOrders())
    farm.gateway.connections.dispatch("bert", 7, messages.order())
    farm.ends.run()
    assert farm.servers.heard[1:] == [("disconnected", "bert", 7, False)]
    farm.stop(link)


def test_a_gateway_that_closes_ends_all_connections_and_tells_the_desk_nothing() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.gateway.close()
    farm.ends.run()
    assert orders.log == ["session 1", "disconnected"]
    assert farm.servers.heard == [("registered", "anna", 1)]
    farm.ends.server = None
    farm.stop(link)


def test_a_build_server_that_has_not_registered_can_tell_nothing() -> None:
    farm = Farm()
    session = farm.result(greet(farm.ends, WHERE, "build server", farm.clock))  # type: ignore[arg-type]
    for name, message in (("done", DONE), ("renew", RenewTickets(1, 1))):
        with pytest.raises(UsageError, match="register first"):
            farm.result(session.call(name, message, Ok))
    assert not farm.servers.heard


def test_a_build_server_that_accepts_something_else_loses_its_connection() -> None:
    farm = Farm()

    class Confused(FakeOrders):
        async def build(self, order: Any) -> Accepted:
            return Accepted(99, 1)

    link = farm.link(Confused())
    farm.gateway.connections.dispatch("anna", 1, messages.order())
    farm.ends.run()
    assert farm.servers.heard[1:] == [("disconnected", "anna", 1, False)]
    farm.stop(link)


# --- leases -----------------------------------------------------------------------------------------------

HELD = (Held(17, 1), Held(18, 2, HeldState.DONE))


def test_what_is_held_is_said_at_each_login_and_judged_by_the_answer() -> None:
    farm, orders = Farm(), FakeOrders(has=HELD)
    farm.servers.verdicts = (HeldVerdict(17, 1, Verdict.GO_ON), HeldVerdict(18, 2, Verdict.DROP, "built elsewhere"))
    link = farm.link(orders)
    assert farm.servers.logins[0].held == HELD
    assert orders.verdicts == list(farm.servers.verdicts)
    orders.has = HELD[:1]
    farm.ends.cut()
    farm.ends.advance(1.01)
    assert farm.servers.logins[1].held == HELD[:1]
    farm.stop(link)


@pytest.mark.parametrize(
    ("keepalive", "lease", "every"), [(15.0, 60.0, 15), (4.0, 60.0, 4), (15.0, 20.0, 5), (3600.0, 60.0, 15)]
)
def test_heartbeats_say_what_is_held_and_are_never_more_than_a_quarter_of_the_lease_apart(
    keepalive: float, lease: float, every: float
) -> None:
    farm, orders = Farm(), FakeOrders(has=HELD)
    farm.servers.lease = lease
    link = farm.link(orders, keepalive=keepalive)
    for count in range(1, 4):
        farm.ends.advance(every + 0.01)
        assert farm.servers.beats == [("anna", 1, Heartbeat(HELD))] * count
    farm.stop(link)
    assert not farm.clock.getDelayedCalls(), "nothing beats when the service has stopped"


def test_a_second_heartbeat_before_the_answer_to_the_first_is_refused() -> None:
    """Each takes the metaserver's time, and nothing else bounds how many a peer sends."""
    farm = Farm()
    session = farm.result(greet(farm.ends, WHERE, "build server", farm.clock))  # type: ignore[arg-type]
    farm.result(session.call("register", messages.register("anna"), Welcome, pb.Referenceable()))
    farm.servers.deaf = Deferred()
    first = Deferred.fromCoroutine(session.call("heartbeat", Heartbeat(), HeartbeatAnswer))
    with pytest.raises(UsageError, match="one heartbeat at a time"):
        farm.result(session.call("heartbeat", Heartbeat(), HeartbeatAnswer))
    farm.servers.deaf.callback(None)
    assert farm.ends.outcome(first) == HeartbeatAnswer()
    session.close()


def test_the_verdicts_of_a_heartbeat_reach_the_orders() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.servers.verdicts = (HeldVerdict(17, 1, Verdict.DROP, "nobody waits"),)
    farm.ends.advance(15)
    assert orders.verdicts == list(farm.servers.verdicts)
    farm.stop(link)


@pytest.mark.parametrize(("lease", "within"), [(60.0, 15.0), (2.0, ANSWERED)])
def test_a_heartbeat_that_is_not_answered_drops_the_connection_and_another_is_made(lease: float, within: float) -> None:
    """The metaserver hears everything and says nothing: stopped, or behind a link that lost one direction."""
    farm, orders = Farm(), FakeOrders(has=HELD)
    farm.servers.lease = lease
    farm.servers.deaf = Deferred()
    link = farm.link(orders)
    every = min(15.0, lease / 4)
    farm.ends.advance(every + 0.01)
    farm.ends.advance(within - 0.1)
    assert orders.log == ["session 1"]
    farm.ends.advance(0.2)
    assert orders.log[:2] == ["session 1", "disconnected"]
    farm.servers.deaf.callback(None)
    farm.servers.deaf = None
    farm.ends.advance(1.01)
    assert orders.log[2:] == ["session 2"]
    farm.stop(link)


def test_a_heartbeat_that_cannot_be_taken_in_now_costs_nothing() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.servers.failing = [StorageUnavailable("the disk is full")]
    farm.ends.advance(15)
    farm.ends.advance(15)
    assert len(farm.servers.beats) == 2
    assert orders.log == ["session 1"]
    farm.stop(link)


def test_a_session_that_is_fenced_is_left_and_another_is_opened_after_a_while() -> None:
    """Whether a heartbeat hears of it or anything else; what was to be said then is said in the next Session."""
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.servers.failing = [Fenced("anna has logged in anew")]
    with pytest.raises(Unavailable, match="anna has logged in anew"):
        farm.result(link.tell(DONE, Ok))
    assert orders.log == ["session 1", "disconnected"]
    farm.ends.advance(1.01)
    farm.ends.advance(14)
    farm.servers.failing = [Fenced("anna has logged in anew")]
    farm.ends.advance(2)
    assert orders.log[2:4] == ["session 2", "disconnected"]
    farm.ends.advance(2.01)
    assert orders.log[4:] == ["session 3"]
    farm.stop(link)


def gap(farm: Farm, tries: int = 30) -> float:
    """The longest that a build server waits between two of its next tries to connect, in seconds."""
    farm.ends.tried.clear()
    while len(farm.ends.tried) < tries:
        farm.clock.advance(0.5)
    return max(after - before for before, after in pairwise(farm.ends.tried))


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_who_holds_something_tries_at_least_four_times_in_a_lease(chance: float) -> None:
    """Who holds nothing waits up to ``most``; before any metaserver has told a lease, it is believed to be 60 s."""
    farm, orders = Farm(), FakeOrders()
    server, farm.ends.server = farm.ends.server, None
    link = farm.link(orders, chance=lambda: chance)
    assert 150 < gap(farm) <= 300.5
    orders.has = HELD
    gap(farm, 2)
    assert 7 < gap(farm) <= 15.5
    farm.servers.lease = 24.0
    farm.ends.server = server
    farm.ends.advance(16)
    assert orders.log == ["session 1"]
    farm.ends.server = None
    farm.ends.cut()
    assert 3 < gap(farm) <= 6.5
    farm.stop(link)


def test_a_link_tells_how_it_stands_with_its_farm() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    farm.ends.advance(5)
    assert (link.standing.connected, link.standing.seconds, link.standing.why) == (True, 5.0, "")
    farm.ends.server = None
    farm.ends.cut()
    farm.ends.run()
    lost = link.standing
    assert (lost.connected, lost.seconds) == (False, 0.0)
    assert lost.why
    assert lost.again is not None
    farm.ends.advance(lost.again + 0.1)
    after = link.standing
    assert after.seconds == pytest.approx(lost.again + 0.1)
    assert after.why.startswith("no metaserver answers at")
    farm.stop(link)


def test_as_many_failed_logins_in_a_row_as_are_allowed_are_final() -> None:
    """A login that succeeds begins the count anew; a Session that ends is no failed login."""
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders, retries=3)
    for _ in range(3):
        server, farm.ends.server = farm.ends.server, None
        farm.ends.cut()
        gap(farm, 2)
        farm.ends.server = server
        farm.ends.advance(40)
    assert orders.log.count("disconnected") == 3
    assert not farm.final
    farm.ends.server = None
    farm.ends.cut()
    gap(farm, 3)
    (error,) = farm.final
    assert isinstance(error, NoContact)
    assert str(error).startswith("3 logins in a row failed, the last one so: no metaserver answers at")
    assert not farm.clock.getDelayedCalls()
    farm.stop(link)


# --- real sockets -----------------------------------------------------------------------------------------


# --- defects ----------------------------------------------------------------------------------------------


@define(eq=False)
class Stumbling(FakeOrders):
    """Orders, and what registers, that meet three defects at one of their steps, and none thereafter."""

    where: str = ""
    broken: list[Exception] = field(
        factory=lambda: [ValueError("not foreseen"), LookupError("nor this"), CancelledError()]
    )

    def step(self, name: str) -> None:
        if name == self.where and self.broken:
            raise self.broken.pop(0)

    def register(self) -> Register:
        self.step("register")
        return messages.register()

    def connected(self, welcome: Welcome) -> None:
        self.step("connected")
        super().connected(welcome)

    def disconnected(self, reason: str) -> None:
        self.step("disconnected")
        super().disconnected(reason)

    def judged(self, verdicts: Any) -> None:
        self.step("judged")
        super().judged(verdicts)


def test_what_has_changed_is_announced_by_another_login_and_what_is_held_goes_on() -> None:
    farm, orders = Farm(), FakeOrders()
    link = farm.link(orders)
    link.again("more platforms")
    farm.ends.run()
    assert orders.log == ["session 1", "disconnected"]
    farm.ends.advance(16.0)
    assert orders.log == ["session 1", "disconnected", "session 2"]
    farm.stop(link)
    link.again("nobody is connected")


@pytest.mark.parametrize("where", ["register", "connected", "disconnected", "judged"])
def test_a_defect_of_any_kind_in_a_build_servers_link_is_logged_and_it_logs_in_again(
    where: str, expected_failures: LoggedFailures
) -> None:
    """Only what is meant to end a link ends it; whatever else happens may pass."""
    farm, orders = Farm(), Stumbling(where=where)
    pace = LoginPace(chance=lambda: 0.5)
    link = BuildServerLink(farm.ends, WHERE, orders.register, farm.clock, final=farm.final.append, pace=pace)  # type: ignore[arg-type]
    link.orders = orders
    link.startService()
    while orders.broken:
        farm.ends.run()
        if where == "disconnected":
            farm.ends.cut()
        farm.ends.advance(16.0)
    farm.ends.advance(400.0)
    assert farm.servers.heard[-1][:2] == ("registered", "anna")
    assert orders.log[-1].startswith("session")
    assert not farm.final
    assert len(expected_failures.flush()) >= 2  # of what was cancelled there is only a line
    farm.stop(link)


class OverTcp(TestCase):
    """The same over TCP on loopback."""

    timeout = 20

    async def test_a_request_and_an_order_pass(self) -> None:
        from twisted.internet import reactor

        gateway = Gateway(reactor)
        servers = FakeBuildServerService()
        factory = gateway.factory(FakeRequestService({12: messages.waiting()}).handlers, servers.handlers)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        where = f"127.0.0.1:{number}"
        endpoint = machine_at(reactor, "127.0.0.1", number)

        client = await connect_requester(endpoint, where, reactor)
        self.assertEqual(await client.ask(messages.submit(), RequestStatus), messages.waiting())

        connected: Deferred[None] = Deferred()
        ordered: Deferred[object] = Deferred()

        class Orders(FakeOrders):
            def connected(self, welcome: Welcome) -> None:
                connected.callback(None)

            async def build(self, order: Any) -> Accepted:
                ordered.callback(order)
                return await super().build(order)

        def register() -> Register:
            return messages.register()

        link = BuildServerLink(endpoint, where, register, reactor, final=self.fail)
        link.orders = Orders()
        link.startService()
        await connected
        gateway.connections.dispatch("anna", 1, messages.order())
        self.assertEqual(await ordered, messages.order())
        await link.stopService()
        closed = client.closed()
        gateway.close()
        await closed

    async def test_a_port_where_nothing_listens_is_unavailable(self) -> None:
        from twisted.internet import reactor

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Protocol))
        number = port.getHost().port
        await port.stopListening()
        endpoint = machine_at(reactor, "127.0.0.1", number)
        try:
            await connect_requester(endpoint, f"127.0.0.1:{number}", reactor)
        except Unavailable as problem:
            self.assertIn("nothing listens there", str(problem))
        else:
            self.fail("there was a connection to nobody")

    async def test_connecting_does_not_take_for_ever(self) -> None:
        from twisted.internet import reactor

        with full_port() as number, pytest.raises(Unavailable, match="no connection within 0"):
            await connect_requester(machine_at(reactor, "127.0.0.1", number), WHERE, reactor, within=0.2)

    async def test_connecting_that_is_broken_off_ends_as_whatever_else_is_broken_off(self) -> None:
        """An interrupted program, or a build server that stops while it tries to log in, has no defect."""
        from twisted.internet import reactor

        with full_port() as number:
            connecting = connect_requester(machine_at(reactor, "127.0.0.1", number), WHERE, reactor)
            waiting = Deferred.fromCoroutine(connecting)
            waiting.cancel()
            with pytest.raises(CancelledError):
                await waiting


def test_a_capability_of_the_largest_size_that_is_sent_passes_the_guard() -> None:
    farm, orders = Farm(), FakeOrders()
    tools = tuple((f"TOOL{n}", "x" * 2_500) for n in range(200))
    register = messages.register()
    capability = attrs.evolve(register.capability, offers=(attrs.evolve(register.capability.offers[0], tools=tools),))
    large = Register("anna", capability)
    assert codec.size_of(codec.encode(large)) > 500_000
    link = BuildServerLink(farm.ends, WHERE, lambda: large, farm.clock, final=farm.final.append)  # type: ignore[arg-type]
    link.orders = orders
    link.startService()
    farm.ends.run()
    assert orders.log == ["session 1"]
    farm.stop(link)
