"""The page of a build."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.web.server import Request

from buildtool.errors import BuildToolError
from buildtool.model.access.rights import Act
from buildtool.model.principal import Principal
from buildtool.model.records import BuildState
from buildtool.ports.pages import BuildDetail

from ..access import may_see, shown_by, visitor_of
from ..pages.build import build_page, deciding_epoch
from ..pages.log import LogCard
from ..section import Section, page
from .logs import card_of

_LOG_SHOWN = (BuildState.RUNNING, BuildState.FAILED, BuildState.UNBUILDABLE)
"""Of a build in these states its log says most."""

_logger = Logger()


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
        log = await self._log(detail, visitor_of(request)) if detail.build.state in _LOG_SHOWN else None
        place = self.parts.access.place(detail.build.spec.project)
        shown = build_page(detail, self.parts.urls, self.parts.clock.wall(), why, log, place)
        return self.shown(request, "build", shown, "builds")

    async def _log(self, detail: BuildDetail, by: Principal) -> LogCard | None:
        """Return the log that explains a build's state, where the visitor may see it and it can be read."""
        epoch = deciding_epoch(detail.build)
        if epoch is None or not may_see(self.parts.access, by, detail.build.spec, Act.SEE_LOG):
            return None
        try:
            return await card_of(self.parts, detail, epoch)
        except BuildToolError as error:
            _logger.warn("the log of build {build} is not shown: {why}", build=detail.build.id, why=str(error))
            return None
