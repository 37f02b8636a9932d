"""The one subscription of the pages to what happens: kept up over a connection of its own, or within the metaserver.

The metaserver tells that nothing happened, too. So one that is silent, although the connection stands, is away.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from buildtool.adapters.control.calls import RemoteEndpoint
from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.control.events.followers import SIGN_OF_LIFE, EventFollower, EventFollowers
from buildtool.adapters.network.in_turn import InTurn
from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.signal import Signal
from buildtool.errors import BuildToolError
from buildtool.model.principal import PrincipalRole
from buildtool.ports.pages import EventListener
from buildtool.protocol.calls import EVENTS, Calls
from buildtool.protocol.hello import EVENTS as TOLD
from buildtool.protocol.messages import HealthStatus, Ok
from buildtool.protocol.news import EventNotes, EventsFollowed, FollowEvents
from buildtool.protocol.pages.visiting import AskHealthFor

WITHIN = 3.0
"""Seconds that each step of connecting, and each answer, may take."""

SILENCE = 2
"""So many signs of life that do not come, one after the other, are taken for the metaserver's absence."""

AGAIN = Backoff(0.25, 4.0)
"""The delays between two tries to connect."""

log = Logger()


@define(eq=False)
class NewsEndpoint(RemoteEndpoint):
    """The object that the metaserver may call at pages that follow events."""

    takes: ClassVar[Calls] = EVENTS

    feed: MetaserverEvents

    async def remote_happened(self, batch: EventNotes) -> Ok:
        """Take what happened."""
        self.feed.heard(batch)
        return Ok()


@define(eq=False)
class MetaserverEvents:
    """The ``ports.EventFeed`` over a connection of its own, made anew whenever it is lost.

    ``quiet`` is the time in seconds between two signs of life. A metaserver that does not tell of events yet is asked
    again and again whether it is there.
    """

    endpoint: IStreamClientEndpoint | InTurn
    where: str
    clock: IReactorTime
    quiet: float = SIGN_OF_LIFE
    _listener: EventListener | None = field(default=None, init=False)
    _living: Deferred[None] | None = field(default=None, init=False)
    _woken: Signal = field(factory=Signal, init=False)
    _heard_at: float = field(default=0.0, init=False)
    _trouble: str = field(default="", init=False)
    _stopped: bool = field(default=False, init=False)

    def start(self, listener: EventListener) -> None:
        """Start to tell a listener."""
        self._listener = listener
        self._living = Deferred.fromCoroutine(self._live(listener))

    async def stop(self) -> None:
        """End the connection, and return when nothing more is told."""
        self._stopped = True
        self._woken.notify()
        living, self._living = self._living, None
        if living is not None:
            living.addErrback(lambda failure: log.failure("following events failed", failure))
            await living

    def heard(self, batch: EventNotes) -> None:
        """Take a batch for the listener."""
        self._heard_at = self.clock.seconds()
        if self._listener is not None and not self._stopped:
            self._listener.told(batch)

    async def _live(self, listener: EventListener) -> None:
        tries = AGAIN.begin()
        while not self._stopped:
            try:
                session = await greet(self.endpoint, self.where, PrincipalRole.PAGES.value, self.clock, within=WITHIN)
                try:
                    await self._follow(session, listener)
                    tries.reset()
                finally:
                    session.close()
            except BuildToolError as error:
                self._note(str(error))
            if not self._stopped:
                listener.lost()
                await self._woken.wait_at_most(tries.next_delay(), self.clock)

    async def _follow(self, session: Session, listener: EventListener) -> None:
        """Return when the connection has ended, or is silent for too long. Raises BuildToolError."""
        tells = TOLD in session.broker.capabilities
        if tells:
            told = await session.ask(FollowEvents(), EventsFollowed, NewsEndpoint(self), within=WITHIN)
            listener.began(told.last)
        self._note("")
        self._heard_at = self.clock.seconds()
        session.closed().addCallback(lambda _: self._woken.notify())
        while not (self._stopped or session.broker.disconnected):
            if not tells:
                await session.ask(AskHealthFor(), HealthStatus, within=WITHIN)
                self._heard_at = self.clock.seconds()
                listener.began(0)
            if self.clock.seconds() - self._heard_at >= SILENCE * self.quiet:
                self._note(f"the metaserver at {self.where} says nothing for {SILENCE * self.quiet:g} s")
                return
            await self._woken.wait_at_most(self.quiet / 3, self.clock)

    def _note(self, trouble: str) -> None:
        """Log what is wrong, once, and that it is over."""
        if trouble != self._trouble:
            if trouble:
                log.warn("pages hear of no events: {trouble}", trouble=trouble)
            else:
                log.info("pages hear of events again")
        self._trouble = trouble


@define(eq=False)
class LocalEvents:
    """The ``ports.EventFeed`` of pages that run inside the metaserver."""

    events: EventFollowers
    _follower: EventFollower | None = field(default=None, init=False)

    def start(self, listener: EventListener) -> None:
        """Start to tell a listener."""

        async def hear(batch: EventNotes) -> None:
            listener.told(batch)

        self._follower = self.events.join(hear)
        listener.began(self._follower.told)

    async def stop(self) -> None:
        """Stop telling."""
        if self._follower is not None:
            self._follower.leave()
