"""The way to the metaserver over Perspective Broker: greeting it, and what a requester asks of it.

What stands in the way is told in one line each: nobody listens, the name is unknown, something else listens there,
another version of the protocol, no answer in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

import attrs
from attrs import define
from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.spread import pb
from zope.interface import implementer

from buildtool.adapters.control.calls import CALL_TIMEOUT, RemoteEndpoint, ask, call, decoded, error_of
from buildtool.adapters.control.connection import Guarded
from buildtool.adapters.network.in_turn import InTurn, Way
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.words import CONTROL, OTHER_PROTOCOL, tls_errors, tls_words, way_in
from buildtool.errors import BuildToolError, DecodeError, ProtocolMismatch, Unauthorised, Unavailable
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol import codec
from buildtool.protocol.hello import (
    LATEST,
    PROTOCOL_VERSION,
    REQUESTS,
    SANDBOX,
    AskRefs,
    AskRequests,
    Hello,
    hello_of,
)
from buildtool.protocol.messages import (
    NEWS,
    REQUESTER,
    AskExplain,
    AskHealth,
    Calls,
    Cancel,
    Follow,
    Ok,
    Refused,
    RequestStatus,
    Submit,
    SubmitTogether,
)

GREETING_TIMEOUT = 10.0
"""Seconds that each of connecting, agreeing on Perspective Broker and saying hello may take."""

_LONG = 900.0
PATIENCE: Mapping[type[attrs.AttrsInstance], float] = {
    **dict.fromkeys((Submit, SubmitTogether, AskExplain, Cancel), _LONG),
    AskHealth: GREETING_TIMEOUT,
}
"""Seconds that an answer to a requester may take, where that is not as usual.

The metaserver may have to mirror a large repository before it answers a submission, and to delete many files when an
operator purges what a build server made in a year.
"""

_REQUESTER = {message: name for name, message in REQUESTER.items()}

_LATEST = "AskLatest"
"""The name of a message that is not loaded here, since few ask it."""

_KEY = "or one that serves nobody without a key, by TLS: join it first"

T = TypeVar("T", bound=attrs.AttrsInstance)


@implementer(IHandshakeListener)
class _Calling(Guarded):
    """The client's side of a connection: by TLS it begins when both have agreed on what they speak."""

    def handshakeCompleted(self) -> None:
        """End a connection with what answers by TLS and does not agree: it would wait for us, as we for it."""
        if self.transport.negotiatedProtocol != CONTROL and not self.why:
            self.why = OTHER_PROTOCOL
            self.transport.abortConnection()


class _Factory(Factory):
    noisy = False

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def buildProtocol(self, addr: object) -> Guarded:
        made = _Calling(self._clock, ViolationLog(self._clock), is_client=True)
        made.factory = self
        return made


@define(eq=False)
class _FollowerEndpoint(RemoteEndpoint):
    """What the metaserver may call at a requester."""

    takes: ClassVar[Calls] = NEWS

    _moved: Callable[[RequestStatus], None]

    async def remote_moved(self, told: RequestStatus) -> Ok:
        """Take a new status of a Request."""
        self._moved(told)
        return Ok()


@define(eq=False)
class Session:
    """A connection to the metaserver after hello. ``where`` is its host and port for messages, ``theirs`` its Hello.

    Implements ``ports.MetaserverClient``; an operator's program asks through it too.
    """

    where: str
    clock: IReactorTime
    broker: Guarded
    perspective: pb.RemoteReference
    theirs: Hello

    @property
    def projects(self) -> str:
        """The digest of what the metaserver describes of its projects."""
        return self.theirs.projects

    @property
    def is_open(self) -> bool:
        """Whether the connection has not ended."""
        return not (self.broker.disconnected or self.broker.why)

    async def call(
        self,
        name: str,
        message: attrs.AttrsInstance,
        expected: type[T],
        *references: pb.Referenceable,
        within: float = CALL_TIMEOUT,
    ) -> T:
        """Call the metaserver, for ``within`` seconds. Raises what it refused with, DecodeError, Unavailable."""
        if not self.is_open:
            raise Unavailable(f"the connection to the metaserver at {self.where} is gone: {self.broker.why}")
        return await call(self.perspective, name, message, expected, *references, clock=self.clock, within=within)

    async def ask(
        self,
        message: attrs.AttrsInstance,
        expected: type[T],
        *references: pb.Referenceable,
        within: float | None = None,
    ) -> T:
        """Ask the metaserver, which answers with an ``expected`` ``within`` so many seconds.

        Raises what it refused with, DecodeError, Unavailable, and ProtocolMismatch for what an older one does not know.
        """
        asked = type(message)
        if asked.__name__ == _LATEST and LATEST not in self.theirs.capabilities:
            raise ProtocolMismatch(
                f"the metaserver at {self.where} is older, and does not say what is the newest: have it updated"
            )
        if asked in (AskRequests, AskRefs) and REQUESTS not in self.theirs.capabilities:
            what = "lists no requests" if asked is AskRequests else "lists no refs"
            raise ProtocolMismatch(f"the metaserver at {self.where} is older, and {what}: have it updated")
        if _demands_sandbox(message) and SANDBOX not in self.theirs.capabilities:
            what = "would build in any sandbox or none"
            raise ProtocolMismatch(f"the metaserver at {self.where} is older, and {what}: have it updated")
        name, most = _call_of(asked)
        return await self.call(name, message, expected, *references, within=most if within is None else within)

    async def follow(self, message: Follow, moved: Callable[[RequestStatus], None]) -> RequestStatus:
        """Follow a Request: return its status, then send every change as long as the connection holds."""
        return await self.ask(message, RequestStatus, _FollowerEndpoint(moved))

    def closed(self) -> Deferred[str]:
        ended: Deferred[str] = Deferred()
        if self.broker.disconnected:
            ended.callback(self.broker.why)
        else:
            told: Callable[[], None] = lambda: None if ended.called else ended.callback(self.broker.why)  # noqa: E731
            self.broker.notifyOnDisconnect(told)  # type: ignore[no-untyped-call]
        return ended

    def close(self) -> None:
        """End the connection when everything is written."""
        self.broker.leave("this side closed the connection")


def _demands_sandbox(message: attrs.AttrsInstance) -> bool:
    """Return whether a message demands a level of a sandbox, which an older metaserver would ignore."""
    match message:
        case SubmitTogether():
            return any(map(_demands_sandbox, message.items))
        case Submit() | AskExplain():
            return message.sandbox is not SandboxLevel.NONE
        case _:
            return False


def _call_of(asked: type[attrs.AttrsInstance]) -> tuple[str, float]:
    """Return what a message is called as, and how many seconds its answer may take.

    What only an operator or a machine asks is loaded when it is asked first: whoever asks for builds does without it.
    """
    if asked in _REQUESTER:
        return _REQUESTER[asked], PATIENCE.get(asked, CALL_TIMEOUT)
    from buildtool.protocol.calls import CALLED, OPERATOR  # noqa: PLC0415 - a requester without them starts in half the time
    from buildtool.protocol.operator import AskFarmStatus  # noqa: PLC0415 - the same
    from buildtool.protocol.projects.latest import AskLatest  # noqa: PLC0415 - the same

    is_long = asked is AskLatest or (asked in OPERATOR.values() and asked is not AskFarmStatus)
    return CALLED[asked], _LONG if is_long else CALL_TIMEOUT


async def greet(
    endpoint: IStreamClientEndpoint | InTurn,
    where: str,
    role: str,
    clock: IReactorTime,
    *,
    within: float = GREETING_TIMEOUT,
    protocol: int = PROTOCOL_VERSION,
) -> Session:
    """Connect to the metaserver and say hello as ``role``, in ``protocol``; each step may take ``within`` seconds.

    Of several ways the next is tried where nothing answers as a metaserver does.
    Raises Unavailable, ProtocolMismatch, or what the metaserver refused with.
    """
    if not isinstance(endpoint, InTurn):
        return await _greeted(Way(where, endpoint), hello_of(role, protocol), clock, within)
    problems: list[Unavailable] = []
    for way in endpoint.order():
        try:
            session = await _greeted(way, hello_of(role, protocol), clock, within)
        except Unavailable as problem:
            problems.append(problem)
        else:
            endpoint.was_good(way)
            return session
    if len(problems) == 1:
        raise problems[0]
    # Whoever waits for one that is being started does so only where nothing else stands in the way.
    causes = sorted((one.__cause__ for one in problems), key=lambda one: isinstance(one, error.ConnectionRefusedError))
    raise Unavailable("; ".join(map(str, problems))) from causes[0]


async def _greeted(way: Way, hello: Hello, clock: IReactorTime, within: float) -> Session:
    where = way.where
    broker = await _connected(way, hello.role, clock, within)
    try:
        await _speaking(broker, way, hello.role, clock, within)
        answer = await _hello(broker, hello, clock, within)
        if type(answer) is not tuple or len(answer) != 2 or not isinstance(answer[0], pb.RemoteReference):  # noqa: PLR2004
            raise _refusal(answer, where)  # noqa: TRY301 - told apart below from what is no answer
        perspective, theirs = answer[0], codec.decode(Hello, answer[1])
    except (Unavailable, DecodeError) as problem:
        why = broker.why or str(problem)
        broker.leave("this side gave up")
        if isinstance(problem.__cause__, tls_errors()):
            raise Unavailable(f"no connection with the metaserver at {where} by TLS: {problem}") from problem.__cause__
        raise Unavailable(f"what answers at {where} is not a metaserver, or not its control port: {why}") from problem
    except BaseException:
        broker.leave("this side gave up")
        raise
    broker.capabilities = frozenset(theirs.capabilities)
    return Session(where, clock, broker, perspective, theirs)


_ASK_OTHERS = "its operator knows whether it runs, and at which port"
"""What is said to the owner of a machine, on which there is no metaserver."""


async def _connected(way: Way, role: str, clock: IReactorTime, within: float) -> Guarded:
    where = way.where
    try:
        connecting: Deferred[Guarded] = way.endpoint.connect(_Factory(clock))  # type: ignore[assignment]
        return await connecting.addTimeout(within, clock)
    except (defer.TimeoutError, error.TimeoutError) as problem:
        raise Unavailable(f"no metaserver answers at {where}: no connection within {within:g} s") from problem
    except error.DNSLookupError as problem:
        raise Unavailable(f"no metaserver answers at {where}: no such host is known") from problem
    except error.ConnectionRefusedError as problem:
        ask = _ASK_OTHERS if role == "build server" else "is bin/metaserver running?"
        raise Unavailable(f"no metaserver answers at {where}: nothing listens there; {ask}") from problem
    except (error.ConnectError, OSError) as problem:
        raise Unavailable(f"no metaserver answers at {where}: {problem}") from problem


async def _speaking(broker: Guarded, way: Way, role: str, clock: IReactorTime, within: float) -> None:
    """Wait until both sides have agreed to speak Perspective Broker. Raises Unavailable, Unauthorised."""
    try:
        await broker.ready.addTimeout(within, clock)
    except defer.TimeoutError as problem:
        raise Unavailable(f"it said nothing within {within:g} s, nor does a metaserver that hangs, {_KEY}") from problem
    except tls_errors() as problem:
        raise Unavailable(tls_words(problem, way.unbelieved)) from problem
    except error.ConnectionClosed as problem:
        if broker.meets_tls:
            raise Unauthorised(
                f"the metaserver at {way.where} speaks TLS, and serves nobody without a key: {way_in(role)}"
            ) from (problem)
        raise Unavailable(f"{broker.why}, as a metaserver does that has no descriptor left, {_KEY}") from problem


async def _hello(broker: Guarded, hello: Hello, clock: IReactorTime, within: float) -> object:
    root = broker.remoteForName("root")  # type: ignore[no-untyped-call]
    return await ask(root, "hello", codec.encode(hello), clock=clock, within=within)


def _refusal(answer: object, where: str) -> BuildToolError:
    """Return the error for an answer to hello that is no endpoint. Raises DecodeError."""
    refused = decoded(answer, Ok)
    if not isinstance(refused, Refused):
        raise DecodeError("it answered hello with something else")
    problem = error_of(refused)
    return ProtocolMismatch(f"{where}: {problem}") if isinstance(problem, ProtocolMismatch) else problem


async def connect_requester(
    endpoint: IStreamClientEndpoint | InTurn,
    where: str,
    clock: IReactorTime,
    within: float = GREETING_TIMEOUT,
    role: str = "requester",
) -> Session:
    """Return a connection as a requester, or in another ``role`` that may ask the same, ``within`` seconds.

    Raises Unavailable, ProtocolMismatch, Unauthorised.
    """
    return await greet(endpoint, where, role, clock, within=within)
