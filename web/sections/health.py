"""What monitoring asks."""

from __future__ import annotations

import json

from twisted.logger import Logger
from twisted.web.server import Request

from buildtool import __version__
from buildtool.errors import NewerDatabase, NotRunning, ProtocolMismatch, StorageUnavailable, Unavailable, UsageError
from buildtool.model.access.rights import Act
from buildtool.protocol.pages.figures import AskFigures, FiguresTold

from .. import health
from ..access import shown_by
from ..answers import answer, plain
from ..monitoring.exposition import exposition
from ..section import Section, page

_log = Logger()


class HealthSection(Section):
    """The answers to monitoring."""

    @page(Act.SEE_FARM, "/metrics")
    async def metrics(self, request: Request) -> bytes:
        """Send the figures of the farm, as Prometheus reads them."""
        figures, overview = await self._figures(request), None
        try:
            overview = await self.parts.pages.overview(self.parts.clock.wall())
        except (StorageUnavailable, NewerDatabase) as error:
            _log.warn("figures go without those of the database: {reason}", reason=str(error))
        body, content_type = exposition(figures, overview, request.getHeader("accept") or "")
        return answer(request, body, content_type, "no-cache")

    async def _figures(self, request: Request) -> FiguresTold | None:
        """Return what the metaserver tells; None where it does not answer, or is too old to know."""
        if self.parts.upstream.questions is None:
            return None
        try:
            return await self.parts.upstream.questions.act(shown_by(request), AskFigures(), FiguresTold)
        except (Unavailable, NotRunning, ProtocolMismatch, UsageError) as error:
            _log.info("figures go without the metaserver: {reason}", reason=str(error))
            return None

    @page(Act.PING, "/ready")
    async def ready(self, request: Request) -> bytes:
        """Answer whether this process can show pages: 200, or 503 while the database cannot be read."""
        await self.parts.pages.health()
        return plain(request, "ready\n")

    @page(Act.PING, "/health")
    async def health(self, request: Request) -> bytes:
        """Answer monitoring with the health of database and metaserver: 200 when all is well, else 503."""
        revision = trouble = ""
        try:
            revision = (await self.parts.pages.health()).revision
        except (StorageUnavailable, NewerDatabase) as error:
            _log.warn("not healthy: {reason}", reason=str(error))
            trouble = error.code
        told = (
            await self.parts.upstream.condition.health(shown_by(request))
            if self.parts.upstream.condition is not None
            else None
        )
        said = health.health_answer(
            __version__, revision, trouble, told, asked=self.parts.upstream.condition is not None
        )
        request.setResponseCode(said.status)
        return answer(request, json.dumps(said.body).encode() + b"\n", "application/json", "no-store")
