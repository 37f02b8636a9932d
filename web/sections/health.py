"""What monitoring asks."""

from __future__ import annotations

import json

from twisted.logger import Logger
from twisted.web.server import Request

from buildtool import __version__
from buildtool.errors import NewerDatabase, StorageUnavailable
from buildtool.model.access.rights import Act

from .. import health
from ..access import shown_by
from ..answers import answer
from ..section import Section, page

_log = Logger()


class HealthSection(Section):
    """The answer to monitoring."""

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
