"""The metaserver's control port: who is there, what they may call, and the way back to build servers and followers.

Every connection begins at its ``Hall``, where only ``hello`` can be called; it answers with the ``Door`` for the
role that was named. Doors turn plain data into messages and hand them to the desks.

TLS and identity plug in at two places: the listening endpoint (``ssl:`` in place of ``tcp:``) carries the bytes, and
``identify`` says who the peer is from its transport (whose certificate is there) and its Hello. ``anybody`` is the
default for plain TCP inside a trusted network: every role for everybody, under any name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar

import attrs
from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.spread import pb

from buildtool import wire
from buildtool.adapters.pb_door import Door
from buildtool.adapters.pb_followers import Audience, Follower
from buildtool.adapters.pb_guard import PEER, REQUESTER, Guarded, GuardedFactory, Limits
from buildtool.adapters.pb_links import SILENCE, Link, Links
from buildtool.domain.model import RequestState
from buildtool.errors import ProtocolMismatch, Unauthorised, UsageError
from buildtool.ports import BuildServerDesk, RequesterDesk
from buildtool.protocol import (
    PROTOCOL_VERSION,
    SOFTWARE,
    TOGETHER,
    AbortOrder,
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
    Goodbye,
    HealthTold,
    Heard,
    Heartbeat,
    Hello,
    Ok,
    Order,
    Register,
    RenewTickets,
    Submit,
    SubmitTogether,
    Tickets,
    Told,
    ToldTogether,
    Welcome,
)

__all__ = ["BUILD_SERVER_ROLE", "REQUESTER_ROLE", "Gateway", "Identify", "Peer", "anybody"]

REQUESTER_ROLE = "requester"
BUILD_SERVER_ROLE = "build server"

FOLLOWED = TOGETHER
"""Most Requests that one connection may follow."""


@frozen
class Peer:
    """Who a peer is. ``name`` is proven, or empty where nothing proves anything; a build server must use its own."""

    role: str
    name: str = ""


Identify = Callable[[object, Hello], Peer]
"""Says who a peer is, from its transport and Hello. Raises Unauthorised."""


def anybody(_transport: object, hello: Hello) -> Peer:
    """Believe what a peer says of itself. Raises Unauthorised for a role that there is not."""
    if hello.role not in (REQUESTER_ROLE, BUILD_SERVER_ROLE):
        raise Unauthorised(f"no role {hello.role!r}: there are {REQUESTER_ROLE!r} and {BUILD_SERVER_ROLE!r}")
    return Peer(hello.role)


class Gateway:
    """Implements ``ports.BuildServers`` and ``ports.Followers``; ``factory`` listens for them and for requesters."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        identify: Identify = anybody,
        limits: Limits | None = None,
        silence: float = SILENCE,
    ) -> None:
        """``silence`` is after how many seconds a build server that was not heard of is taken to be gone."""
        self._clock = clock
        self._identify = identify
        self._limits = limits
        self._links = Links(clock, silence)
        self._audience = Audience(clock)
        self._factory: GuardedFactory | None = None

    def factory(self, requesters: RequesterDesk, servers: BuildServerDesk) -> GuardedFactory:
        """Return what listens on the control port; the desks answer."""

        def root(broker: Guarded) -> Hall:
            def door(peer: Peer) -> Door:
                if peer.role == BUILD_SERVER_ROLE:
                    broker.admit(PEER)
                    return BuildServerDoor(broker, peer, servers, self._links)
                broker.admit(REQUESTER)
                return RequesterDoor(broker, requesters, self._audience)

            return Hall(broker, self._identify, door)

        self._factory = GuardedFactory(root, self._clock, self._limits)
        return self._factory

    def close(self) -> None:
        """End all connections. The desks hear nothing of it: the metaserver ends, and no Session is lost by that."""
        self._links.close()
        if self._factory is not None:
            self._factory.close("the metaserver stops")

    def dispatch(self, server: str, session: int, order: Order) -> None:
        """Send an order to its build server."""
        self._links.dispatch(server, session, order)

    def abort(self, server: str, session: int, order: AbortOrder) -> None:
        """Tell the build server to stop an Attempt."""
        self._links.abort(server, session, order)

    def fence(self, server: str, session: int) -> None:
        """Close the connection of an older Session."""
        self._links.fence(server, session)

    async def silence(self, server: str, session: int) -> float:
        """Ask a build server whether it is there; return for how many seconds nothing was heard of it."""
        return await self._links.silence(server, session)

    def follows(self, request_id: int) -> bool:
        """Say whether anybody follows this Request."""
        return self._audience.follows(request_id)

    def moved(self, told: Told) -> None:
        """Tell whoever follows this Request how it stands."""
        self._audience.moved(told)


@define(eq=False)
class Hall(Door):
    """Where every connection begins: ``hello`` answers with the door for the peer's role."""

    takes: ClassVar[Mapping[str, type[attrs.AttrsInstance]]] = {"hello": Hello}

    _broker: Guarded
    _identify: Identify
    _door: Callable[[Peer], Door]

    def read(self, name: str, data: object) -> attrs.AttrsInstance:
        """Compare versions before anything else: a Hello of another version may look different."""
        theirs = wire.protocol_of(data)
        if theirs != PROTOCOL_VERSION:
            older = "the metaserver" if theirs > PROTOCOL_VERSION else "buildtool on the side that connects"
            raise ProtocolMismatch(
                f"the metaserver ({SOFTWARE}) speaks protocol {PROTOCOL_VERSION}, the other side speaks {theirs}: "
                f"update {older}"
            )
        return super().read(name, data)

    async def remote_hello(self, hello: Hello) -> pb.Referenceable:
        """Let the peer in. Raises Unauthorised."""
        if self._broker.known:
            raise UsageError("hello was said already")
        return self._door(self._identify(self._broker.transport, hello))


@define(eq=False)
class RequesterDoor(Door):
    """What a requester may call."""

    takes: ClassVar[Mapping[str, type[attrs.AttrsInstance]]] = {
        "submit": Submit, "cancel": Cancel, "status": AskStatus, "follow": Follow,
        "together": SubmitTogether, "explain": AskExplain, "why": AskWhy, "build": AskBuild,
        "health": AskHealth,
    }  # fmt: skip
    references: ClassVar[Mapping[str, int]] = {"follow": 1}

    _broker: Guarded
    _desk: RequesterDesk
    _audience: Audience
    _followed: int = field(default=0, init=False)

    def remote_submit(self, message: Submit) -> Awaitable[Told]:
        """Ask for a build. Like the next two it keeps nothing of the message, which may be long, while it waits."""
        return self._desk.submit(message)

    def remote_together(self, message: SubmitTogether) -> Awaitable[ToldTogether]:
        """Several builds at once."""
        return self._desk.submit_together(message)

    async def remote_cancel(self, message: Cancel) -> Told:
        """End a Request."""
        return await self._desk.cancel(message)

    async def remote_status(self, message: AskStatus) -> Told:
        """Say how a Request stands."""
        return await self._desk.status(message)

    def remote_explain(self, message: AskExplain) -> Awaitable[Explanation]:
        """What a submission would be answered."""
        return self._desk.explain(message)

    async def remote_why(self, message: AskWhy) -> Explanation:
        """Why a Request waits."""
        return await self._desk.why(message)

    async def remote_build(self, message: AskBuild) -> Explanation:
        """How an open Build stands."""
        return await self._desk.build(message)

    async def remote_health(self, _message: AskHealth) -> HealthTold:
        """Whether the metaserver can do its work."""
        return await self._desk.health()

    async def remote_follow(self, message: Follow, reference: pb.RemoteReference) -> Told:
        """Say how a Request stands, and from then on whenever that changes, until its end."""
        if self._followed >= FOLLOWED:
            raise UsageError(f"one connection follows at most {FOLLOWED} requests")
        self._followed += 1
        self._broker.patient += 1
        follower = Follower(message.request_id, reference, self._left)
        self._audience.join(follower)
        try:
            told = await self._desk.status(AskStatus(message.request_id, message.token))
        except BaseException:
            self._audience.leave(follower)
            raise
        if told.state != RequestState.WAITING.value or self._broker.disconnected:
            self._audience.leave(follower)
        else:
            reference.notifyOnDisconnect(lambda _: self._audience.leave(follower))
            self._audience.ready(follower)
        return told

    def _left(self) -> None:
        self._followed -= 1
        self._broker.patient -= 1


@define(eq=False)
class BuildServerDoor(Door):
    """What a build server may call; everything but ``register`` only once it is registered."""

    takes: ClassVar[Mapping[str, type[attrs.AttrsInstance]]] = {
        "register": Register, "ended": Ended, "done": Done, "renew": RenewTickets, "goodbye": Goodbye,
        "heartbeat": Heartbeat, "draining": Draining,
    }  # fmt: skip
    references: ClassVar[Mapping[str, int]] = {"register": 1}

    _broker: Guarded
    _peer: Peer
    _desk: BuildServerDesk
    _links: Links
    _link: Link | None = field(default=None, init=False)
    _beating: bool = field(default=False, init=False)

    async def remote_register(self, message: Register, orders: pb.RemoteReference) -> Welcome:
        """Open a Session; orders come to ``orders``. Raises Unauthorised for somebody else's name."""
        if self._link is not None:
            raise UsageError("this connection has registered, or tried to, already")
        if self._peer.name and message.server != self._peer.name:
            raise Unauthorised(f"build server {self._peer.name} cannot register as {message.server}")
        link = self._link = self._links.arriving(message.server, self._broker, orders, self._desk)
        try:
            welcome = await self._desk.register(message)
        except BaseException:
            self._links.turned_away(link)
            raise
        self._links.opened(link, welcome.session)
        return welcome

    async def remote_ended(self, message: Ended) -> Ok:
        """An Attempt ended without an artifact."""
        return await self._desk.ended(*self._session(), message)

    async def remote_done(self, message: Done) -> Ok:
        """An Attempt's artifact is uploaded."""
        return await self._desk.done(*self._session(), message)

    async def remote_renew(self, message: RenewTickets) -> Tickets:
        """Give fresh tickets."""
        return await self._desk.renew(*self._session(), message)

    async def remote_heartbeat(self, message: Heartbeat) -> Heard:
        """The build server lives. Raises Fenced for an older Session."""
        server, session = self._session()
        if self._beating:
            raise UsageError("one heartbeat at a time: wait for the answer to the last one")
        self._links.heard(server, session)
        self._beating = True
        try:
            return await self._desk.heartbeat(server, session, message)
        finally:
            self._beating = False

    async def remote_draining(self, message: Draining) -> Ok:
        """The build server takes no more orders."""
        return await self._desk.draining(*self._session(), message)

    async def remote_goodbye(self, message: Goodbye) -> Ok:
        """The build server leaves of its own will; the end of the connection is no loss."""
        self._session()
        if self._link is not None:
            self._link.goodbye = message.reason or "it said good-bye"
        return Ok()

    def _session(self) -> tuple[str, int]:
        if self._link is None or self._link.session is None:
            raise UsageError("register first")
        return self._link.server, self._link.session
