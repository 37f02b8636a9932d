"""The metaserver's control port: who is there, what they may call, and the way back to build servers and followers.

A new connection may only call ``hello`` of its ``Handshake``, which returns the ``RemoteEndpoint`` for its role.
Endpoints turn plain data into messages and pass them to a service's handlers, each with the ``Principal`` who calls.

``identify`` returns who the peer is from its transport (whose certificate is there) and its Hello. ``anybody`` is the
default for plain TCP where everybody is trusted: every role for everybody, under any name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import attrs
from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.spread import pb

from buildtool.adapters.control.build_server_connections import SILENCE, BuildServerConnection, BuildServerConnections
from buildtool.adapters.control.calls import RemoteEndpoint, call
from buildtool.adapters.control.connection import Guarded
from buildtool.adapters.control.events.followers import EventFollowers
from buildtool.adapters.control.followers import Follower, FollowerRegistry
from buildtool.adapters.control.limits import JOINER, PEER, REQUESTER, ConnectionLimits
from buildtool.adapters.control.listener import GuardedFactory
from buildtool.errors import ProtocolMismatch, Unauthorised, UsageError
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import RequestState
from buildtool.ports.metaserver import Handlers
from buildtool.protocol import calls, codec
from buildtool.protocol.calls import Calls
from buildtool.protocol.hello import PROTOCOL_VERSION, SOFTWARE, Hello, hello_of
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.messages import (
    AskStatus,
    Follow,
    Goodbye,
    Heartbeat,
    HeartbeatAnswer,
    Ok,
    Refused,
    Register,
    RequestStatus,
    Welcome,
)
from buildtool.protocol.news import EventNotes, EventsFollowed, FollowEvents

NONE: Handlers = {}

ROLE = "metaserver"
"""The metaserver's own role."""

FOLLOWED = TOGETHER
"""Most Requests that one connection may follow."""

Identify = Callable[[Principal, object, Hello], Awaitable[Principal]]
"""Returns who a peer is, from who it was before hello, its transport and its Hello. Raises Unauthorised."""


async def anybody(stranger: Principal, _transport: object, hello: Hello) -> Principal:
    """Return a peer as what it says that it is. Raises Unauthorised for a role that there is not."""
    for role in (PrincipalRole.REQUESTER, PrincipalRole.BUILD_SERVER):
        if hello.role == role.value:
            return evolve(stranger, role=role, trusted=True)
    raise Unauthorised(
        f"no role {hello.role!r}: there are {PrincipalRole.REQUESTER.value!r} and {PrincipalRole.BUILD_SERVER.value!r}"
    )


def _no_authority() -> str:
    """Return that there is no authority, as where everybody is trusted."""
    return ""


def _none_described(_by: Principal) -> str:
    """Return that no projects are described, as where there are none."""
    return ""


class Gateway:
    """The way to build servers (``connections``) and to followers of Requests (``followers``).

    ``factory`` listens for them and for requesters.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        identify: Identify = anybody,
        limits: ConnectionLimits | None = None,
        silence: float = SILENCE,
        authority: Callable[[], str] = _no_authority,
        events: EventFollowers | None = None,
        projects: Callable[[Principal], str] = _none_described,
    ) -> None:
        """``silence`` is after how many seconds a build server that was not heard of is taken to be gone.

        ``authority`` returns the fingerprint of the farm's authority, ``projects`` the digest of what a person may see;
        ``events`` are told what is committed.
        """
        self.events = EventFollowers(clock) if events is None else events
        self.connections = BuildServerConnections(clock, silence)
        self.followers = FollowerRegistry(clock)
        self._clock = clock
        self._identify = identify
        self._limits = limits
        self._authority = authority
        self._projects = projects
        self._factory: GuardedFactory | None = None

    def factory(
        self, people: Handlers, build_servers: Handlers, keys: Handlers = NONE, pages: Handlers = NONE
    ) -> GuardedFactory:
        """Return what listens on the control port; the handlers answer people, build servers, about keys, and pages."""
        self.connections.service.handlers = build_servers

        def enter(principal: Principal, broker: Guarded) -> RemoteEndpoint:
            match principal.role:
                case PrincipalRole.BUILD_SERVER:
                    broker.admit(PEER)
                    return BuildServerEndpoint(principal, build_servers, broker, self.connections)
                case PrincipalRole.REQUESTER | PrincipalRole.OBSERVER | PrincipalRole.OPERATOR:
                    broker.admit(REQUESTER)
                    return PersonEndpoint(principal, people, broker, self.followers)
                case PrincipalRole.PAGES:
                    broker.admit(PEER)
                    return PagesEndpoint(principal, pages, broker, self.events)
                case PrincipalRole.JOINING:
                    broker.admit(JOINER)
                    return JoiningEndpoint(principal, keys)
                case PrincipalRole.RENEWING:
                    broker.admit(JOINER)
                    return RenewingEndpoint(principal, keys)
                case _:
                    raise Unauthorised(f"the role {principal.role.value!r} is not for this port")

        self._factory = GuardedFactory(
            lambda broker: Handshake(broker, self._identify, enter, self._authority, self._projects),
            self._clock,
            self._limits,
        )
        return self._factory

    def end_key(self, key: str, why: str) -> None:
        """End all connections of a key at once, as if they had said good-bye: what they build goes elsewhere."""
        self.connections.dismiss(key, why)
        if self._factory is not None:
            self._factory.end_key(key, why)

    def close(self) -> None:
        """End all connections. No service is told: the metaserver ends, and no Session is lost by that."""
        self.connections.close()
        if self._factory is not None:
            self._factory.close("the metaserver stops")


@define(eq=False)
class Handshake(RemoteEndpoint):
    """The root object of a new connection, which may only call ``hello``: that returns the endpoint for its role.

    Hello and what refuses it are dictionaries of Perspective Broker's own, which peers of every version understand.
    """

    takes: ClassVar[Calls] = {"hello": Hello}
    greets: ClassVar[bool] = True

    _broker: Guarded
    _identify: Identify
    _enter: Callable[[Principal, Guarded], RemoteEndpoint]
    _authority: Callable[[], str] = _no_authority
    _projects: Callable[[Principal], str] = _none_described

    def read(self, name: str, data: object) -> attrs.AttrsInstance:
        """Return a Hello; its version is compared first, since one of another version may look different.

        Raises ProtocolMismatch, DecodeError.
        """
        theirs = codec.protocol_of(data)
        if theirs != PROTOCOL_VERSION:
            older = "the metaserver" if theirs > PROTOCOL_VERSION else "buildtool on the side that connects"
            wrong = (
                f"the metaserver ({SOFTWARE}) speaks protocol {PROTOCOL_VERSION}, the other side speaks {theirs}: "
                f"update {older}"
            )
            self._broker.complaints.say(f"{self._broker.peer} is refused: {wrong}")
            raise ProtocolMismatch(wrong)
        return super().read(name, data)

    def write(self, answer: Any) -> object:  # noqa: ANN401 - as the base class has it
        """Return what is sent for an answer: a refusal is one that peers of every version understand."""
        return codec.encode(answer) if isinstance(answer, Refused) else answer

    async def remote_hello(self, hello: Hello) -> tuple[pb.Referenceable, bytes]:
        """Return the endpoint for the peer's role, and the metaserver's own Hello. Raises UsageError, Unauthorised."""
        broker = self._broker
        if broker.known:
            raise UsageError("hello was said already")
        stranger = Principal(PrincipalRole.STRANGER, address=broker.asker.address, connection=broker.asker.connection)
        principal = await self._identify(stranger, broker.transport, hello)
        if broker.known:
            raise UsageError("hello was said twice at once")
        if principal.key:
            broker.factory.proved(broker, principal.key, principal.name)
        endpoint = self._enter(principal, broker)
        broker.capabilities = frozenset(hello.capabilities)
        projects = self._projects(principal) if isinstance(endpoint, PersonEndpoint) else ""
        return endpoint, codec.text_of(evolve(hello_of(ROLE), authority=self._authority(), projects=projects))


@define(eq=False)
class ServiceEndpoint(RemoteEndpoint):
    """The calls of a service: each message goes to its handler, with the caller.

    A subclass has a ``remote_NAME`` for each call that needs the connection itself.
    """

    principal: Principal
    handlers: Handlers

    def handler(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return what answers a call of ``name``. Raises UsageError where nothing here does."""
        if hasattr(self, f"remote_{name}"):
            return super().handler(name)
        handler = self.handlers.get(self.takes[name])
        if handler is None:
            raise UsageError("this metaserver does not do that: it knows nobody by a key (see the setting trusted)")
        return partial(handler, self.principal)


@define(eq=False)
class PagesEndpoint(ServiceEndpoint):
    """The calls of the pages: in the name of their visitors, and to be told of events for all of them."""

    takes: ClassVar[Calls] = calls.PAGES
    references: ClassVar[Mapping[str, int]] = {"followevents": 1}

    _broker: Guarded
    _events: EventFollowers
    _follows: bool = field(default=False, init=False)

    async def remote_followevents(self, _message: FollowEvents, reference: pb.RemoteReference) -> EventsFollowed:
        """Return which event is the newest, and send ``reference`` all from then on. Raises UsageError for a second."""
        if self._follows:
            raise UsageError("this connection follows events already")
        self._follows = True
        self._broker.patient += 1

        async def hear(batch: EventNotes) -> None:
            await call(reference, "happened", batch, Ok, clock=self._broker.clock)

        follower = self._events.join(hear, self._left)
        reference.notifyOnDisconnect(lambda _: follower.leave())
        return EventsFollowed(follower.told)

    def _left(self) -> None:
        self._broker.patient -= 1
        self._broker.drop("it takes no more events")


class JoiningEndpoint(ServiceEndpoint):
    """The one call of a peer that has no key yet."""

    takes: ClassVar[Calls] = calls.JOINING


class RenewingEndpoint(ServiceEndpoint):
    """The one call of a key whose certificate may have expired."""

    takes: ClassVar[Calls] = calls.RENEWING


@define(eq=False)
class PersonEndpoint(ServiceEndpoint):
    """The calls of a person: requester, owner of build servers, observer or operator, as far as their rights go."""

    takes: ClassVar[Calls] = calls.PERSON
    references: ClassVar[Mapping[str, int]] = {"follow": 1}

    _broker: Guarded
    _followers: FollowerRegistry
    _followed: int = field(default=0, init=False)

    async def remote_follow(self, message: Follow, reference: pb.RemoteReference) -> RequestStatus:
        """Return the status of a Request, and send ``reference`` every change from then on until its end.

        Raises UsageError for too many on one connection, and what asking for the status raises.
        """
        if self._followed >= FOLLOWED:
            raise UsageError(f"one connection follows at most {FOLLOWED} requests")
        self._followed += 1
        self._broker.patient += 1
        follower = Follower(message.request_id, reference, self._left)
        self._followers.join(follower)
        try:
            question = AskStatus(message.request_id, message.token)
            status: RequestStatus = await self.handlers[AskStatus](self.principal, question)
        except BaseException:
            self._followers.leave(follower)
            raise
        follower.told = bool(status.token)
        if status.state != RequestState.WAITING.value or self._broker.disconnected:
            self._followers.leave(follower)
        else:
            reference.notifyOnDisconnect(lambda _: self._followers.leave(follower))
            self._followers.ready(follower)
        return status

    def _left(self) -> None:
        self._followed -= 1
        self._broker.patient -= 1


@define(eq=False)
class BuildServerEndpoint(ServiceEndpoint):
    """The calls of a build server; everything but ``register`` only once it is registered."""

    takes: ClassVar[Calls] = calls.BUILD_SERVER
    references: ClassVar[Mapping[str, int]] = {"register": 1}

    _broker: Guarded
    _connections: BuildServerConnections
    _connection: BuildServerConnection | None = field(default=None, init=False)
    _beating: bool = field(default=False, init=False)

    def handler(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return what answers a call of ``name``. Raises UsageError before the build server has registered."""
        if name != "register" and not self.principal.session:
            raise UsageError("register first")
        return super().handler(name)

    async def remote_register(self, message: Register, orders: pb.RemoteReference) -> Welcome:
        """Open a Session; orders are sent to ``orders``. Raises UsageError, Unauthorised for a name that is taken."""
        if self._connection is not None:
            raise UsageError("this connection has registered, or tried to, already")
        if self.principal.name not in ("", message.server):
            raise Unauthorised(f"build server {self.principal.name} cannot register as {message.server}")
        connection = self._connection = self._connections.arriving(message.server, self._broker, orders)
        try:
            welcome: Welcome = await self.handlers[Register](self.principal, message)
        except BaseException:
            self._connections.turned_away(connection)
            raise
        self.principal = evolve(self.principal, name=message.server, session=welcome.session)
        self._connections.opened(connection, self.principal)
        return welcome

    async def remote_heartbeat(self, message: Heartbeat) -> HeartbeatAnswer:
        """Return what is to become of what is held. Raises Fenced for an older Session, UsageError for two at once."""
        if self._beating:
            raise UsageError("one heartbeat at a time: wait for the answer to the last one")
        self._connections.heard(self.principal.name, self.principal.session)
        self._beating = True
        try:
            heard: HeartbeatAnswer = await self.handlers[Heartbeat](self.principal, message)
        finally:
            self._beating = False
        return heard

    async def remote_goodbye(self, message: Goodbye) -> Ok:
        """Record that the build server leaves of its own will: the end of the connection is no loss."""
        if self._connection is not None:
            self._connection.goodbye = message.reason or "it said good-bye"
        return Ok()
