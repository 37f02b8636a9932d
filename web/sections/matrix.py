"""The matrix of a project: what was built of which revision, for which platform."""

from __future__ import annotations

from attrs import evolve
from twisted.web.server import Request

from buildtool.errors import NotFound, UsageError
from buildtool.model.access.rights import Act
from buildtool.model.search.build_query import BuildQuery, read_query
from buildtool.ports.pages import BuildsAsked, BuildsFound, Pages

from ..access import sees_for, visitor_of
from ..answers import check_names, number, query_value
from ..forms import see_other
from ..pages.asking.matrix import matrix_page, next_revisions, of_revisions
from ..pages.views import ErrorPage
from ..section import Section, page

BUILDS = 500
"""Of how many of a project's newest builds its matrix is made, as in the API."""

ROUNDS = 5
"""In how many stretches of builds it is looked for revisions that are on no earlier page."""

_NAMES = ("q", "before", "part")


class MatrixSection(Section):
    """The matrices of projects."""

    @page(Act.SEE_BUILD, "/matrix")
    def first(self, request: Request) -> bytes:
        """Send a visitor to the matrix of the first project, or say that there is none."""
        offered = list(self.parts.access.offered(visitor_of(request)))
        if not offered:
            nothing = ErrorPage("No matrix", "There is no project that you may see here.")
            return self.shown(request, "error", nothing, "matrix")
        return see_other(request, self.parts.urls.matrix(offered[0]))

    @page(Act.SEE_BUILD, "/matrix/<project>")
    async def matrix(self, request: Request, project: str) -> bytes:
        """Show the matrix of a project, of the builds that a search finds. Raises NotFound, UsageError."""
        access, by, now = self.parts.access, visitor_of(request), self.parts.clock.wall()
        offered = tuple(access.offered(by))
        if project not in offered:
            raise NotFound(f"there is no project {project!r:.60}")
        check_names(request, _NAMES)
        text = query_value(request, "q").strip()
        query = read_query(text) if text else BuildQuery()
        if query.by or query.project not in ((), (project,)):
            raise UsageError("a matrix is of one project, and of whoever asked")
        asked = BuildsAsked(evolve(query, project=(project,)), limit=BUILDS, sees=sees_for(access, by), now=now)
        said, urls = query_value(request, "before"), self.parts.urls
        before = number(said, "build") if said else None
        found, later = await revisions_found(self.parts.pages, asked, before)
        shown = matrix_page(project, found, access.options(project), offered, urls, now)
        older = urls.matrix(project, text, later) if later is not None else ""
        newest = urls.matrix(project, text) if before is not None else ""
        return self.shown(request, "matrix", evolve(shown, query=text, older=older, newest=newest))


async def revisions_found(pages: Pages, asked: BuildsAsked, before: int | None) -> tuple[BuildsFound, int | None]:
    """Return all builds of the next revisions whose newest is below the build ``before``, and where the next are.

    A page of builds would show a revision again for each older build of it. Who searches for revisions is shown
    what is found of them.
    """
    found, later = BuildsFound(()), before
    for _ in range(ROUNDS):
        window = await pages.builds(evolve(asked, before=before))
        revisions, later = next_revisions(window)
        whole = window
        if revisions and not asked.query.rev and (before is not None or later is not None):
            whole = await pages.builds(evolve(asked, query=asked.query.having("rev", *revisions)))
        found = of_revisions(window, whole, revisions, before)
        if found.lines or later is None:
            break
        before = later
    return found, later
