"""Fakes of the ports that requesters and the control connection use: real behaviour, in memory."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from buildtool.concurrency.signal import Signal
from buildtool.errors import BadOffset, BuildToolError, Declined, NotFound, Unauthorised, Unavailable, UsageError
from buildtool.model.logs.index import Phase
from buildtool.model.principal import Principal
from buildtool.model.servers import Held, HeldVerdict, OwnerNotice
from buildtool.ports.metaserver import ConnectionEnded, Handlers
from buildtool.protocol.hello import AskProjects, AskRefs, AskRequests, ProjectsDescribed, RefsFound
from buildtool.protocol.messages import (
    AbortOrder,
    Accepted,
    AskBuild,
    AskExplain,
    AskHealth,
    AskStatus,
    AskWhy,
    Cancel,
    Done,
    Draining,
    Ended,
    Explanation,
    Follow,
    HealthStatus,
    Heartbeat,
    HeartbeatAnswer,
    Ok,
    Order,
    Register,
    RenewTickets,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
    Tickets,
    Welcome,
)
from tests.messages import explanation

T = TypeVar("T", bound=attrs.AttrsInstance)


@define
class FakeRequestService:
    """Answers requesters with what ``answers`` holds; every Request's token is ``abcdef``.

    ``fail`` is raised by the next calls while it is set; ``callers`` are all who called.
    """

    answers: dict[int, RequestStatus] = field(factory=dict)
    submitted: list[Submit] = field(factory=list)
    fail: Exception | None = None
    hold: Deferred[None] | None = None
    callers: list[Principal] = field(factory=list)
    described: Callable[[Principal], ProjectsDescribed] = lambda _: ProjectsDescribed("0" * 64, '{"projects":[]}')

    @property
    def handlers(self) -> Handlers:
        return {
            Submit: self.submit,
            SubmitTogether: self.submit_together,
            Cancel: self.cancel,
            AskStatus: self.status,
            AskExplain: self.explain,
            AskWhy: self.why,
            AskBuild: self.build,
            AskHealth: self.health,
            AskProjects: self.projects,
            AskRequests: self.requests,
            AskRefs: self.refs,
        }

    async def submit(self, by: Principal, message: Submit) -> RequestStatus:
        self.callers.append(by)
        if self.hold is not None:
            await self.hold
        if self.fail is not None:
            raise self.fail
        self.submitted.append(message)
        return next(iter(self.answers.values()))

    async def cancel(self, by: Principal, message: Cancel) -> RequestStatus:
        status = await self.status(by, AskStatus(message.request_id, message.token))
        status = evolve(status, state="cancelled", reason="cancelled by its requester")
        self.answers[message.request_id] = status
        return status

    async def status(self, _by: Principal, message: AskStatus) -> RequestStatus:
        if self.hold is not None:
            await self.hold
        if self.fail is not None:
            raise self.fail
        if message.request_id not in self.answers:
            raise NotFound(f"there is no request {message.request_id}")
        if message.token != "abcdef":
            raise Unauthorised(f"that is not the token of request {message.request_id}")
        return self.answers[message.request_id]

    async def submit_together(self, by: Principal, message: SubmitTogether) -> RequestStatuses:
        return RequestStatuses(tuple([await self.submit(by, item) for item in message.items]))

    async def explain(self, _by: Principal, message: AskExplain) -> Explanation:
        if self.fail is not None:
            raise self.fail
        return explanation("queued", project=message.project)

    async def why(self, by: Principal, message: AskWhy) -> Explanation:
        await self.status(by, AskStatus(message.request_id, message.token))
        return explanation("queued", build_id=17)

    async def build(self, _by: Principal, message: AskBuild) -> Explanation:
        return explanation("queued", build_id=message.build_id)

    async def requests(self, _by: Principal, message: AskRequests) -> RequestStatuses:
        return RequestStatuses(tuple(self.answers.values())[: message.most])

    async def refs(self, _by: Principal, message: AskRefs) -> RefsFound:
        return RefsFound((f"{message.source or 'main'}-1.0", "main"))

    async def projects(self, by: Principal, _message: AskProjects) -> ProjectsDescribed:
        return self.described(by)

    async def health(self, _by: Principal, _message: AskHealth) -> HealthStatus:
        return HealthStatus(ok=True)


@define
class FakeBuildServerService:
    """Opens Sessions 1, 2, ... for build servers; ``heard`` is everything that it was told, in order.

    Logins and heartbeats are noted apart; they are answered with ``verdicts``. ``deaf`` keeps heartbeats unanswered.
    """

    heard: list[tuple[object, ...]] = field(factory=list)
    sessions: int = 0
    failing: list[BuildToolError] = field(factory=list)
    while_registering: Callable[[str, int], None] | None = None
    hold: Deferred[None] | None = None
    lease: float = 60.0
    verdicts: tuple[HeldVerdict, ...] = ()
    logins: list[Register] = field(factory=list)
    beats: list[tuple[str, int, Heartbeat]] = field(factory=list)
    deaf: Deferred[None] | None = None

    @property
    def handlers(self) -> Handlers:
        noted = dict.fromkeys((Accepted, Ended, Done, Draining), self._noted)
        return {
            Register: self.register,
            ConnectionEnded: self.disconnected,
            RenewTickets: self.renew,
            Heartbeat: self.heartbeat,
            **noted,
        }

    async def register(self, _by: Principal, message: Register) -> Welcome:
        if self.hold is not None:
            await self.hold
        self._fail()
        self.logins.append(message)
        self.sessions += 1
        session = self.sessions
        if self.while_registering is not None:
            self.while_registering(message.server, session)
        self.heard.append(("registered", message.server, session))
        return Welcome(session, "http://127.0.0.1:23433", 1_000, 1_000, self.lease, self.verdicts)

    async def disconnected(self, by: Principal, message: ConnectionEnded) -> Ok:
        self._fail()
        self.heard.append(("disconnected", by.name, by.session, message.clean))
        return Ok()

    async def renew(self, by: Principal, message: RenewTickets) -> Tickets:
        await self._noted(by, message)
        return Tickets("log", "artifact")

    async def heartbeat(self, by: Principal, message: Heartbeat) -> HeartbeatAnswer:
        self.beats.append((by.name, by.session, message))
        if self.deaf is not None:
            await self.deaf
        self._fail()
        return HeartbeatAnswer(self.verdicts)

    async def _noted(self, by: Principal, message: object) -> Ok:
        self._fail()
        self.heard.append((by.name, by.session, message))
        return Ok()

    def _fail(self) -> None:
        if self.failing:
            raise self.failing.pop(0)


@define
class FakeOrders:
    """``ports.Orders``: takes everything, or raises ``refuse``; ``hold`` keeps answers back until it fires.

    It ``has`` what it took, and what a test says.
    """

    refuse: Exception | None = None
    hold: Deferred[None] | None = None
    orders: list[Order] = field(factory=list)
    aborts: list[AbortOrder] = field(factory=list)
    log: list[str] = field(factory=list)
    has: tuple[Held, ...] = ()
    verdicts: list[HeldVerdict] = field(factory=list)
    session: int = 0

    async def build(self, order: Order) -> Accepted:
        if not self.session:
            raise Declined("there is no session yet")
        self.orders.append(order)
        self.log.append(f"build {order.build_id}")
        if self.hold is not None:
            await self.hold
        if self.refuse is not None:
            raise self.refuse
        taken = Held(order.build_id, order.epoch)
        if taken not in self.has:
            self.has += (taken,)
        return Accepted(order.build_id, order.epoch)

    async def abort(self, order: AbortOrder) -> Ok:
        self.aborts.append(order)
        return Ok(stale=Held(order.build_id, order.epoch) not in self.has)

    def held(self) -> tuple[Held, ...]:
        return self.has

    def notice(self) -> OwnerNotice:
        return OwnerNotice()

    def judged(self, verdicts: Sequence[HeldVerdict]) -> None:
        self.verdicts += verdicts

    def connected(self, welcome: Welcome) -> None:
        self.session = welcome.session
        self.log.append(f"session {welcome.session}")
        self.verdicts += welcome.verdicts

    def disconnected(self, reason: str) -> None:
        self.session = 0
        self.log.append("disconnected")


@define(eq=False)
class FakeMetaserver:
    """A metaserver as requesters see it: ``connect`` makes ``ports.MetaserverClient`` objects.

    ``answers`` are what submissions get in turn: a RequestStatus, or an error to raise. Sending a client id again
    gets the same answer. ``requests`` are how they stand; ``move`` tells all followers; ``lose`` ends all connections.
    A ``keyless`` one does not know whose requests are whose.
    """

    answers: list[RequestStatus | BuildToolError] = field(factory=list)
    refuse: list[BuildToolError] = field(factory=list)
    submitted: list[Submit] = field(factory=list)
    clients: list["FakeClient"] = field(factory=list)
    requests: dict[int, RequestStatus] = field(factory=dict)
    known: dict[str, RequestStatus] = field(factory=dict)
    keyless: bool = False

    async def connect(self) -> "FakeClient":
        if self.refuse:
            raise self.refuse.pop(0)
        client = FakeClient(self)
        self.clients.append(client)
        return client

    def move(self, told: RequestStatus) -> None:
        self.requests[told.request_id] = told
        for client in self.clients:
            client.hear(told)

    def lose(self) -> None:
        for client in list(self.clients):
            client.close()

    def status(self, request_id: int, token: str) -> RequestStatus:
        """Return how a Request stands. Raises NotFound, Unauthorised."""
        told = self.requests.get(request_id)
        if told is None:
            raise NotFound(f"there is no request {request_id}")
        if token != told.token:
            raise Unauthorised(f"that is not the token of request {request_id}")
        return told

    def submit(self, message: Submit) -> RequestStatus:
        self.submitted.append(message)
        known = self.known.get(message.client_id)
        answer = self.answers.pop(0) if known is None else known
        if isinstance(answer, BuildToolError):
            raise answer
        self.known[message.client_id] = answer
        self.requests.setdefault(answer.request_id, answer)
        return answer


@define(eq=False)
class FakeClient:
    """``ports.MetaserverClient`` of a FakeMetaserver."""

    metaserver: FakeMetaserver
    followed: dict[int, Callable[[RequestStatus], None]] = field(factory=dict)
    ended: bool = False
    waiting: list[Deferred[str]] = field(factory=list)
    projects: str = ""

    @property
    def is_open(self) -> bool:
        return not self.ended

    async def ask(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        self._check()
        answer = self._answer(message)
        assert isinstance(answer, expected)
        return answer

    def _check(self) -> None:
        if self.ended:
            raise Unavailable("the connection to the metaserver is gone")

    def _answer(self, message: attrs.AttrsInstance) -> attrs.AttrsInstance:  # noqa: PLR0911 - one for each message
        there = self.metaserver
        match message:
            case Submit():
                return there.submit(message)
            case SubmitTogether(items):
                return RequestStatuses(tuple([there.submit(item) for item in items]))
            case Cancel(request_id, token):
                told = evolve(there.status(request_id, token), state="cancelled")
                there.move(told)
                return told
            case AskStatus(request_id, token):
                return there.status(request_id, token)
            case AskRequests() if there.keyless:
                raise UsageError("no key says who you are")
            case AskRequests(most):
                return RequestStatuses(tuple(there.requests.values())[:most])
            case AskExplain():
                return explanation("queued", project=message.project)
            case AskWhy(request_id, token):
                there.status(request_id, token)
                return explanation("queued", build_id=17)
        raise AssertionError(f"no requester asks {message}")

    async def follow(self, message: Follow, moved: Callable[[RequestStatus], None]) -> RequestStatus:
        self._check()
        told = self.metaserver.status(message.request_id, message.token)
        if told.state == "waiting":
            self.followed[message.request_id] = moved
        return told

    def hear(self, told: RequestStatus) -> None:
        """Hear of a Request until its end, if it is followed."""
        moved = self.followed.get(told.request_id)
        if told.state != "waiting":
            self.followed.pop(told.request_id, None)
        if moved is not None and not self.ended:
            moved(told)

    def closed(self) -> Deferred[str]:
        if self.ended:
            return succeed("the connection was lost")
        waiter: Deferred[str] = Deferred()
        self.waiting.append(waiter)
        return waiter

    def close(self) -> None:
        self.ended = True
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            waiter.callback("the connection was lost")


@define
class FakeDownloads:
    """``ports.Downloads``: ``logs`` by URL, which may ``grow``; ``fetched`` are the files that were asked for."""

    clock: IReactorTime
    logs: dict[str, bytes] = field(factory=dict)
    unfinished: set[str] = field(factory=set)
    steps: dict[str, tuple[Phase, ...]] = field(factory=dict)
    fetched: list[tuple[str, str]] = field(factory=list)
    failing: list[BuildToolError] = field(factory=list)
    log_failing: list[BuildToolError] = field(factory=list)
    parts: int = 3
    _grown: Signal = field(factory=Signal)

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        if self.failing:
            raise self.failing.pop(0)
        for part in range(self.parts + 1):
            progress(size * part // self.parts)
        self.fetched.append((url, path))

    def grow(self, url: str, data: bytes, *, finished: bool = False) -> None:
        """Append to a log, which is finished by that or not."""
        self.logs[url] = self.logs.get(url, b"") + data
        (self.unfinished.discard if finished else self.unfinished.add)(url)
        self._grown.notify()

    async def phases(self, url: str) -> Sequence[Phase]:
        if url not in self.logs:
            raise NotFound("there is no such log")
        return self.steps.get(url, ())

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        if self.log_failing:
            raise self.log_failing.pop(0)
        until = self.clock.seconds() + int(wait)
        while True:
            data = self.logs.get(url)
            if data is None and not int(wait):
                raise NotFound("there is no such log")
            there, finished = data or b"", data is not None and url not in self.unfinished
            if offset > len(there):
                raise BadOffset("there is nothing", len(there))
            left = until - self.clock.seconds()
            if offset < len(there) or finished or left <= 0:
                return there[offset:], finished
            await self._grown.wait_at_most(left, self.clock)
