"""The list of builds."""

from __future__ import annotations

from attrs import evolve
from twisted.web.server import Request

from buildtool.errors import NotFound
from buildtool.model.access.rights import Act
from buildtool.model.records import BuildState

from ..access import visitor_of
from ..answers import number, query_value
from ..pages.builds import PER_PAGE, builds_page
from ..section import Section, page

_PROJECT_LIMIT = 40
_STATES = {state.value: state for state in BuildState}


class BuildsSection(Section):
    """The list of builds."""

    @page(Act.SEE_BUILD, "/builds")
    async def builds(self, request: Request) -> bytes:
        """Show a page of the builds, newest first. Raises NotFound."""
        before, project, state = (query_value(request, name) for name in ("before", "project", "state"))
        if state and state not in _STATES:
            raise NotFound(f"there is no such state of a build; there are {', '.join(_STATES)}")
        if len(project) > _PROJECT_LIMIT:
            raise NotFound("there is no project with so long a name")
        key = number(before, "build") if before else None
        by, most = visitor_of(request), PER_PAGE + 1
        among = self.parts.access.projects(by)
        lines = await self.parts.pages.builds(
            before=key, limit=most, project=project or None, state=_STATES.get(state), among=among
        )
        offered = tuple(self.parts.access.offered(by))
        shown = builds_page(
            lines, self.parts.urls, self.parts.clock.wall(), projects=offered, project=project, state=state, before=key
        )
        return self.shown(request, "builds", evolve(shown, unseen=among is not None))
