"""The list of builds: the page, the same for programs, the field that goes anywhere, and badges."""

from __future__ import annotations

from attrs import evolve
from twisted.web.server import Request

from buildtool.errors import NotFound, UsageError
from buildtool.model.access.rights import Act
from buildtool.model.names import is_server_name
from buildtool.model.principal import Principal
from buildtool.model.records import BuildState
from buildtool.model.search.build_query import EVERYTHING, ME, BuildQuery, read_query
from buildtool.model.text import quoted
from buildtool.ports.pages import BuildsAsked

from ..access import sees_for, visitor_of
from ..answers import answer, check_names, number, query_value
from ..pages import exports
from ..pages.badge import badge_svg
from ..pages.builds import PER_PAGE, Viewer, builds_page, not_understood
from ..section import Section, page

_NAMES = ("q", "project", "platform", "state", "before", "after")
_TYPES = {"text/csv": "csv", "application/json": "json", "application/atom+xml": "atom"}
_CSV, _JSON, _ATOM, _SVG = (
    "text/csv; charset=utf-8", "application/json", "application/atom+xml; charset=utf-8", "image/svg+xml",
)  # fmt: skip
_DECIDED = (BuildState.SUCCEEDED, BuildState.FAILED, BuildState.UNBUILDABLE)


class BuildsSection(Section):
    """The list of builds."""

    @page(Act.SEE_BUILD, "/builds")
    async def builds(self, request: Request) -> bytes:
        """Show a page of the builds that a search finds, newest first. Raises NotFound, UsageError."""
        request.responseHeaders.addRawHeader("Vary", "Accept")
        form = _TYPES.get((request.getHeader("accept") or "").partition(",")[0].partition(";")[0].strip())
        if form:
            return await self._exported(request, form)
        by, parts = visitor_of(request), self.parts
        projects = tuple(parts.access.offered(by))
        try:
            check_names(request, (*_NAMES, "part"))
            query = _searched(request, by)
            asked = self._asked(request, query, by, PER_PAGE)
            found = await parts.pages.builds(evolve(asked, counted=True))
        except UsageError as error:
            request.setResponseCode(400)
            shown = not_understood(query_value(request, "q"), str(error), parts.urls, projects)
            return self.shown(request, "builds", shown)
        shown = builds_page(
            found, asked, parts.urls, asked.now, projects,
            Viewer(mine_of(by), parts.access.defaults()),
        )  # fmt: skip
        return self.shown(request, "builds", evolve(shown, unseen=asked.sees is not None))

    @page(Act.SEE_BUILD, "/builds.csv")
    async def csv(self, request: Request) -> bytes:
        """Send the builds that a search finds as CSV. Raises NotFound, UsageError."""
        return await self._exported(request, "csv")

    @page(Act.SEE_BUILD, "/builds.json")
    async def json(self, request: Request) -> bytes:
        """Send the builds that a search finds as JSON. Raises NotFound, UsageError."""
        return await self._exported(request, "json")

    @page(Act.SEE_BUILD, "/builds.atom")
    async def atom(self, request: Request) -> bytes:
        """Send the newest builds that a search finds as a feed. Raises NotFound, UsageError."""
        return await self._exported(request, "atom")

    @page(Act.SEE_BUILD, "/go")
    async def go(self, request: Request) -> bytes:
        """Send a visitor to a build, a revision, a machine, or what a search finds. Raises UsageError."""
        check_names(request, ("q",))
        text, urls = query_value(request, "q").strip(), self.parts.urls
        request.setResponseCode(303)
        request.setHeader("Location", await self._place(text) if text else urls.builds())
        return b""

    @page(Act.SEE_BUILD, "/badge/<project>.svg")
    async def badge(self, request: Request, project: str) -> bytes:
        """Show the state of a project: that of its newest build which was decided. Raises UsageError."""
        check_names(request, ("platform", "rev"))
        platform, rev = query_value(request, "platform"), query_value(request, "rev")
        words = EVERYTHING
        for name, text in (("platform", platform), ("rev", rev)):
            words = words.plus(_token(name, text)) if text else words
        query = evolve(words, project=(project,), state=_DECIDED)
        sees = sees_for(self.parts.access, visitor_of(request))
        found = await self.parts.pages.builds(BuildsAsked(query, limit=1, sees=sees))
        state = found.lines[0].state if found.lines else None
        return answer(request, badge_svg(project, state), _SVG, "no-cache")

    async def _place(self, text: str) -> str:
        urls = self.parts.urls
        try:
            query = read_query(text)
        except UsageError:
            if is_server_name(text) and await self.parts.pages.build_servers(limit=1, name=text):
                return urls.server(text)
            return urls.builds(text)  # which says what is not understood
        if len(query.number) == 1 and query == BuildQuery(number=query.number):
            return urls.build(query.number[0])
        if is_server_name(text) and await self.parts.pages.build_servers(limit=1, name=text):
            return urls.server(text)
        return urls.builds(str(query))

    async def _exported(self, request: Request, form: str) -> bytes:
        check_names(request, _NAMES)
        by, urls = visitor_of(request), self.parts.urls
        query = _searched(request, by)
        asked = self._asked(request, query, by, exports.IN_FEED if form == "atom" else exports.MOST)
        found, line = await self.parts.pages.builds(asked), str(query)
        if form == "csv":
            if further := exports.further(found, line, urls, form):
                request.setHeader("Link", f'<{further}>; rel="next"')
            return answer(request, exports.as_csv(found, urls).encode(), _CSV, "no-cache")
        if form == "json":
            return answer(request, exports.as_json(found, line, urls).encode(), _JSON, "no-cache")
        feed = exports.as_atom(found, line, urls, self.parts.access.deployment())
        return answer(request, feed.encode(), _ATOM, "no-cache")

    def _asked(self, request: Request, query: BuildQuery, by: Principal, limit: int) -> BuildsAsked:
        before, after = (query_value(request, name) for name in ("before", "after"))
        return BuildsAsked(
            query,
            before=number(before, "build") if before else None,
            after=number(after, "build") if after else None,
            limit=limit,
            sees=sees_for(self.parts.access, by),
            mine=mine_of(by),
            now=self.parts.clock.wall(),
        )


def mine_of(by: Principal) -> tuple[str, ...]:
    """Return the addresses under which a visitor asks for builds."""
    return tuple(dict.fromkeys(name.lower() for name in (by.owner, by.name) if name))


def _searched(request: Request, by: Principal) -> BuildQuery:
    """Return the search of a request; what a list was asked for before there were searches is a part of it.

    Raises UsageError also for who else asked: addresses are not shown, so nobody may try them out either.
    """
    query = read_query(query_value(request, "q"))
    for name in ("project", "platform", "state"):
        if text := query_value(request, name):
            query = query.having(name, *getattr(_token(name, text), name))
    mine = mine_of(by)
    others = [email for email in query.by if email not in {ME, *mine}]
    if others:
        raise UsageError(f"by:{quoted(others[0], 60)[1:-1]} is not searched for: by: takes {ME}")
    if query.by and not mine:
        raise UsageError(f"by:{ME} needs to know who you are, and no key says that")
    return query.having("by", ME) if query.by else query


def _token(name: str, text: str) -> BuildQuery:
    """Return the search for one value. Raises UsageError."""
    query = read_query(str(EVERYTHING.having(name, text)))
    if not getattr(query, name):
        raise NotFound(f"{name} has no such value")
    return query
