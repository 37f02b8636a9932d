"""The build servers."""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.errors import NotFound
from buildtool.model.access.rights import Act

from ..access import seen_line, visitor_of
from ..answers import number, query_value
from ..pages.machines import SERVERS_PER_PAGE, servers_page
from ..section import Section, overview_for, page


class MachinesSection(Section):
    """The build servers."""

    @page(Act.SEE_FARM, "/buildersinfo", "/buildservers")
    async def servers(self, request: Request) -> bytes:
        """Show a page of the build servers, or the one with a name. Raises NotFound."""
        now, name, said = self.parts.clock.wall(), query_value(request, "name"), query_value(request, "page")
        at, per = number(said, "page") if said else 1, SERVERS_PER_PAGE
        lines = await self.parts.pages.build_servers(skip=(at - 1) * per, limit=per + 1, name=name)
        if name and not lines:
            raise NotFound("there is no build server of that name")
        by = visitor_of(request)
        seen = [seen_line(line, self.parts.access, by) for line in lines]
        overview = await overview_for(self.parts, by, now)
        shown = servers_page(seen, overview, self.parts.urls, now, at=at, name=name)
        return self.shown(request, "servers", shown)
