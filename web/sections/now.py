"""The front page."""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.model.access.rights import Act
from buildtool.ports.pages import BuildsAsked

from ..access import sees_for, visitor_of
from ..pages.now import status_page
from ..section import Section, overview_for, page

LATEST = 10
"""How many builds the front page lists."""


class NowSection(Section):
    """The front page."""

    @page(Act.SEE_FARM, "/metaserverstatus", "/")
    async def status(self, request: Request) -> bytes:
        """Show the figures of everything and the latest builds."""
        now, by = self.parts.clock.wall(), visitor_of(request)
        overview = await overview_for(self.parts, by, now)
        sees = sees_for(self.parts.access, by)
        latest = (await self.parts.pages.builds(BuildsAsked(limit=LATEST, sees=sees))).lines
        shown = status_page(overview, latest, self.parts.urls, now, partly=sees is not None)
        return self.shown(request, "status", shown)
