"""A build server's standing connection to the metaserver: made, kept, and made again with growing delay."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

import attrs
from attrs import define, frozen
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buildtool.adapters.pb_client import Session, greet
from buildtool.adapters.pb_door import Door
from buildtool.errors import BuildToolError, ProtocolMismatch, Unavailable
from buildtool.ports import Orders
from buildtool.protocol import (
    AbortOrder,
    Accepted,
    Done,
    Ended,
    Goodbye,
    Ok,
    Order,
    Register,
    RenewTickets,
    Tickets,
    Welcome,
)

__all__ = ["Backoff", "BuildServerLink"]

TOLD_TIMEOUT = 120.0
"""Seconds that the metaserver may take to publish an artifact, which it reads once more when it was restarted."""

GOODBYE_TIMEOUT = 5.0

T = TypeVar("T", bound=attrs.AttrsInstance)


@frozen
class Backoff:
    """Delays between tries, in seconds: doubling from ``first`` to ``most``, each up to a quarter longer or shorter.

    A Session that lasted ``settled`` seconds makes the next try after it the first again; one that broke sooner does
    not, so that two build servers of one name do not throw each other out all the time.
    """

    first: float = 1.0
    most: float = 60.0
    settled: float = 10.0
    chance: Callable[[], float] = random.random

    def delay(self, tries: int) -> float:
        """Return the delay before the next try, when ``tries`` were made in vain."""
        return min(self.first * 2.0 ** min(tries, 30), self.most) * (0.75 + 0.5 * self.chance())


@define(eq=False)
class _OrderBook(Door):
    """What the metaserver may call at a build server."""

    takes: ClassVar[Mapping[str, type[attrs.AttrsInstance]]] = {"build": Order, "abort": AbortOrder}

    _orders: Orders

    async def remote_build(self, message: Order) -> Accepted:
        """Take an Attempt, or refuse with a reason."""
        return await self._orders.build(message)

    async def remote_abort(self, message: AbortOrder) -> Ok:
        """Stop an Attempt."""
        return await self._orders.abort(message)


class BuildServerLink(Service):
    """Implements ``ports.MetaserverLink``; as a service it keeps the build server registered while it runs.

    ``register`` makes the message for each login. ``final`` is called with the error where trying again is in vain:
    another version of the protocol. Set ``orders`` before the service starts.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        where: str,
        register: Callable[[], Register],
        clock: IReactorTime,
        *,
        final: Callable[[BuildToolError], None],
        backoff: Backoff | None = None,
    ) -> None:
        self.orders: Orders | None = None
        self._endpoint = endpoint
        self._where = where
        self._register = register
        self._clock = clock
        self._final = final
        self._backoff = backoff or Backoff()
        self._session: Session | None = None
        self._living: Deferred[None] | None = None

    # --- the service ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to log in."""
        super().startService()  # type: ignore[no-untyped-call]
        self._living = Deferred.fromCoroutine(self._live())
        self._living.addErrback(self._ended)

    async def _stop(self) -> None:
        session, living = self._session, self._living
        if session is not None:
            ended = session.closed()
            try:
                await session.call("goodbye", Goodbye("the build server stops"), Ok, within=GOODBYE_TIMEOUT)
                session.close()
            except BuildToolError as error:
                session.broker.drop(str(error))  # at once: whoever does not answer may not read either
            await ended
        if living is not None:
            living.cancel()
            await living

    def stopService(self) -> Deferred[None]:
        """Say good-bye and end the connection; fires when it is gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def _ended(self, failure: object) -> None:
        if not getattr(failure, "check", lambda _: None)(defer.CancelledError):
            self._log.failure("a defect in the connection to the metaserver", failure)  # type: ignore[arg-type]

    async def _live(self) -> None:
        tries = 0
        while self.running:
            began = self._clock.seconds()
            try:
                reason = await self._one_session()
            except ProtocolMismatch as error:
                self._log.error("{why}", why=str(error))
                self._final(error)
                return
            except BuildToolError as error:
                reason = str(error)
            else:
                if self._clock.seconds() - began >= self._backoff.settled:
                    tries = 0
            if not self.running:
                return
            delay = self._backoff.delay(tries)
            tries += 1
            self._log.warn("{why}; next try in {delay:.1f} s", why=reason, delay=delay)
            await deferLater(self._clock, delay)

    async def _one_session(self) -> str:
        """Log in, stay while the connection holds, and return why it ended. Raises BuildToolError when not let in."""
        orders = self.orders
        assert orders is not None  # noqa: S101 - the composition root sets it
        session = await greet(self._endpoint, self._where, "build server", self._clock)
        try:
            welcome = await session.call("register", self._register(), Welcome, _OrderBook(orders))
        except BaseException:
            session.close()
            raise
        self._session = session
        self._log.info("registered at {where}, session {session}", where=self._where, session=welcome.session)
        orders.connected(welcome)
        try:
            reason = await session.closed()
        finally:
            self._session = None
        orders.disconnected(reason)
        return reason

    # --- ports.MetaserverLink ---------------------------------------------------------------------------

    async def ended(self, message: Ended) -> Ok:
        """Say how an Attempt ended without an artifact."""
        return await self._call("ended", message, Ok)

    async def done(self, message: Done) -> Ok:
        """Say that an Attempt's artifact is uploaded."""
        return await self._call("done", message, Ok)

    async def renew(self, message: RenewTickets) -> Tickets:
        """Ask for fresh tickets."""
        return await self._call("renew", message, Tickets)

    async def _call(self, name: str, message: attrs.AttrsInstance, expected: type[T]) -> T:
        session = self._session
        if session is None:
            raise Unavailable(f"there is no connection to the metaserver at {self._where}")
        try:
            return await session.call(name, message, expected, within=TOLD_TIMEOUT)
        except Unavailable:
            # Whether it arrived is not known: only a new Session can tell.
            session.broker.drop(f"no answer to {name!r}")
            raise
