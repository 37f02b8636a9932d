"""A build server's standing connection to the metaserver: made, kept alive, and made again with growing delay.

An open connection proves nothing: the metaserver may be stopped, or the network in between swallow everything. So each
heartbeat must be answered, or the connection is dropped and another one made.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

import attrs
from attrs import define, frozen
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.adapters.control.calls import RemoteEndpoint
from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.network.in_turn import InTurn
from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.signal import Signal
from buildtool.errors import (
    BuildToolError,
    Fenced,
    NameTaken,
    NoContact,
    ProtocolMismatch,
    StorageUnavailable,
    Unavailable,
)
from buildtool.ports.buildserver import Orders
from buildtool.protocol.calls import ORDERS, Calls
from buildtool.protocol.messages import (
    AbortOrder,
    Accepted,
    Goodbye,
    Heartbeat,
    HeartbeatAnswer,
    Ok,
    Order,
    Register,
    Welcome,
)

TOLD_TIMEOUT = 120.0
"""Seconds that the metaserver may take to publish an artifact, which it reads once more when it was restarted."""

GOODBYE_TIMEOUT = 5.0

KEEPALIVE = 15.0
"""Seconds between two heartbeats, unless a quarter of the lease is less."""

ANSWERED = 5.0
"""Seconds that the answer to a heartbeat may always take, however often they are sent."""

LEASE = 60.0
"""The lease in seconds, as long as no metaserver has told it."""

SOONEST = 0.05
"""The least seconds between two heartbeats, or two logins, whatever lease a metaserver tells."""

T = TypeVar("T", bound=attrs.AttrsInstance)

MadeRegister = Register | Awaitable[Register]
"""The message of a login, or what it comes from."""


@frozen
class LoginPace:
    """The delays between logins, in seconds: about ``first``, doubling up to ``most``, no two sides equally long.

    A Session that lasted ``settled`` seconds makes the next try after it the first again; one that broke sooner does
    not. While another machine has the name, at least ``taken`` seconds pass between two tries. After ``retries`` logins
    in a row that failed there is no further one; None is for ever.
    """

    first: float = 1.0
    most: float = 300.0
    settled: float = 10.0
    taken: float = 10.0
    retries: int | None = None
    chance: Callable[[], float] = random.random

    def delay(self, tries: int, most: float = math.inf) -> float:
        """Return the delay before the next try, when ``tries`` were made in vain; it is at most ``most`` too."""
        return Backoff(1.25 * self.first, min(self.most, most), spread=0.4).delay(tries, 1.0 - self.chance())


@frozen
class LinkStanding:
    """The standing of a build server with its metaserver at ``where``: ``connected`` or not, for so many seconds.

    ``why`` is why it is not, and ``again`` in how many seconds the next login is tried; None while one is under way.
    """

    where: str
    connected: bool
    seconds: float
    why: str = ""
    again: float | None = None


@define(eq=False)
class _OrderBook(RemoteEndpoint):
    """What the metaserver may call at a build server."""

    takes: ClassVar[Calls] = ORDERS

    _orders: Orders

    async def remote_build(self, message: Order) -> Accepted:
        """Take an Attempt, or refuse with a reason."""
        return await self._orders.build(message)

    async def remote_abort(self, message: AbortOrder) -> Ok:
        """Stop an Attempt."""
        return await self._orders.abort(message)


class BuildServerLink(Service):
    """The ``ports.MetaserverLink``; as a service it keeps the build server registered while it runs.

    ``register`` makes the message for each login, to which what is held is added. ``final`` is called with the error
    where trying again is in vain: another version of the protocol, or as many failed logins as ``pace`` allows.
    ``keepalive`` is in seconds. Set ``orders`` before the service starts.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint | InTurn,
        where: str,
        register: Callable[[], MadeRegister],
        clock: IReactorTime,
        *,
        final: Callable[[BuildToolError], None],
        pace: LoginPace | None = None,
        keepalive: float = KEEPALIVE,
    ) -> None:
        self.orders: Orders | None = None
        self._endpoint = endpoint
        self._where = where
        self._register = register
        self._clock = clock
        self._final = final
        self._pace = pace or LoginPace()
        self._keepalive = keepalive
        self._lease = LEASE
        self._session: Session | None = None
        self._living: Deferred[None] | None = None
        self._taken: NameTaken | None = None
        self._hurry = Signal()
        self._hastened = False
        self._since = clock.seconds()
        self._why = "it has not logged in yet"
        self._again: float | None = None

    @property
    def standing(self) -> LinkStanding:
        """How things stand with the metaserver now."""
        now, session = self._clock.seconds(), self._session
        if session is not None:
            return LinkStanding(session.where, True, now - self._since)
        again = None if self._again is None else max(0.0, self._again - now)
        return LinkStanding(self._where, False, now - self._since, self._why, again)

    # --- the service ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Start to log in."""
        super().startService()  # type: ignore[no-untyped-call]
        self._living = Deferred.fromCoroutine(self._live())
        self._living.addErrback(self._ended)

    async def _stop(self) -> None:
        session, living = self._session, self._living
        if session is not None:
            ended = session.closed()
            try:
                await session.ask(Goodbye("the build server stops"), Ok, within=GOODBYE_TIMEOUT)
                session.close()
            except BuildToolError as error:
                session.broker.drop(str(error))  # at once: whoever does not answer may not read either
            await ended
        if living is not None:
            living.cancel()
            await living

    def stopService(self) -> Deferred[None]:
        """Send good-bye and end the connection; fires when it is gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def _ended(self, failure: Failure) -> None:
        if not failure.check(defer.CancelledError):
            self._log.failure("a defect in the connection to the metaserver", failure)

    async def _live(self) -> None:
        orders = self.orders
        assert orders is not None  # noqa: S101 - the composition root sets it
        tries = failed = 0
        while self.running:
            began = self._clock.seconds()
            taken: NameTaken | None = None
            try:
                reason = await self._one_session(orders)
            except ProtocolMismatch as error:
                self._log.error("{why}", why=str(error))
                self._final(error)
                return
            except BuildToolError as error:
                reason, taken = str(error), error if isinstance(error, NameTaken) else None
                failed += 1
            except Exception as error:
                # A defect must not end the logins: whatever it is may pass, and nobody would notice.
                if isinstance(error, defer.CancelledError) and not self.running:
                    raise
                self._log.failure("a defect in the connection to the metaserver")
                reason = f"a defect: {type(error).__name__}: {error}"
                failed += 1
            else:
                failed = 0
                if self._clock.seconds() - began >= self._pace.settled:
                    tries = 0
            if not self.running:
                return
            if failed and failed == self._pace.retries:
                self._log.error("{why}", why=reason)
                self._final(NoContact(f"{_logins(failed)} failed, the last one so: {reason}"))
                return
            # What is held is lost for the metaserver when its lease ends before the next login.
            most = max(self._lease / 4, SOONEST) if orders.held() else math.inf
            delay = self._pace.delay(tries, most)
            tries += 1
            await self._pause(delay if taken is None else max(delay, min(self._pace.taken, most)), reason, taken)

    async def _pause(self, delay: float, reason: str, taken: NameTaken | None) -> None:
        """Wait before the next login; that the name is another machine's is said once, until anything else is."""
        if taken is None:
            self._log.warn("{why}; next try in {delay:.1f} s", why=reason, delay=delay)
        elif self._taken is None:
            self._log.error("{why}; trying again now and then, without a further word", why=reason)
        self._taken = taken
        self._why, self._again = reason, self._clock.seconds() + delay
        await deferLater(self._clock, delay)
        self._again = None

    async def _one_session(self, orders: Orders) -> str:
        """Log in, stay while the connection holds, and return why it ended. Raises BuildToolError when not let in."""
        session = await greet(self._endpoint, self._where, "build server", self._clock)
        try:
            made = self._register()
            said = made if isinstance(made, Register) else await made
            message = attrs.evolve(said, held=orders.held(), notice=orders.notice())
            welcome = await session.ask(message, Welcome, _OrderBook(orders))
        except BaseException:
            session.close()
            raise
        self._session, self._lease, self._since = session, welcome.lease, self._clock.seconds()
        self._log.info("registered at {where}, session {session}", where=session.where, session=welcome.session)
        beating: Deferred[None] | None = None
        try:
            orders.connected(welcome)
            beating = Deferred.fromCoroutine(self._beat(session, orders)).addErrback(self._unbeaten, session)
            reason = await session.closed()
        finally:
            self._session, self._since, self._why = None, self._clock.seconds(), "the connection was lost"
            session.close()  # it is gone already, unless a defect ends this
            if beating is not None:
                beating.cancel()
        orders.disconnected(reason)
        return reason

    def _unbeaten(self, failure: Failure, session: Session) -> None:
        """Drop a connection whose heartbeats have ended by a defect: another one is made, where they begin anew."""
        self._ended(failure)
        if not failure.check(defer.CancelledError):
            session.broker.drop("the heartbeats ended by a defect of this program")

    async def _beat(self, session: Session, orders: Orders) -> None:
        """Send heartbeats with what this build server holds; drop a connection that does not answer."""
        every = max(min(self._keepalive, self._lease / 4), SOONEST)
        while True:
            if not self._hastened:
                await self._hurry.wait_at_most(every, self._clock)
            self._hastened = False
            message = Heartbeat(orders.held(), orders.notice())
            try:
                heard = await session.ask(message, HeartbeatAnswer, within=max(every, ANSWERED))
            except StorageUnavailable as error:
                self._log.warn("a heartbeat was not taken: {why}", why=str(error))
            except BuildToolError as error:
                session.broker.drop(str(error))
                return
            else:
                orders.judged(heard.verdicts)

    # --- ports.MetaserverLink ---------------------------------------------------------------------------

    def hasten(self) -> None:
        """Send the next heartbeat at once, or as soon as the one under way is answered."""
        self._hastened = True
        self._hurry.notify()

    def again(self, why: str) -> None:
        """Log in anew, since what is announced has changed; what builds goes on meanwhile."""
        if self._session is not None:
            self._session.broker.drop(why)

    async def tell(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        """Send the metaserver a message and return its answer. Raises Unavailable, or what it refused with."""
        session = self._session
        if session is None:
            raise Unavailable(f"there is no connection to the metaserver at {self._where}")
        try:
            return await session.ask(message, expected, within=TOLD_TIMEOUT)
        except Unavailable:
            # Whether it arrived is not known: only a new Session can tell.
            session.broker.drop(f"no answer to {type(message).__name__}")
            raise
        except Fenced as error:
            session.broker.drop(str(error))
            raise Unavailable(f"the Session at {self._where} is over: {error}") from error


def _logins(count: int) -> str:
    return "1 login" if count == 1 else f"{count} logins in a row"
