"""Fakes of the ports that requesters and the control connection use: real behaviour, in memory."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import attrs
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed

from buildtool.errors import BuildToolError, NotFound, Unauthorised
from buildtool.model.principal import Principal
from buildtool.model.servers import Held, HeldVerdict
from buildtool.ports.metaserver import ConnectionEnded, Handlers
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
    """``ports.Orders``: takes everything, or raises ``refuse``; ``hold`` keeps answers back until it fires."""

    refuse: Exception | None = None
    hold: Deferred[None] | None = None
    orders: list[Order] = field(factory=list)
    aborts: list[AbortOrder] = field(factory=list)
    log: list[str] = field(factory=list)
    has: tuple[Held, ...] = ()
    verdicts: list[HeldVerdict] = field(factory=list)

    async def build(self, order: Order) -> Accepted:
        self.orders.append(order)
        self.log.append(f"build {order.build_id}")
        if self.hold is not None:
            await self.hold
        if self.refuse is not None:
            raise self.refuse
        return Accepted(order.build_id, order.epoch)

    async def abort(self, order: AbortOrder) -> Ok:
        self.aborts.append(order)
        return Ok()

    def held(self) -> tuple[Held, ...]:
        return self.has

    def judged(self, verdicts: Sequence[HeldVerdict]) -> None:
        self.verdicts += verdicts

    def connected(self, welcome: Welcome) -> None:
        self.log.append(f"session {welcome.session}")
        self.verdicts += welcome.verdicts

    def disconnected(self, reason: str) -> None:
        self.log.append("disconnected")


@define(eq=False)
class FakeMetaserver:
    """A metaserver as requesters see it: ``connect`` makes ``ports.MetaserverClient`` objects.

    ``answers`` are what submissions get in turn: a RequestStatus, or an error to raise. Sending a client id again
    gets the same answer. ``move`` tells all followers; ``lose`` ends all connections.
    """

    answers: list[RequestStatus | BuildToolError] = field(factory=list)
    refuse: list[BuildToolError] = field(factory=list)
    submitted: list[Submit] = field(factory=list)
    clients: list["FakeClient"] = field(factory=list)
    now: RequestStatus | None = None
    known: dict[str, RequestStatus] = field(factory=dict)

    async def connect(self) -> "FakeClient":
        if self.refuse:
            raise self.refuse.pop(0)
        client = FakeClient(self)
        self.clients.append(client)
        return client

    def move(self, told: RequestStatus) -> None:
        self.now = told
        for client in self.clients:
            if client.moved is not None and not client.ended:
                client.moved(told)

    def lose(self) -> None:
        for client in list(self.clients):
            client.close()


@define(eq=False)
class FakeClient:
    """``ports.MetaserverClient`` of a FakeMetaserver."""

    metaserver: FakeMetaserver
    moved: Callable[[RequestStatus], None] | None = None
    ended: bool = False
    waiting: list[Deferred[str]] = field(factory=list)

    async def ask(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        answer = self._answer(message)
        assert isinstance(answer, expected)
        return answer

    def _answer(self, message: attrs.AttrsInstance) -> attrs.AttrsInstance:
        match message:
            case Submit():
                return self._submit(message)
            case SubmitTogether(items):
                return RequestStatuses(tuple([self._submit(item) for item in items]))
            case Cancel(request_id, token):
                told = evolve(self._status(request_id, token), state="cancelled")
                self.metaserver.move(told)
                return told
            case AskStatus(request_id, token):
                return self._status(request_id, token)
            case AskExplain():
                return explanation("queued", project=message.project)
            case AskWhy(request_id, token):
                self._status(request_id, token)
                return explanation("queued", build_id=17)
        raise AssertionError(f"no requester asks {message}")

    def _submit(self, message: Submit) -> RequestStatus:
        self.metaserver.submitted.append(message)
        known = self.metaserver.known.get(message.client_id)
        answer = self.metaserver.answers.pop(0) if known is None else known
        if isinstance(answer, BuildToolError):
            raise answer
        self.metaserver.known[message.client_id] = answer
        self.metaserver.now = self.metaserver.now or answer
        return answer

    def _status(self, request_id: int, token: str) -> RequestStatus:
        told = self.metaserver.now
        if told is None or request_id != told.request_id:
            raise NotFound(f"there is no request {request_id}")
        if token != told.token:
            raise Unauthorised(f"that is not the token of request {request_id}")
        return told

    async def follow(self, message: Follow, moved: Callable[[RequestStatus], None]) -> RequestStatus:
        told = self._status(message.request_id, message.token)
        self.moved = moved
        return told

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
    """``ports.Downloads``: ``logs`` by URL, delivered whole; ``fetched`` are the files that were asked for."""

    logs: dict[str, bytes] = field(factory=dict)
    unfinished: set[str] = field(factory=set)
    fetched: list[tuple[str, str]] = field(factory=list)
    failing: list[BuildToolError] = field(factory=list)
    log_failing: list[BuildToolError] = field(factory=list)
    parts: int = 3

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        if self.failing:
            raise self.failing.pop(0)
        for received in _steps(size, self.parts):
            progress(received)
        self.fetched.append((url, path))

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        if self.log_failing:
            raise self.log_failing.pop(0)
        data = self.logs.get(url)
        if data is None:
            raise NotFound("there is no such log")
        if offset >= len(data) and url in self.unfinished:
            waiting: Deferred[tuple[bytes, bool]] = Deferred()
            return await waiting  # until it is cancelled: nothing more comes
        return data[offset:], url not in self.unfinished


def _steps(size: int, parts: int) -> Iterable[int]:
    return [size * part // parts for part in range(1, parts + 1)]
