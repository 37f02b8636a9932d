"""The front page, and the queue: what runs, and why what waits does."""

from __future__ import annotations

from attrs import evolve
from twisted.web.server import Request

from buildtool.errors import BuildToolError, NotFound
from buildtool.model.access.rights import Act
from buildtool.model.records import BuildState
from buildtool.model.search.build_query import BuildQuery
from buildtool.ports.pages import BuildLine, BuildsAsked
from buildtool.protocol.pages.farm_view import AskFarm, FarmView

from ..access import seen_line, sees_for, shown_by, visitor_of
from ..answers import query_value
from ..pages.builds import build_row
from ..pages.charts import SPANS, chart
from ..pages.now import OUTCOMES, NowParts, status_page
from ..pages.queue import queue_page
from ..section import Section, overview_for, page

RUNNING, MACHINES = 12, 8
"""How many builds that run, and how many build servers, the front page lists."""

ENDED = tuple(state for state in BuildState if state not in (BuildState.QUEUED, BuildState.RUNNING))


class NowSection(Section):
    """The front page, and the queue."""

    @page(Act.SEE_FARM, "/metaserverstatus", "/")
    async def status(self, request: Request) -> bytes:
        """Show what runs, why what waits does, and how the day, week or quarter went. Raises NotFound."""
        span = SPANS.get(query_value(request, "span") or "day")
        if span is None:
            raise NotFound(f"there is no such span; there are {', '.join(SPANS)}")
        now, by, urls, pages = self.parts.clock.wall(), visitor_of(request), self.parts.urls, self.parts.pages
        overview = await overview_for(self.parts, by, now)
        sees = sees_for(self.parts.access, by)
        state = BuildQuery(state=(BuildState.RUNNING,))
        running = await pages.builds(BuildsAsked(state, limit=RUNNING, sees=sees, now=now))
        ended = await pages.builds(BuildsAsked(BuildQuery(state=ENDED), limit=OUTCOMES, sees=sees, now=now))
        machines = [seen_line(one, self.parts.access, by) for one in await pages.build_servers(limit=MACHINES)]
        opened = overview.builds.get(BuildState.QUEUED, 0) + overview.builds.get(BuildState.RUNNING, 0)
        parts = NowParts(
            overview,
            await self._view(request),
            [build_row(line, urls, now) for line in running.lines],
            ended.lines,
            machines,
            chart(await pages.hours(span.first(now)), span, opened, now),
            partly=sees is not None,
        )
        return self.shown(request, "status", status_page(parts, urls, now))

    @page(Act.SEE_BUILD, "/queue")
    async def queue(self, request: Request) -> bytes:
        """Show who waits for what, in order."""
        now, by = self.parts.clock.wall(), visitor_of(request)
        view = await self._view(request)
        sees = sees_for(self.parts.access, by)
        named = [number for group in view.waiting for number in group.builds] if view is not None else []
        lines: dict[int, BuildLine] = {}
        waits = BuildQuery(state=(BuildState.QUEUED,))
        if view is None:
            found = await self.parts.pages.builds(BuildsAsked(waits, sees=sees, now=now))
            lines = {line.id: line for line in found.lines}
        for at in range(0, len(named), LOOKED_UP):
            chosen = evolve(waits, number=tuple(named[at : at + LOOKED_UP]))
            found = await self.parts.pages.builds(BuildsAsked(chosen, limit=LOOKED_UP, sees=sees, now=now))
            lines |= {line.id: line for line in found.lines}
        return self.shown(request, "queue", queue_page(view, lines, self.parts.urls, now))

    async def _view(self, request: Request) -> FarmView | None:
        """Return how the farm stands; None where the metaserver does not say."""
        questions = self.parts.upstream.questions
        if questions is None:
            return None
        try:
            return await questions.act(shown_by(request), AskFarm(), FarmView)
        except BuildToolError:
            return None  # the page says by itself since when it does not answer


LOOKED_UP = 20
"""So many builds are looked up at once."""
