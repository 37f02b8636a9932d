"""The page of a build."""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.model.access.rights import Act
from buildtool.model.records import BuildState

from ..access import shown_by
from ..pages.build import build_page
from ..section import Section, page


class BuildSection(Section):
    """The page of a build."""

    @page(Act.SEE_BUILD, "/builds/<build_id>", "/build/<build_id>")
    async def build(self, request: Request, build_id: str) -> bytes:
        """Show all about one build."""
        detail, by = await self.detail(request, build_id, Act.SEE_BUILD), shown_by(request)
        waits = detail.build.state is BuildState.QUEUED
        why = (
            await self.parts.upstream.questions.why(detail.build.id, by)
            if self.parts.upstream.questions is not None and waits
            else None
        )
        shown = build_page(detail, self.parts.urls, self.parts.clock.wall(), why)
        return self.shown(request, "build", shown, "builds")
