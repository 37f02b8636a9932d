"""The build servers."""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.errors import NotFound
from buildtool.model.access.rights import Act
from buildtool.model.names import is_server_name
from buildtool.model.principal import PrincipalRole
from buildtool.model.search.build_query import EVERYTHING
from buildtool.ports.pages import BuildsAsked

from ..access import projects_seen, seen_line, sees_for, visitor_of
from ..answers import number, query_value
from ..pages.builds import Viewer
from ..pages.details.machine import machine_page
from ..pages.details.own_machines import SIGNED_OUT, own_machines_page
from ..pages.details.work import counted_since, work_card
from ..pages.machines import SERVERS_PER_PAGE, servers_page
from ..section import Section, overview_for, page
from .builds import mine_of

ROWS = 20
"""Builds on the page of a build server: the newest that it had a hand in."""


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

    @page(Act.SEE_FARM, "/buildservers/<name>")
    async def server(self, request: Request, name: str) -> bytes:
        """Show all about one build server. Raises NotFound."""
        lines = await self.parts.pages.build_servers(limit=1, name=name) if is_server_name(name) else ()
        if not lines:
            raise NotFound("there is no build server of that name")
        by, access, now = visitor_of(request), self.parts.access, self.parts.clock.wall()
        sees, mine = sees_for(access, by), mine_of(by)
        query = EVERYTHING.having("server", name)
        found = await self.parts.pages.builds(
            BuildsAsked(query, limit=ROWS, sees=sees, mine=mine, now=now, counted=True)
        )
        did = work_card(await self.parts.pages.work([name], counted_since(now)), projects_seen(access, by), now)
        shown = machine_page(
            seen_line(lines[0], access, by), found, self.parts.urls, now, Viewer(mine, access.defaults()),
            everything=by.role is PrincipalRole.OPERATOR, work=did,
        )  # fmt: skip
        return self.shown(request, "machine", shown, "servers")

    @page(Act.SEE_FARM, "/your-machines")
    async def own(self, request: Request) -> bytes:
        """Show what the machines of who is signed in did, each and together."""
        by, now, pages, access = visitor_of(request), self.parts.clock.wall(), self.parts.pages, self.parts.access
        owners = mine_of(by)
        if not owners:
            return self.shown(request, "own_machines", SIGNED_OUT, "servers")
        lines = [seen_line(line, access, by) for line in await pages.owned(owners)]
        names = [line.server.name for line in lines]
        since = counted_since(now)
        found = await pages.work(names, since), await pages.work(names, since, each=True)
        shown = own_machines_page(by.owner or by.name, lines, found, projects_seen(access, by), self.parts.urls, now)
        return self.shown(request, "own_machines", shown, "servers")
