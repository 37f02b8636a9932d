"""What the API reads itself, as the pages do: from the database, as far as who asks may see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import AttrsInstance, define, evolve
from twisted.web.server import Request

from buildtool.errors import NotFound, Unavailable, UsageError
from buildtool.model.access.rights import Act
from buildtool.model.properties import nearest
from buildtool.model.records import BuildState
from buildtool.model.search.build_query import BuildQuery
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.pages import BuildsAsked, BuildsFound
from buildtool.protocol.api import answers
from buildtool.protocol.api.work import OwnMachines, WorkReport
from buildtool.protocol.logs.answers import LogIndexSummary, LogSearchSummary, found_answer, index_answer
from buildtool.protocol.pages.visiting import VisitorStatus

from ..access import may_see, seen_line, sees_for, shown_by, visitor_of
from ..section import Parts, artifact_for
from ..sections.logs import check_log_kept, epoch_of
from ..sections.matrix import BUILDS, revisions_found
from . import shown
from .limits import left_for
from .work import own_work, work_of

IN_QUEUE = 500
"""Among how many of the oldest builds those are looked for that come first."""

EVENTS = 200

_STATES = {state.value: state for state in BuildState}

Values = Mapping[str, Any]


@define
class ApiReader:
    """The reader of the API. Every method takes who asks by the request, and what path and query say."""

    parts: Parts

    def of(self, name: str) -> Callable[[Request, Values], Awaitable[AttrsInstance]]:
        """Return the reading of a name in the table."""
        found: Callable[[Request, Values], Awaitable[AttrsInstance]] = getattr(self, name)
        return found

    async def builds(self, request: Request, values: Values) -> answers.BuildList:
        """Return a page of builds. Raises UsageError for a state that there is not."""
        state, project = values.get("state", ""), values.get("project", "")
        if state and state not in _STATES:
            raise UsageError(f"there is no state {state!r:.60} of a build{nearest(state, list(_STATES))}")
        query = BuildQuery(project=(project,) if project else (), state=(_STATES[state],) if state else ())
        asked = BuildsAsked(query, values.get("before"), limit=values.get("limit", answers.PER_PAGE))
        return shown.builds_of(await self._found(request, asked), self.parts.urls)

    async def _found(self, request: Request, asked: BuildsAsked) -> BuildsFound:
        """Return what who asks may see of the builds that are searched for."""
        sees = sees_for(self.parts.access, visitor_of(request))
        return await self.parts.pages.builds(evolve(asked, sees=sees))

    async def build(self, request: Request, values: Values) -> answers.BuildReport:
        """Return all about a build. Raises NotFound, also where who asks may not see it."""
        found = await self.parts.pages.build(values["build_id"])
        if found is None or not may_see(self.parts.access, visitor_of(request), found.build.spec):
            raise NotFound(f"there is no build {values['build_id']}")
        return shown.report_of(found, self.parts.urls)

    async def attempt(self, request: Request, values: Values) -> tuple[int, int]:
        """Return the build and the attempt whose log is asked about. Raises NotFound, also where it may not be seen."""
        found = await self.parts.pages.build(values["build_id"])
        if found is None or not may_see(self.parts.access, visitor_of(request), found.build.spec, Act.SEE_LOG):
            raise NotFound(f"there is no build {values['build_id']}")
        epoch = epoch_of(found.build, str(values.get("attempt", "")))
        await check_log_kept(self.parts, found, epoch)
        return found.build.id, epoch

    async def log_index(self, request: Request, values: Values) -> LogIndexSummary:
        """Return what is known of a log. Raises NotFound."""
        build_id, epoch = await self.attempt(request, values)
        extent = await self.parts.logs.state(build_id, epoch)
        index = await self.parts.logs.index(build_id, epoch)
        length = max(extent.length, index.length)
        return index_answer(index, values.get("from", 0), finished=extent.finished, length=length)

    async def log_search(self, request: Request, values: Values) -> LogSearchSummary:
        """Return the lines of a log that have a text. Raises NotFound, LimitReached."""
        build_id, epoch = await self.attempt(request, values)
        await self.parts.logs.state(build_id, epoch)
        text, fold = str(values["q"]).encode(), not values.get("case", 0)
        return found_answer(await self.parts.logs.search(build_id, epoch, text, fold=fold))

    async def files(self, request: Request, values: Values) -> answers.FileList:
        """Return files in the artifact of a build. Raises NotFound, also where who asks may not have it, Damaged."""
        build_id, skip = values["build_id"], values.get("skip", 0)
        reader, made = await artifact_for(self.parts, visitor_of(request), build_id)
        found = await reader.files(made.digest, skip, values.get("limit", answers.FILES_LISTED))
        return shown.files_of(build_id, found, skip, self.parts.urls)

    async def queue(self, request: Request, values: Values) -> answers.BuildList:
        """Return what waits, in the order of its places."""
        most = values.get("limit", answers.PER_PAGE)
        oldest = BuildsAsked(BuildQuery(state=(BuildState.QUEUED,)), after=0, limit=IN_QUEUE)
        found = await self._found(request, oldest)
        first = sorted(found.lines, key=lambda one: (one.due, one.place, one.id))[:most]
        return shown.builds_of(BuildsFound(tuple(first)), self.parts.urls)

    async def matrix(self, request: Request, values: Values) -> answers.Matrix:
        """Return a page of a project's matrix. Raises NotFound for one that who asks does not see."""
        name, access, by = values["project"], self.parts.access, visitor_of(request)
        if name not in access.offered(by):
            raise NotFound(f"there is no project {name!r:.60}")
        asked = BuildsAsked(
            BuildQuery(project=(name,)), limit=BUILDS, sees=sees_for(access, by), now=self.parts.clock.wall()
        )
        found, later = await revisions_found(self.parts.pages, asked, values.get("before"))
        return shown.matrix_of(name, found.lines, later)

    async def projects(self, request: Request, _values: Values) -> answers.ProjectList:
        """Return the names of the projects that who asks sees."""
        return answers.ProjectList(tuple(sorted(self.parts.access.offered(visitor_of(request)))))

    async def project(self, request: Request, values: Values) -> answers.ProjectReport:
        """Return a project as the metaserver describes it. Raises NotFound, Unavailable while that does not answer."""
        name, known = values["project"], await self.parts.projects.read(shown_by(request))
        if known.note:
            raise Unavailable("the metaserver does not answer, so nothing is told of its projects: try again")
        if name not in known.options:
            raise NotFound(f"there is no project {name!r:.60}{nearest(name, list(known.options))}")
        level = known.levels.get(name, SandboxLevel.NONE)
        place = self.parts.access.place(name)
        return shown.project_of(name, known.options[name], known.words.get(name, ""), place, level)

    async def machines(self, request: Request, values: Values) -> answers.MachineList:
        """Return a page of build servers."""
        at, by = values.get("page", 1), visitor_of(request)
        lines = await self.parts.pages.build_servers(skip=(at - 1) * answers.PER_PAGE, limit=answers.PER_PAGE + 1)
        seen = [seen_line(line, self.parts.access, by) for line in lines[: answers.PER_PAGE]]
        now = self.parts.clock.wall()
        found = tuple(shown.machine_of(line, self.parts.urls, now) for line in seen)
        return answers.MachineList(found, at + 1 if len(lines) > answers.PER_PAGE else None)

    async def machine(self, request: Request, values: Values) -> answers.MachineSummary:
        """Return a build server. Raises NotFound."""
        lines = await self.parts.pages.build_servers(limit=1, name=values["server"])
        if not lines:
            raise NotFound("there is no build server of that name")
        seen = seen_line(lines[0], self.parts.access, visitor_of(request))
        return shown.machine_of(seen, self.parts.urls, self.parts.clock.wall())

    async def work(self, request: Request, values: Values) -> WorkReport:
        """Return what a build server did. Raises NotFound."""
        return await work_of(self.parts, request, values["server"])

    async def own_machines(self, request: Request, _values: Values) -> OwnMachines:
        """Return what the machines of who asks did."""
        return await own_work(self.parts, request)

    async def me(self, request: Request, _values: Values) -> VisitorStatus:
        """Return who asks."""
        by = visitor_of(request)
        limits, left = by.limits, await left_for(request, self.parts.upstream.questions)
        return VisitorStatus(
            by.role.value,
            by.name,
            by.owner,
            limits.projects,
            limits.platforms,
            limits.acts,
            self.parts.clock.wall(),
            left,
        )

    async def audit(self, request: Request, values: Values) -> answers.AuditLines:
        """Return what happened after an event. Raises Unauthorised where who asks may see some of it only."""
        after = values.get("after", 0)
        self.parts.access.check_role(visitor_of(request), Act.SEE_AUDIT)
        return shown.audit_of(await self.parts.pages.events(after, EVENTS), after)
