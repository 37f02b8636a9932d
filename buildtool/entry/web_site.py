"""The pages as a site, for ``bin/webserver`` and for ``bin/metaserver --web``."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.base import ReactorBase
from twisted.web import http
from twisted.web.server import Request, Site

from buildtool.adapters.database import Database
from buildtool.adapters.executors import Threads
from buildtool.adapters.logs import LogStore
from buildtool.adapters.queries import SqlPages
from buildtool.ports import Clock, LogReader, Pages, Questions
from buildtool.settings import Settings
from buildtool.web.app import WebApp, make_urls

BODY_LIMIT = 64 * 1024
"""Bytes that a visitor may send with a request before the connection is cut: no page takes any."""

IDLE = 60
"""Seconds after which a connection that asks nothing is closed."""

READERS = 2
"""Threads, and connections, that read the database and the logs."""


class _SmallRequest(Request):
    """A request whose body is bounded."""

    _received = 0

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > BODY_LIMIT:
            self.channel.forceAbortClient()
            return
        super().handleContentChunk(data)  # type: ignore[no-untyped-call]


class _QuietSite(Site):
    """A site that keeps no log of who visits it; a proxy before it may."""

    noisy = False

    def log(self, request: http.Request) -> None:
        """Log nothing."""


def web_site(settings: Settings, pages: Pages, logs: LogReader, clock: Clock, questions: Questions) -> Site:
    """Return the pages of this deployment as a site to listen with."""
    urls = make_urls(settings.public_url, settings.transfer_url)
    app = WebApp(pages, logs, urls, clock, [project.name for project in settings.projects], questions)
    return _QuietSite(app.resource(), requestFactory=_SmallRequest, timeout=IDLE)  # type: ignore[no-untyped-call]


class Reader:
    """The metaserver's state directory, opened by another process: only read."""

    def __init__(self, reactor: ReactorBase, state_dir: Path) -> None:
        self._threads = Threads(reactor, READERS, "pages")
        self._database = Database.reading(state_dir / "buildtool.sqlite", self._threads, READERS)
        self.pages = SqlPages(self._database)
        self.logs = LogStore(state_dir, self._threads)  # never started: that would write

    async def close(self) -> None:
        """Close the database and end the threads."""
        try:
            await self._database.close()
        finally:
            self._threads.stop()
