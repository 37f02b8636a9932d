"""How startcompile.py comes to its connections: a metaserver that is just being started is waited for."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.internet import error
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater

from buildtool.adapters.control.client import GREETING_TIMEOUT, connect_requester
from buildtool.adapters.network.in_turn import InTurn
from buildtool.adapters.storage.private_directories import own_keys
from buildtool.errors import (
    NOTHING_ACCEPTED,
    BuildToolError,
    MachineFault,
    RepositoryUnreachable,
    StorageUnavailable,
    Unavailable,
    UnknownProject,
    UsageError,
)
from buildtool.model.access.metaserver_addresses import MetaserverAddress
from buildtool.ports.requester import MetaserverClient
from buildtool.programs.common.output import complain
from buildtool.programs.common.reaching import joined_addresses, reach
from buildtool.programs.startcompile.command_line import Arguments
from buildtool.programs.startcompile.places import NOWHERE, shown_token

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase

    from buildtool.adapters.http.client import FarmTls
    from buildtool.adapters.http.transfer_client import TransferClient
    from buildtool.client.connection import ApiConnection
    from buildtool.client.transfers import ApiDownloads
    from buildtool.model.logs.index import Phase
    from buildtool.ports.common import Executor
    from buildtool.programs.common.joining import FarmEndpoint

STARTING = 5.0
"""Seconds for which a metaserver is waited for that does not listen, but may be starting."""

IMPATIENT = 2.0
"""Seconds that each step of connecting may take where a mistake may be one only by what was known before."""

_LOOK = 0.25
_SILENT = 1.0
"""Seconds after which somebody at a terminal is told why nothing happens."""


Connects = Callable[[float | None], Awaitable[MetaserverClient]]
"""Makes a connection to the metaserver, in which each step may take so many seconds, or as long as usual."""


@define
class MetaserverConnector:
    """A connector to the metaserver at ``where``, by ``make``, whatever it is spoken to by.

    It waits for it the first time; later tries have their own time. ``close`` ends what is kept for further ones.
    """

    make: Connects
    where: str
    timers: IReactorTime
    close: Callable[[], Awaitable[None]] = field(default=lambda: succeed(None))
    _before: bool = False
    _held: MetaserverClient | None = None

    async def held(self, *, patient: bool) -> MetaserverClient:
        """Return a connection that the next call hands out; only who is ``patient`` waits for one that may be starting.

        Raises what a call does.
        """
        made = await self() if patient else await self.make(IMPATIENT)
        self._held = made
        return made

    def drop(self) -> None:
        """End the connection that is held."""
        if self._held is not None:
            self._held.close()
            self._held = None

    async def __call__(self) -> MetaserverClient:
        """Return a connection. Raises Unavailable, ProtocolMismatch, Unauthorised."""
        if self._held is not None and self._held.is_open:
            session, self._held = self._held, None
            return session
        first, self._before = not self._before, True
        began, told = self.timers.seconds(), False
        while True:
            try:
                return await self.make(None)
            except Unavailable as problem:
                waited = self.timers.seconds() - began
                if not first or waited >= STARTING or not isinstance(problem.__cause__, error.ConnectionRefusedError):
                    raise
            if waited >= _SILENT and not told and sys.stderr.isatty():
                complain(f"nothing listens at {self.where} yet; a metaserver that may be starting is waited for")
                told = True
            await deferLater(self.timers, _LOOK)


def over_pb(
    endpoint: IStreamClientEndpoint | InTurn, where: str, timers: IReactorTime, role: str = "requester"
) -> MetaserverConnector:
    """Return a connector to a control port, in a ``role``."""

    def make(within: float | None) -> Awaitable[MetaserverClient]:
        patience = GREETING_TIMEOUT if within is None else within
        return connect_requester(endpoint, where, timers, patience, role=role)

    return MetaserverConnector(make, where, timers)


def over_http(api: ApiConnection) -> MetaserverConnector:
    """Return a connector to the API of a farm."""
    from buildtool.client.connection import USUAL
    from buildtool.client.metaserver import connected

    return MetaserverConnector(
        lambda within: connected(api, USUAL if within is None else within), api.url.where, api.reactor, api.close
    )


@define
class LateDownloads:
    """The ``Downloads`` of a requester, loaded and made at the first that is fetched: most answers need none."""

    make: Callable[[], ApiDownloads | TransferClient]
    _made: ApiDownloads | TransferClient | None = field(default=None, init=False)

    def _there(self) -> ApiDownloads | TransferClient:
        if self._made is None:
            self._made = self.make()
        return self._made

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        await self._there().fetch(url, path, size, digest, progress)

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        return await self._there().log(url, offset, wait)

    async def phases(self, url: str) -> Sequence[Phase]:
        return await self._there().phases(url)

    async def close(self) -> None:
        """End its connections."""
        if self._made is not None:
            await self._made.close()


@frozen
class Reached:
    """The way to the metaserver that was said: what connects, how to speak to its transfer port, and the own key.

    What is fetched comes over ``api`` where the metaserver is asked over it.
    """

    connect: MetaserverConnector
    transfers: FarmTls
    farm: FarmEndpoint | None
    api: ApiConnection | None = None

    def downloads(self, timers: IReactorTime, files: Executor) -> LateDownloads:
        """Return what fetches, whose files are written by ``files``."""

        def made() -> ApiDownloads | TransferClient:
            from buildtool.adapters.http.transfer_client import TransferClient

            client = TransferClient(timers, files, farm=self.transfers)
            if self.api is None:
                return client
            from buildtool.client.transfers import ApiDownloads

            return ApiDownloads(self.api, client)

        return LateDownloads(made)


async def reached(reactor: ReactorBase, said: Arguments) -> Reached:
    """Return the way to the metaserver, over its control port or over HTTP. Raises what ``addressed`` does."""
    there, timers = reach(reactor, *await addressed(reactor, said)), IReactorTime(reactor)
    if said.where.http is not None:
        from buildtool.client.connection import ApiConnection

        api = ApiConnection.to(
            said.where.http, timers, shown_token(said.where.token_file, said.where.token), there.transfers
        )
        return Reached(over_http(api), there.transfers, there.farm, api)
    role = "requester" if there.farm is None else there.farm.own.role
    return Reached(over_pb(there.ways, there.where, timers, role), there.transfers, there.farm)


async def addressed(reactor: ReactorBase, said: Arguments) -> tuple[tuple[MetaserverAddress, ...], FarmEndpoint | None]:
    """Return where the metaserver is, and the key that this side has there: where it was said, or else also joined.

    Raises UsageError where no address is known, and what ``farm_at`` does.
    """
    addresses = said.addresses if said.where.http is None else (said.where.http.address,)
    if not addresses:
        raise UsageError(NOWHERE)
    if not own_keys():
        return addresses, None
    from buildtool.programs.common.joining import farm_at

    farm = await farm_at(reactor, {(one.host, one.port) for one in addresses})
    if farm is not None and not said.where.chosen and said.where.http is None:
        known = {(one.host, one.port) for one in addresses}
        addresses += tuple(one for one in joined_addresses(farm.own) if (one.host, one.port) not in known)
    return addresses, farm


def check_addressee(said: Arguments, farm: FarmEndpoint | None) -> None:
    """Raise UsageError where a build is asked for, and neither an address nor a key says who is told."""
    has_key = farm is not None or any(one.certificate for one in said.addresses) or said.where.http is not None
    if said.mails and not said.asked[0].email and not has_key:
        raise UsageError("say who is told: an e-mail address (--help shows an example), or join, and your key has one")


def as_answered(error: BuildToolError, where: str, checked: Sequence[str] = ()) -> BuildToolError:
    """Return an error that the metaserver at ``where`` answered, in words that do not blame the own configuration.

    What that refuses is told before anything is asked. So where a flag is refused that is one of ``checked``, whose
    values their own configuration has found good, the two configurations differ.
    """
    said = f"the metaserver at {where} says: {error}"
    if isinstance(error, StorageUnavailable) and str(error).startswith(NOTHING_ACCEPTED):
        return StorageUnavailable(said)
    if isinstance(error, MachineFault | RepositoryUnreachable):
        return type(error)(said)  # startcompile.py itself runs no programs and asks no repositories
    if not isinstance(error, UsageError):
        return error
    differs = ("unknown compile option", "unknown system option", *(f"{flag}{end}" for flag in checked for end in ":="))
    if isinstance(error, UnknownProject) or str(error).startswith(differs):
        said += "; its configuration is another one than yours, perhaps an older: its operator can update it"
    return type(error)(said)
