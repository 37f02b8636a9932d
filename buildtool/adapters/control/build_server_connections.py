"""Connections to build servers, by Session: orders go out, their answers and the end of a connection come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.spread import pb

from buildtool.adapters.control.calls import call, call_plain, decoded
from buildtool.adapters.control.connection import Guarded
from buildtool.concurrency.asker import working_for
from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import BuildToolError, StorageUnavailable, Unavailable
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import AttemptEnd
from buildtool.ports.metaserver import ConnectionEnded, Handlers
from buildtool.protocol.messages import AbortOrder, Accepted, Ended, Ok, Order, Refused

ORDER_TIMEOUT = 30.0
"""Seconds that a build server may take to accept or refuse, its client checkers included."""

ASKED = 3.0
"""Seconds that a build server has to answer when it is asked whether it is there."""

SILENCE = 60.0
"""Seconds after which a build server that was not heard of is gone, although its connection is still open: its machine
was unplugged, its network swallows everything, or it was stopped."""

_RETRY = Backoff(1.0, 30.0)

_NOTHING = AbortOrder(0, 0, "are you there?")

Send = Callable[["BuildServerConnection"], Coroutine[Any, Any, None]]


@define(eq=False)
class BuildServerConnection:
    """The connection of one build server. ``principal`` is None until a Session was opened for it.

    What is to be sent before ``is_open`` (the answer to ``register`` has gone out) waits in ``waiting``. ``final`` is
    whether it may never come back.
    """

    server: str
    broker: Guarded
    orders: pb.RemoteReference
    principal: Principal | None = None
    is_open: bool = False
    lost: bool = False
    goodbye: str = ""
    final: bool = False
    waiting: list[Send] = field(factory=list)
    silence: IDelayedCall | None = None

    def drop(self, what: str) -> None:
        """End the connection at once; the log says that the build server did ``what``."""
        self.broker.drop(f"build server {self.server} {what}")

    def watch(self, clock: IReactorTime, most: float) -> None:
        """End the connection after ``most`` seconds without ``heard``."""

        def silent() -> None:
            self.silence = None
            self.drop(f"was not heard of for {most:g} s")

        self.silence = clock.callLater(most, silent)

    def unwatch(self) -> None:
        """Stop watching."""
        if self.silence is not None:
            self.silence.cancel()
            self.silence = None


class BuildServerConnections:
    """The ``ports.BuildServers`` over Perspective Broker.

    ``service`` is the one for build servers. The end of each Session that it opened is told to it
    exactly once, however the connection ended. It may ask for a dispatch before its answer to ``register`` has
    returned; that waits until the Session is open.
    """

    def __init__(self, clock: IReactorTime, silence: float = SILENCE) -> None:
        self.service = ServiceCalls(clock)
        self._clock = clock
        self._silence = silence
        self._connections: dict[tuple[str, int], BuildServerConnection] = {}
        self._arriving: list[BuildServerConnection] = []
        self._early: dict[tuple[str, int], list[Send]] = {}
        self._asking: SingleFlight[float] = SingleFlight()

    # --- connections ------------------------------------------------------------------------------------

    def arriving(self, server: str, broker: Guarded, orders: pb.RemoteReference) -> BuildServerConnection:
        """Return the connection of a build server that is about to be registered."""
        connection = BuildServerConnection(server, broker, orders)
        broker.patient += 1
        broker.notifyOnDisconnect(lambda: self._lost(connection))  # type: ignore[no-untyped-call]
        self._arriving.append(connection)
        return connection

    def turned_away(self, connection: BuildServerConnection) -> None:
        """Forget a connection whose registration was refused."""
        connection.lost = True
        connection.broker.patient -= 1
        self._arrived(connection)

    def opened(self, connection: BuildServerConnection, principal: Principal) -> None:
        """Send what there is for a build server from the reactor's next turn on: a Session was opened for it."""
        connection.principal, key = principal, _key(principal)
        connection.waiting += self._early.pop(key, [])
        self._arrived(connection)
        if connection.lost:
            self._gone(connection, principal)
            return
        self._connections[key] = connection
        connection.watch(self._clock, self._silence)
        self._clock.callLater(0, self._open, connection)

    def heard(self, server: str, session: int) -> None:
        """Record that a build server was heard of."""
        connection = self._connections.get((server, session))
        if connection is not None and connection.silence is not None:
            connection.silence.reset(self._silence)

    def _arrives(self, server: str) -> bool:
        return any(other.server == server for other in self._arriving)

    def _arrived(self, connection: BuildServerConnection) -> None:
        self._arriving.remove(connection)
        if not self._arrives(connection.server):
            for key in [key for key in self._early if key[0] == connection.server]:
                del self._early[key]

    def _open(self, connection: BuildServerConnection) -> None:
        connection.is_open = True
        waiting, connection.waiting = connection.waiting, []
        for send in waiting:
            self._start(connection, send)

    def _lost(self, connection: BuildServerConnection) -> None:
        if connection.lost:
            return
        connection.lost = True
        if connection.principal is not None:
            self._gone(connection, connection.principal)

    def _gone(self, connection: BuildServerConnection, principal: Principal) -> None:
        self._connections.pop(_key(principal), None)
        connection.waiting.clear()
        connection.unwatch()
        reason = connection.goodbye or connection.broker.why or "the connection was lost"
        with working_for(connection.broker.asker):  # in its place behind what it sent before
            self.service.tell_ended(principal, ConnectionEnded(reason, bool(connection.goodbye), connection.final))

    def dismiss(self, key: str, why: str) -> None:
        """Take the connection of the build server with this key for one that has said good-bye for ever."""
        for connection in self._connections.values():
            if connection.broker.key == key:
                connection.goodbye, connection.final = why, True

    def close(self) -> None:
        """Stop telling the service anything."""
        self.service.close()
        for connection in self._connections.values():
            connection.unwatch()

    # --- what is sent -----------------------------------------------------------------------------------

    def dispatch(self, server: str, session: int, order: Order) -> None:

        async def send(connection: BuildServerConnection) -> None:
            await self._order(connection, order)

        self._send(server, session, send)
        if (server, session) not in self._connections and not self._arrives(server):
            # Its login was refused for a commit that took effect all the same, or the service has not yet taken in
            # that it left: it would be given orders for ever.
            principal = Principal(PrincipalRole.BUILD_SERVER, server, session=session)
            self.service.tell_ended(principal, ConnectionEnded("there is no connection to it", clean=False))

    def abort(self, server: str, session: int, order: AbortOrder) -> None:

        async def send(connection: BuildServerConnection) -> None:
            await call(connection.orders, "abort", order, Ok, clock=self._clock)

        self._send(server, session, send)

    def fence(self, server: str, session: int) -> None:
        connection = self._connections.get((server, session))
        if connection is not None:
            connection.drop("has logged in anew")

    async def silence(self, server: str, session: int) -> float:
        """Ask a build server whether it is there; return for how many seconds nothing was heard of it, 0 if it answers.

        However many want to know, it is asked once, and once more for those that come meanwhile. Infinity when it has
        no connection any more.
        """
        connection = self._connections.get((server, session))
        if connection is None:
            return math.inf
        return await self._asking.share(f"{session} {server}", lambda: self._ask(connection))

    async def _ask(self, connection: BuildServerConnection) -> float:
        """Ask for something that peers of every version answer: to stop a build that there is not."""
        try:
            await call_plain(connection.orders, "abort", _NOTHING, clock=self._clock, within=ASKED)
        except Unavailable:
            return math.inf if connection.lost else self._clock.seconds() - connection.broker.heard_at
        return 0.0

    def _send(self, server: str, session: int, send: Send) -> None:
        connection = self._connections.get((server, session))
        if connection is None:
            # Of a Session that is just being opened; of any other the service hears, or has heard, that it ended.
            if self._arrives(server):
                self._early.setdefault((server, session), []).append(send)
        elif connection.is_open:
            self._start(connection, send)
        else:
            connection.waiting.append(send)

    def _start(self, connection: BuildServerConnection, send: Send) -> None:
        async def guarded() -> None:
            try:
                await send(connection)
            except BuildToolError as error:
                connection.broker.drop(f"build server {connection.server}: {error}")

        with working_for(connection.broker.asker):
            self.service.background(guarded())

    async def _order(self, connection: BuildServerConnection, order: Order) -> None:
        data = await call_plain(connection.orders, "build", order, clock=self._clock, within=ORDER_TIMEOUT)
        answer: Accepted | Ended | Refused = decoded(data, Accepted)
        if isinstance(answer, Refused):
            answer = Ended(order.build_id, order.epoch, AttemptEnd.REFUSED, answer.message, "")
        elif answer != Accepted(order.build_id, order.epoch):
            connection.drop("accepted something else than it was asked to build")
            return
        assert connection.principal is not None  # noqa: S101 - orders are sent in a Session only
        what = f"what {connection.server} answered to build {order.build_id}"
        await self.service.insist(connection.principal, answer, what, lambda: not connection.lost)


class ServiceCalls:
    """The service for build servers, as connections call it: its ``handlers`` are set before anybody connects."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.handlers: Handlers = {}
        self._clock = clock
        self._pauses: set[Deferred[None]] = set()
        self._closed = False

    def close(self) -> None:
        """Stop calling the service."""
        self._closed = True
        for pause in list(self._pauses):
            pause.cancel()

    async def insist(self, by: Principal, message: attrs.AttrsInstance, what: str, wanted: Callable[[], bool]) -> None:
        """Deliver a message to its handler, again while it cannot be stored, as long as it is ``wanted``."""
        tries = _RETRY.begin()
        while wanted() and not self._closed:
            try:
                await self.handlers[type(message)](by, message)
            except StorageUnavailable as error:
                self._log.warn("{what} could not be stored, trying again: {why}", what=what, why=str(error))
            except BuildToolError as error:
                self._log.warn("{what} was not taken: {why}", what=what, why=str(error))
                return
            else:
                return
            pause: Deferred[None] = deferLater(self._clock, tries.next_delay())
            self._pauses.add(pause)
            try:
                await pause
            finally:
                self._pauses.discard(pause)

    def tell_ended(self, principal: Principal, ended: ConnectionEnded) -> None:
        """Deliver, until it is stored, that the connection of a build server has ended."""
        self.background(self.insist(principal, ended, f"that {principal.name} left", lambda: True))

    def background(self, act: Coroutine[Any, Any, None]) -> None:
        """Run what no caller waits for; a defect in it goes to the log."""

        def failed(failure: Any) -> None:  # noqa: ANN401 - a Failure of anything
            if not self._closed:
                self._log.failure("a defect in the way to a build server", failure)

        Deferred.fromCoroutine(act).addErrback(failed)


def _key(principal: Principal) -> tuple[str, int]:
    return principal.name, principal.session
