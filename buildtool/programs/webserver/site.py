"""The pages as a site, for ``bin/webserver`` and for ``bin/metaserver --web``."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from attrs import frozen
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.internet.task import deferLater
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from buildtool.adapters.network.connection_shares import CeilingReached, ConnectionShares, ConnectionState, NoRoom
from buildtool.adapters.network.endpoints import network_at
from buildtool.adapters.network.open_files import room_for
from buildtool.adapters.runtime.access_log import AccessLog
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.sql.page_news import SqlNews
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.archive.contents import ArchiveContents
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.storage.logs import LogStore
from buildtool.configuration.settings import Settings
from buildtool.errors import Damaged
from buildtool.metaserver.access.visiting import LocalQuestions
from buildtool.model.access.ceilings import NO_CEILINGS, SECONDS, TOLD, Ceilings
from buildtool.model.access.proxies import FORWARDED_FOR, FORWARDED_PROTO, NO_PROXIES, Proxies
from buildtool.model.addresses import network_of
from buildtool.ports.artifacts import FilesReader
from buildtool.ports.common import Clock
from buildtool.ports.pages import ArtifactReader, LogReader, OpenArtifact, Pages
from buildtool.programs.webserver.ceilings import Refusing, VisitorCeilings
from buildtool.programs.webserver.visits import PagesChannel, SmallRequest
from buildtool.web.access import Access, visitor_of
from buildtool.web.app import NO_TOOLS, NO_UPSTREAM, WebApp, make_urls
from buildtool.web.live.hub import STREAMS, LiveHub
from buildtool.web.live.places import StreamPlaces
from buildtool.web.monitoring.access_log import VisitLine
from buildtool.web.section import Tools, Upstream

STRANGER = 20
"""Seconds that the headers of a connection's first request may take."""

CONNECTIONS = 400
"""Most connections at once besides those over which browsers hear what changes: visitors may not take the descriptors
that the control and transfer ports need. Of these each network has a share, see ``ConnectionShares``."""

READERS = 4
"""Threads that read for pages: where the disk has to be read first, several of them wait at the same time."""

LOG_READERS = 2
"""Threads that read logs."""


class PagesSite(Site):
    """A site of at most ``most`` connections. It keeps a log of who visits it where the configuration names one."""

    noisy = False
    protocol = PagesChannel  # type: ignore[assignment]

    def __init__(
        self,
        root: IResource,
        most: int = CONNECTIONS,
        ceilings: Ceilings = NO_CEILINGS,
        proxies: Proxies = NO_PROXIES,
        kept: AccessLog | None = None,
    ) -> None:
        super().__init__(root, requestFactory=SmallRequest, timeout=STRANGER)  # type: ignore[no-untyped-call]
        self._ceilings, self._proxies, self._kept = ceilings, proxies, kept
        self.admitting: ConnectionShares[PagesChannel] = ConnectionShares(
            room_for(most), lambda: self._ceilings.connections
        )
        self.visitors = VisitorCeilings(lambda: self._ceilings, self.now)
        self.delivered: Counter[str] = Counter()

    def take(self, other: PagesSite) -> None:
        """Answer as another site does from now on, and hold visitors to its limits."""
        self.resource, self._ceilings, self._proxies = other.resource, other._ceilings, other._proxies
        if self._kept is not None:
            self._kept.close()
        self._kept = other._kept

    def stopFactory(self) -> None:
        """Close the log of who visits."""
        super().stopFactory()
        if self._kept is not None:
            self._kept.close()

    def handshake(self, network: str) -> None:
        """Count a handshake that begins, by the network of its peer, unless that is a proxy. Raises LimitReached."""
        if not self._proxies.stands_behind(network):
            self.visitors.handshake(network)

    def entered(self, request: Request) -> Callable[[], None] | None:
        """Count a request that a proxy passes on; return what is called at its end. Raises LimitReached."""
        peer = getattr(request.getClientAddress(), "host", "")
        if not self._proxies.includes(peer):
            return None
        said = request.requestHeaders.getRawHeaders(FORWARDED_FOR, [])
        return self.visitors.enter(network_of(self._proxies.client(peer, said)))

    def network(self, request: Request) -> str:
        """Return the network that a request comes from, as its connection or the farm's own proxies say."""
        said = request.requestHeaders.getRawHeaders(FORWARDED_FOR, [])
        return network_of(self._proxies.client(getattr(request.getClientAddress(), "host", ""), said))

    def by_tls(self, request: Request, *, direct: bool) -> bool:
        """Return whether a request came by TLS, as its connection does, or as the farm's own proxies say."""
        said = request.requestHeaders.getRawHeaders(FORWARDED_PROTO, [])
        return self._proxies.by_tls(getattr(request.getClientAddress(), "host", ""), said, direct=direct)

    def now(self) -> float:
        """Return the time in seconds by which idleness is measured."""
        return self.reactor.seconds()

    def buildProtocol(self, addr: IAddress | None) -> PagesChannel | None:  # type: ignore[override]
        """Return the connection's protocol, or None (which closes it) when there is no room for one more."""
        network = "" if self._proxies.includes(getattr(addr, "host", "")) else network_at(addr)
        try:
            other = self.admitting.make_room(network, self.now())
        except CeilingReached as full:
            return Refusing(str(full))  # type: ignore[return-value] # as long as that is a connection
        except NoRoom:
            return None
        if other is not None:
            ITCPTransport(other.transport).abortConnection()
        made: PagesChannel = super().buildProtocol(addr)  # type: ignore[no-untyped-call]
        self.admitting.arrived(made, network, self.now())
        return made

    def stands(self, channel: PagesChannel, state: ConnectionState) -> None:
        """Record what a visitor does."""
        self.admitting.stands(channel, state, self.now())

    def log(self, request: http.Request) -> None:
        """Add an answer to the log of who visits, if there is one."""
        if self._kept is not None:
            self._kept.write(_visit(request, self._proxies).line())


def _visit(request: http.Request, proxies: Proxies) -> VisitLine:
    """Return what is kept of an answer."""

    def said(name: bytes) -> bytes:
        return b" ".join(request.requestHeaders.getRawHeaders(name, []))

    peer = getattr(request.getClientAddress(), "host", "")
    return VisitLine(
        client=proxies.client(peer, request.requestHeaders.getRawHeaders(FORWARDED_FOR, [])),
        who=visitor_of(cast(Request, request)).name,
        at=WallClock().wall(),
        method=request.method,
        target=request.uri,
        protocol=request.clientproto,
        status=request.code,
        length=request.sentLength,
        referer=said(b"referer"),
        agent=said(b"user-agent"),
    )


def web_site(
    settings: Settings,
    pages: Pages,
    logs: LogReader,
    clock: Clock,
    upstream: Upstream = NO_UPSTREAM,
    access: Access | None = None,
    tools: Tools = NO_TOOLS,
) -> PagesSite:
    """Return the pages of this deployment as a site to listen with: it has room for all that may be live, too."""
    urls = make_urls(settings.public_url, settings.transfer_url)
    app = WebApp(pages, logs, urls, clock, upstream, access, tools)
    most = CONNECTIONS + (upstream.live.places.most if upstream.live is not None else 0)
    kept = AccessLog(settings.front.access_log) if settings.front.access_log is not None else None
    return PagesSite(app.resource(), most, settings.limits, settings.proxies, kept)


def tools_for(timers: IReactorTime, settings: Callable[[], Settings], artifacts: ArtifactReader) -> Tools:
    """Return what pages need from outside; ``settings`` returns those that hold now."""

    def policies() -> list[str]:
        limits = settings().limits
        most = {name: limits.of(what).somebody for name, what in TOLD.items()}
        return [f'"{name}";q={most[name]};w={SECONDS[what]:.0f}' for name, what in TOLD.items() if most[name]]

    return Tools(lambda: secrets.token_urlsafe(24), partial(deferLater, timers), policies, artifacts)


class StateReader:
    """The metaserver's state directory, opened by another process: only read."""

    def __init__(self, reactor: ReactorBase, state_dir: Path) -> None:
        names = {"pages": READERS, "logs": LOG_READERS, "searches": 1, "artifacts": LOG_READERS}
        self._threads = tuple(Threads(reactor, size, name) for name, size in names.items())
        self._database = SqliteDatabase.reading(state_dir / DATABASE, self._threads[0], READERS)
        self.pages = SqlPages(self._database)
        self.news = SqlNews(self._database)
        # Never started: that would write.
        self.logs = LogStore(state_dir, self._threads[1], searchers=self._threads[2])
        self.artifacts = ArtifactStore(state_dir, self._threads[3])
        self.contents = ArchiveContents(self.artifacts, self._threads[3])

    async def close(self) -> None:
        """Close the database and end the threads."""
        try:
            await self._database.close()
        finally:
            for threads in self._threads:
                threads.stop()


@frozen
class ReportedArtifacts:
    """The artifacts in ``store``, of which one that is damaged is reported, so that it is not answered with again."""

    store: ArtifactReader
    corrupt: Callable[[str], object]

    async def open(self, digest: str) -> OpenArtifact:
        """Return an artifact as the port says."""
        try:
            return await self.store.open(digest)
        except Damaged:
            self.corrupt(digest)
            raise


class OwnPages:
    """The pages of a metaserver itself. ``reading`` is the database, which only they read; ``files`` are its own."""

    def __init__(
        self,
        reading: SqliteDatabase,
        files: tuple[LogReader, ArtifactReader, FilesReader],
        questions: LocalQuestions,
        access: Access,
        timers: IReactorTime,
    ) -> None:
        self._clock, self._timers = WallClock(), timers
        self._pages = SqlPages(reading)
        self._logs, self._artifacts, self._contents = files
        self._questions, self._access = questions, access
        self.live = LiveHub(SqlNews(reading), self._clock, timers, StreamPlaces(STREAMS))

    def site(self, settings: Settings) -> PagesSite:
        """Return the pages by these settings as a site to listen with."""
        upstream = Upstream(self._questions, self._questions, self.live, self._contents)
        tools = tools_for(self._timers, lambda: settings, self._artifacts)
        return web_site(settings, self._pages, self._logs, self._clock, upstream, self._access, tools)
