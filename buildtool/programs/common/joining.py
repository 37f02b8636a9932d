"""How a program joins a farm with the line of an invitation, and connects as who it is from then on.

Tested by tests/e2e/test_identities.py.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.storage.private_directories import own_keys, people_directory
from buildtool.adapters.tls.certificates import Identified
from buildtool.adapters.tls.contexts import ANY_HTTP, ClientTls, OverTls
from buildtool.adapters.tls.credentials import CredentialStore, OwnIdentity
from buildtool.adapters.tls.pinning import pinned_authority
from buildtool.adapters.tls.signer import request_text
from buildtool.adapters.tls.words import skew_words
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.given.values import Given
from buildtool.errors import Unauthorised, Unavailable, UsageError
from buildtool.model.access.identities import token_digest
from buildtool.model.access.join_line import LINE_LIMIT, JoinLine, read_join_line
from buildtool.model.addresses import at_port
from buildtool.model.principal import PrincipalRole
from buildtool.protocol.enrolment import Credentials, Join, Renew

log = Logger()

T = TypeVar("T")

PEOPLE = (PrincipalRole.REQUESTER, PrincipalRole.OBSERVER, PrincipalRole.OPERATOR)
"""The roles that a person or their script can have."""

LOOK_EVERY = 3_600.0
"""Seconds between two looks whether a certificate is to be renewed, at most."""

RETRY = 60.0
"""Seconds until a renewal that failed is tried again, at most."""

MakesTls = Callable[[Identified], IOpenSSLClientConnectionCreator]
"""What makes, of the own certificate, how to speak TLS."""

__all__ = ["FarmEndpoint", "join", "renew", "renewal"]


def said_join_line(said: str | None, given: Given | None = None) -> JoinLine | None:
    """Return the line of an invitation that was said: itself, in a file, on standard input, or as it was ``given``.

    Nothing that is started from here on finds it in the environment. None where nothing was said. Raises UsageError.
    """
    os.environ.pop("BUILDTOOL_JOIN", "")
    beside = None if given is None else given.options.get("join")
    kept = "" if beside is None else str(beside.value)
    if said == "":
        raise UsageError(
            "the line to join with is empty: say the line of an invitation, a file with it, or - for standard input"
        )
    text = said or kept
    return read_line(text) if text else None


def read_line(text: str) -> JoinLine:
    """Return the line of an invitation: itself, in a file, or for ``-`` on standard input. Raises UsageError."""
    if text == "-":
        text = sys.stdin.readline(LINE_LIMIT)
    elif "/sha256:" not in text:
        try:
            with Path(text).open(encoding="utf-8", errors="replace") as file:
                text = file.read(LINE_LIMIT + 1)  # of what may have no end, such as a device
        except OSError as error:
            raise UsageError(f"--join {text[:80]!r} is neither a line of an invitation nor a file with one") from error
    return read_join_line(text)


def store_for(address: tuple[str, int]) -> CredentialStore:
    """Return where a person's key for a metaserver is kept, below ``$XDG_CONFIG_HOME``. Raises UsageError."""
    return CredentialStore(people_directory() / f"{address[0].replace(':', '_').replace('%', '_')}_{address[1]}")


async def farm_at(reactor: ReactorBase, addresses: Collection[tuple[str, int]]) -> FarmEndpoint | None:
    """Return who this side is at a metaserver at one of these addresses.

    None is for a stranger.
    Raises ConfigurationError.
    """
    for place in own_keys():
        store = CredentialStore(place)
        own = store.load()
        if own is not None and not set(addresses).isdisjoint(own.addresses):
            return FarmEndpoint(reactor, store, own)
    return None


async def join(
    reactor: ReactorBase, line: JoinLine, store: CredentialStore, roles: Sequence[PrincipalRole]
) -> OwnIdentity:
    """Join the farm of an invitation, at the first of its addresses that answers; keep and return who this side is.

    ``roles`` are those that this program can have. Raises Unauthorised, which says what is wrong with the invitation,
    Unavailable, ConfigurationError.
    """
    had, key, timers = store.key_file.exists(), store.key(), IReactorTime(reactor)
    problem = Unavailable("the line to join with names no address")
    for host, port in line.addresses:
        where, endpoint = at_port(host, port), machine_at(reactor, host, port)
        try:
            authority = await pinned_authority(endpoint, where, line.fingerprint, timers, host)
            tls = ClientTls([authority], name=host)
            session = await _greeted(endpoint, where, PrincipalRole.JOINING, tls, timers)
        except Unavailable as error:
            problem = error
            continue
        try:
            wanted = Join(line.token, request_text(key, "joining"), tuple(one.value for one in roles))
            told = await session.ask(wanted, Credentials)
        except Unauthorised as refused:
            if not had:
                raise
            raise Unauthorised(f"{refused} (this side's key is in {store.directory})") from refused
        finally:
            session.close()
        return store.keep(told, line.addresses, token_digest(line.token))
    raise problem


async def renew(reactor: ReactorBase, store: CredentialStore, own: OwnIdentity) -> tuple[OwnIdentity, float]:
    """Return the own key with its next certificate, once that is kept, and what the metaserver's clock says.

    That is 0 from one that does not tell. Whatever this side's clock says, the farm's certificate passes: nothing else
    is asked here. Raises Unauthorised, Unavailable.
    """
    timers = IReactorTime(reactor)
    problem = Unavailable("no address of the metaserver is known")
    for host, port in own.addresses:
        where = at_port(host, port)
        try:
            tls = own.tls(any_time=True, host=host)
            session = await _greeted(machine_at(reactor, host, port), where, PrincipalRole.RENEWING, tls, timers)
        except Unavailable as error:
            problem = error
            continue
        try:
            told = await session.ask(Renew(), Credentials)
        finally:
            session.close()
        return store.keep(told, own.addresses, own.line), told.now
    raise problem


async def _greeted(
    endpoint: IStreamClientEndpoint, where: str, role: PrincipalRole, tls: ClientTls, timers: IReactorTime
) -> Session:
    return await greet(OverTls(tls, endpoint), where, role.value, timers)


@define(eq=False)
class FarmEndpoint:
    """The identity of this side at a farm that it joined, for as long as it runs.

    A certificate that is due is renewed before a connection is made, and by ``keep_fresh``. ``clock`` returns wall
    time; ``logs_in`` says that ``let_in`` will be called, and ``renews`` whether connecting renews. ``draw`` returns a
    number from 0 to 1, by which those that joined at once do not all renew at once.
    """

    reactor: ReactorBase
    store: CredentialStore
    own: OwnIdentity
    clock: Callable[[], float] = time.time
    logs_in: bool = False
    renews: bool = True
    draw: Callable[[], float] = random.random
    skew: float = field(default=0.0, init=False)
    """By how many seconds the metaserver's clock was ahead at the last renewal."""

    _transfers: ClientTls | None = field(default=None, init=False)
    _refused: bool = field(default=False, init=False)
    _quiet_until: float = field(default=0.0, init=False)
    _lock: DeferredLock = field(factory=DeferredLock, init=False)
    _drawn: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._drawn = self.draw()

    def transfers(self, host: str, port: int) -> ClientTls | None:
        """Return how to speak to the transfer port: the farm's own is at the hosts where the metaserver is."""
        own, kept = self.own, self._transfers
        if not any(host == one for one, _ in own.addresses):
            return None
        # It is asked for at each request, and to make one takes as long as the rest of a small one.
        if kept is None or kept.identity is not own.identified or (kept.name, kept.skew) != (host, self.skew):
            kept = self._transfers = own.tls(ANY_HTTP, host=host, skew=self.skew)
        return kept

    def let_in(self) -> None:
        """Take in that the metaserver has let this side in on the last connection.

        Where it did not, a clock may be wrong, so the certificate is renewed before the next: that tells.
        """
        self._refused = False

    def noting(self, register: Callable[[], T]) -> Callable[[], T]:
        """Return what makes the message of a login, and takes in that one can be made."""

        def made() -> T:
            self.let_in()
            return register()

        return made

    async def keep_fresh(self) -> float:
        """Renew the certificate where it is time; return in how many seconds to look again. Raises Unauthorised."""
        try:
            await self._renew_where_due()
        except Unavailable as error:
            left = self.own.identified.ends() - self._now()
            log.warn("the certificate is not renewed yet: {error}", error=error)
            return max(1.0, min(RETRY, left / 4)) if left > 0 else RETRY
        return max(1.0, min(LOOK_EVERY, self._due() - self._now()))

    def _now(self) -> float:
        """Return what the metaserver's clock says, as far as that is known."""
        return self.clock() + self.skew

    def _due(self) -> float:
        """Return when the certificate is to be renewed, in seconds of wall time."""
        return self.own.identified.renew_at(self._drawn)

    def _is_due(self) -> bool:
        """Return whether it is time to renew, or this side's clock cannot be right: the certificate begins later."""
        now = self._now()
        doubtful = self._refused and self.reactor.seconds() >= self._quiet_until
        return doubtful or now >= self._due() or now < self.own.identified.begins()

    async def _renew_where_due(self) -> None:
        async with _held(self._lock):
            if not self._is_due():
                return
            self.own, theirs = await renew(self.reactor, self.store, self.own)
            self._drawn = self.draw()
            self._refused, self._quiet_until = False, self.reactor.seconds() + RETRY
            now = self.clock()
            self.skew = theirs - now if theirs else 0.0
            log.info("the key of {name} has its next certificate", name=self.own.name)
            if words := skew_words(self.skew, now):
                log.warn("{words}", words=words)

    def with_key(
        self, endpoint: IStreamClientEndpoint, host: str, tls: MakesTls | None = None
    ) -> IStreamClientEndpoint:
        """Return an endpoint of which each connection speaks TLS and shows the certificate that ``own`` has by then.

        ``host`` is where it leads. ``tls`` makes how to speak where others are believed than the farm's authorities.
        """
        return _WithKey(self, endpoint, tls or partial(self._tls, host))

    def _tls(self, host: str, _shown: Identified) -> IOpenSSLClientConnectionCreator:
        return self.own.tls(host=host, skew=self.skew)

    async def connected(self, endpoint: IStreamClientEndpoint, tls: MakesTls, factory: IProtocolFactory) -> IProtocol:
        """Return the protocol of a connection to an endpoint that is the farm's."""
        try:
            if self.renews:
                await self._renew_where_due()
        except Unavailable:
            if self._now() >= self.own.identified.ends():
                raise
        connecting: Deferred[IProtocol] = OverTls(tls(self.own.identified), endpoint).connect(factory)
        made = await connecting
        self._refused = self.logs_in  # until ``let_in``
        return made


def renewal(farm: FarmEndpoint, timers: IReactorTime) -> PeriodicTask:
    """Start to renew the certificate of a farm that was joined; return the task."""
    task = PeriodicTask("the renewal of the certificate", timers, lambda _task: farm.keep_fresh())
    task.start(0.0)
    return task


@implementer(IStreamClientEndpoint)
@frozen
class _WithKey:
    farm: FarmEndpoint
    endpoint: IStreamClientEndpoint
    tls: MakesTls

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Return a Deferred of the protocol that is connected."""
        return Deferred.fromCoroutine(self.farm.connected(self.endpoint, self.tls, protocolFactory))


@asynccontextmanager
async def _held(lock: DeferredLock) -> AsyncIterator[None]:
    await lock.acquire()
    try:
        yield
    finally:
        lock.release()
