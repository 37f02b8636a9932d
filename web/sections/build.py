"""The page of a build."""

from __future__ import annotations

from attrs import evolve
from twisted.logger import Logger
from twisted.web.server import Request

from buildtool.errors import BuildToolError, NotFound
from buildtool.model.access.rights import Act
from buildtool.model.logs.index import LogIndex
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import BuildState
from buildtool.ports.pages import BuildDetail

from ..access import may_see, shown_by, visitor_of
from ..pages.build import Known, build_page, deciding_epoch
from ..pages.details.contents import FEW, FilesCard, files_card
from ..pages.log import LogCard
from ..section import Parts, Section, page
from .builds import mine_of
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
        access, project = self.parts.access, detail.build.spec.project
        log, index = await self._log(detail, visitor_of(request))
        everybodys = by.by.role is PrincipalRole.OPERATOR
        known = Known(access.place(project), access.options(project), index, mine_of(by.by), everybodys, by.by.owner)
        shown = build_page(detail, self.parts.urls, self.parts.clock.wall(), why, log, known)
        files = await self._files(detail, visitor_of(request))
        return self.shown(request, "build", evolve(shown, files=files), "builds")

    async def _files(self, detail: BuildDetail, by: Principal) -> FilesCard | None:
        """Return the first files of the artifact where the visitor may have it; None where it cannot be read."""
        reader, made = self.parts.upstream.contents, detail.artifact
        seen = may_see(self.parts.access, by, detail.build.spec, Act.SEE_ARTIFACT)
        if reader is None or made is None or made.withdrawn or not seen:
            return None
        try:
            return files_card(detail.build.id, await reader.files(made.digest, 0, FEW), self.parts.urls)
        except BuildToolError as error:
            _logger.warn("the files of build {build} are not shown: {why}", build=detail.build.id, why=str(error))
            return None

    async def _log(self, detail: BuildDetail, by: Principal) -> tuple[LogCard | None, LogIndex | None]:
        """Return the log that explains a build's state where it is shown, and its index, where the visitor may see it.

        Nothing where it cannot be read.
        """
        epoch = deciding_epoch(detail.build)
        if epoch is None or not may_see(self.parts.access, by, detail.build.spec, Act.SEE_LOG):
            return None, None
        try:
            index = await _index(self.parts, detail.build.id, epoch)
            shown = detail.build.state in _LOG_SHOWN
            return await card_of(self.parts, detail, epoch, index=index) if shown else None, index
        except BuildToolError as error:
            _logger.warn("the log of build {build} is not shown: {why}", build=detail.build.id, why=str(error))
            return None, None


async def _index(parts: Parts, build_id: int, epoch: int) -> LogIndex | None:
    """Return the index of a log, None where nothing of that has arrived. Raises StorageUnavailable."""
    try:
        return await parts.logs.index(build_id, epoch)
    except NotFound:
        return None
