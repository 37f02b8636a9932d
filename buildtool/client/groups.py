"""What the API does, in groups: each method is one route, takes plain values, and returns what the route answers.

Every method raises what the API refuses with (NotFound, Unauthorised, UsageError, LimitReached, ...), Unavailable where
nothing answers, and DecodeError for an answer that is none. Tested by tests/client/test_blocking.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import AttrsInstance, field, frozen
from twisted.internet.defer import Deferred

from buildtool.client.changes import FarmChange
from buildtool.client.connection import ApiConnection
from buildtool.client.metaserver import LONG, HttpSession
from buildtool.client.reachable import LogPart
from buildtool.client.transfers import PART
from buildtool.errors import Unavailable
from buildtool.model.lifecycle import RequestState
from buildtool.model.platforms import Value
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.api import answers
from buildtool.protocol.api.work import OwnMachines, WorkReport
from buildtool.protocol.hello import AskProjects, AskRefs, AskRequests, ProjectsDescribed, RefsFound
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.logs.answers import LogIndexSummary, LogSearchSummary
from buildtool.protocol.messages import (
    AskBuild,
    AskExplain,
    AskHealth,
    AskStatus,
    AskWhy,
    Cancel,
    Explanation,
    Follow,
    HealthStatus,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
)
from buildtool.protocol.operator import (
    AbortBuild,
    ActionResult,
    AskFarmStatus,
    DrainServer,
    FarmStatus,
    ForgetFailure,
    ForgetServer,
    LowerRequest,
    PauseServer,
    RaiseRequest,
    RebuildBuild,
    ResumeServer,
)
from buildtool.protocol.pages.visiting import AskTokens, EndToken, MakeToken, TokenList, TokenMade, VisitorStatus
from buildtool.protocol.projects.channels import AskChannels, ChannelsFound, ChannelStatus
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from buildtool.protocol.projects.targets import AskTargets, TargetsFound, TryTargets
from buildtool.protocol.projects.triggers import AskTriggers, LookNow, TriggersFound
from buildtool.protocol.projects.watches import AskWatches, EndWatch, WatchBranch, WatchesFound, WatchStatus

T = TypeVar("T", bound=AttrsInstance)

Values = Mapping[str, Value]


def new_key() -> str:
    """Return an id for a new request; a request that is sent again under its own id asks for nothing twice."""
    return os.urandom(16).hex()


@frozen
class BuildWish:
    """A wish for a build, of which only what differs from the defaults needs to be said.

    ``platform`` has the system options, ``sandbox`` is the least level to be made in, ``nice`` by how
    many rounds it stands back. It keeps its ``key``, so that it
    can be sent again where an answer was lost.
    """

    project: str
    revision: str = ""
    revrange: str = ""
    source: str = ""
    options: Values = field(factory=dict)
    platform: Values = field(factory=dict)
    email: str = ""
    force: bool = False
    native: bool = False
    key: str = field(factory=new_key)
    sandbox: SandboxLevel = SandboxLevel.NONE
    nice: int = 0
    supersede: bool = False

    def submit(self) -> Submit:
        """Return the submission of it."""
        return Submit(
            self.key, self.project, self.email, self.source, self.revision, self.revrange, dict(self.options),
            dict(self.platform), {}, self.force, self.native, self.sandbox, self.nice,
            self.supersede,
        )  # fmt: skip

    def question(self) -> AskExplain:
        """Return the question what it would be answered."""
        return AskExplain(
            self.project, self.source, self.revision, self.revrange, dict(self.options), dict(self.platform), {},
            self.force, self.native, self.sandbox, self.nice, self.supersede,
        )  # fmt: skip

    def latest(self) -> AskLatest:
        """Return the question for the newest binary of its revision, which is a branch then."""
        return AskLatest(
            self.project, self.source, self.revision, dict(self.options), dict(self.platform), {}, self.native,
            self.sandbox,
        )  # fmt: skip


@frozen
class ApiGroup:
    """A group of routes of one API."""

    api: ApiConnection

    async def _read(self, path: str, expected: type[T], **values: Any) -> T:  # noqa: ANN401 - of path and query
        """Return what a route that is read at a path answers."""
        return await self.api.get(path, expected, values)


class RequestGroup(ApiGroup):
    """The requests: asked for, followed to their end, explained, cancelled."""

    async def submit(self, wish: BuildWish) -> RequestStatus:
        """Ask for a build; a hit is answered at once."""
        return await self.api.ask(wish.submit(), RequestStatus, within=LONG)

    async def submit_together(self, wishes: Sequence[BuildWish]) -> Sequence[RequestStatus]:
        """Ask for several builds for one address, of which one mail tells: all are taken, or none."""
        message = SubmitTogether(tuple(one.submit() for one in wishes))
        return (await self.api.ask(message, RequestStatuses, within=LONG)).items

    async def list(self, most: int = TOGETHER) -> Sequence[RequestStatus]:
        """Return the newest requests of the token's holder, at most ``most``."""
        return (await self.api.ask(AskRequests(most), RequestStatuses)).items

    async def explain(self, wish: BuildWish) -> Explanation:
        """Return what a wish would be answered, without asking for it."""
        return await self.api.ask(wish.question(), Explanation, within=LONG)

    async def latest(self, wish: BuildWish) -> LatestFound:
        """Return the newest of a branch, the wish's revision, that has a binary; nothing is asked for."""
        return await self.api.ask(wish.latest(), LatestFound, within=LONG)

    async def channels(self, project: str) -> Sequence[ChannelStatus]:
        """Return what is in the channels of a project."""
        return (await self.api.ask(AskChannels(project), ChannelsFound, within=LONG)).found

    async def status(self, request_id: int, token: str = "") -> RequestStatus:
        """Return how a request stands; its token is not needed by whom it is of."""
        return await self.api.ask(AskStatus(request_id, token), RequestStatus)

    async def why(self, request_id: int, token: str = "") -> Explanation:
        """Return why a request waits."""
        return await self.api.ask(AskWhy(request_id, token), Explanation)

    async def cancel(self, request_id: int, token: str = "") -> RequestStatus:
        """End a request, and return how it stands then."""
        return await self.api.ask(Cancel(request_id, token), RequestStatus, within=LONG)

    async def forward(self, request_id: int, rounds: int) -> ActionResult:
        """Move a request that waits forward in the order, as operators may; 0 takes it back."""
        return await self.api.ask(RaiseRequest(request_id, rounds), ActionResult)

    async def back(self, request_id: int, rounds: int, token: str = "") -> ActionResult:
        """Move a request that waits back in the order, so that others go first."""
        return await self.api.ask(LowerRequest(request_id, rounds, token), ActionResult)

    async def wait(
        self, status: RequestStatus, moved: Callable[[RequestStatus], None] = lambda _status: None
    ) -> RequestStatus:
        """Return how a request ended; ``moved`` is called with every change until then, the end included.

        Raises Unavailable once the API does not answer any more: the request goes on, and can be waited for again.
        """
        ended: Deferred[RequestStatus] = Deferred()
        session = HttpSession(self.api, ProjectsDescribed("", ""))

        def heard(now: RequestStatus) -> None:
            moved(now)
            if now.state != RequestState.WAITING.value and not ended.called:
                ended.callback(now)

        def lost(why: str) -> None:
            if not ended.called:
                ended.errback(Unavailable(f"request {status.request_id} goes on, but {why}"))

        try:
            now = await session.follow(Follow(status.request_id, status.token), heard)
            if now.state != RequestState.WAITING.value:
                return now
            session.closed().addCallback(lost)
            return await ended
        finally:
            ended.addErrback(lambda _failure: None)
            session.close()


class BuildGroup(ApiGroup):
    """The builds: found, shown, explained, ended, built again."""

    async def list(
        self, *, project: str = "", state: str = "", before: int | None = None, limit: int = answers.PER_PAGE
    ) -> answers.BuildList:
        """Return ``limit`` builds, the newest first; ``next`` is the ``before`` of the page that follows."""
        return await self._read("/builds", answers.BuildList, project=project, state=state, before=before, limit=limit)

    async def show(self, build_id: int) -> answers.BuildReport:
        """Return all about a build."""
        return await self._read("/builds/{build_id}", answers.BuildReport, build_id=build_id)

    async def files(self, build_id: int, skip: int = 0, limit: int = answers.FILES_LISTED) -> answers.FileList:
        """Return ``limit`` files in the artifact of a build, after the first ``skip``."""
        return await self._read("/builds/{build_id}/files", answers.FileList, build_id=build_id, skip=skip, limit=limit)

    async def why(self, build_id: int) -> Explanation:
        """Return why an open build waits."""
        return await self.api.ask(AskBuild(build_id), Explanation)

    async def queue(self, limit: int = answers.PER_PAGE) -> answers.BuildList:
        """Return the first ``limit`` builds that wait, in the order of their places."""
        return await self._read("/queue", answers.BuildList, limit=limit)

    async def matrix(self, project: str, *, before: int | None = None) -> answers.Matrix:
        """Return a project's newest builds by revision, platform and options; ``next`` is what to say as ``before``."""
        return await self._read("/matrix/{project}", answers.Matrix, project=project, before=before)

    async def log(self, build_id: int, *, attempt: int | None = None, start: int = 0, wait: int = 0) -> LogPart:
        """Return what follows the byte ``start`` of a log, at most 1 MiB, of the attempt that decided if none is said.

        Where there is nothing yet, it is waited for, at most 30 seconds.
        """
        values = {"build_id": build_id, "attempt": attempt, "from": start, "wait": wait}
        return await self.api.part(values, PART, wait)

    async def log_index(self, build_id: int, *, attempt: int | None = None, start: int = 0) -> LogIndexSummary:
        """Return what is known of a log, or what is new since the answer that said ``start`` as its ``next``."""
        values = {"build_id": build_id, "attempt": attempt, "from": start}
        return await self.api.get("/builds/{build_id}/log/index", LogIndexSummary, values)

    async def search_log(
        self, build_id: int, text: str, *, attempt: int | None = None, case: bool = False
    ) -> LogSearchSummary:
        """Return which lines of a log have a text; with ``case``, capital letters are others than small ones."""
        values = {"build_id": build_id, "attempt": attempt, "q": text, "case": int(case)}
        return await self.api.get("/builds/{build_id}/log/search", LogSearchSummary, values)

    async def abort(self, build_id: int, reason: str = "") -> ActionResult:
        """End an open build."""
        return await self.api.ask(AbortBuild(build_id, reason), ActionResult)

    async def rebuild(self, build_id: int, email: str = "", key: str = "") -> ActionResult:
        """Build again what a build built; whose address that is, is mailed."""
        return await self.api.ask(RebuildBuild(build_id, email, key or new_key()), ActionResult)

    async def forget_failure(self, build_id: int) -> ActionResult:
        """Forget that a build failed: it is tried again when it is asked for."""
        return await self.api.ask(ForgetFailure(build_id), ActionResult)


class MachineGroup(ApiGroup):
    """The build servers: shown, paused, resumed, drained, forgotten."""

    async def list(self, page: int = 1) -> answers.MachineList:
        """Return a page of build servers, the connected ones first."""
        return await self._read("/machines", answers.MachineList, page=page)

    async def show(self, server: str) -> answers.MachineSummary:
        """Return a build server."""
        return await self._read("/machines/{server}", answers.MachineSummary, server=server)

    async def work(self, server: str) -> WorkReport:
        """Return what a build server did, by month and project."""
        return await self._read("/machines/{server}/work", WorkReport, server=server)

    async def own(self) -> OwnMachines:
        """Return what the caller's own build servers did."""
        return await self._read("/me/machines", OwnMachines)

    async def pause(self, server: str, reason: str = "") -> ActionResult:
        """Pause a build server: it is given nothing more until it is resumed."""
        return await self.api.ask(PauseServer(server, reason), ActionResult)

    async def drain(self, server: str, reason: str = "") -> ActionResult:
        """Pause a build server, and say what still runs there."""
        return await self.api.ask(DrainServer(server, reason), ActionResult)

    async def resume(self, server: str) -> ActionResult:
        """Resume a build server: it is given builds again."""
        return await self.api.ask(ResumeServer(server), ActionResult)

    async def forget(self, server: str) -> ActionResult:
        """Forget a build server that does not come back."""
        return await self.api.ask(ForgetServer(server), ActionResult, within=LONG)


class FarmGroup(ApiGroup):
    """The farm as a whole, and who asks."""

    async def status(self) -> FarmStatus:
        """Return how the farm stands."""
        return await self.api.ask(AskFarmStatus(), FarmStatus)

    async def health(self) -> HealthStatus:
        """Return whether the metaserver can do its work."""
        return await self.api.ask(AskHealth(), HealthStatus)

    async def projects(self) -> Sequence[str]:
        """Return the names of the projects."""
        return (await self._read("/projects", answers.ProjectList)).projects

    async def project(self, name: str) -> answers.ProjectReport:
        """Return a project: its options, and the properties of the systems that it is built for."""
        return await self._read("/projects/{project}", answers.ProjectReport, project=name)

    async def descriptions(self) -> ProjectsDescribed:
        """Return the projects and their options, described as one JSON text with its digest."""
        return await self.api.ask(AskProjects(), ProjectsDescribed)

    async def refs(self, project: str, source: str = "") -> RefsFound:
        """Return the newest branches and tags of a project."""
        return await self.api.ask(AskRefs(project, source), RefsFound, within=LONG)

    async def triggers(self, after: str = "") -> TriggersFound:
        """Return what asks for builds by itself, from the trigger ``project/name`` on."""
        return await self.api.ask(AskTriggers(after), TriggersFound)

    async def look(self, project: str) -> ActionResult:
        """Start looks of a project's triggers at its repositories."""
        return await self.api.ask(LookNow(project), ActionResult)

    async def targets(self, after: str = "") -> TargetsFound:
        """Return who is told what comes of builds, from the target ``project/name`` on."""
        return await self.api.ask(AskTargets(after), TargetsFound)

    async def try_targets(self, project: str) -> ActionResult:
        """Try whether those whom a project tells would be told."""
        return await self.api.ask(TryTargets(project), ActionResult, within=LONG)

    async def watch(self, wish: Submit, *, asks: bool = True, digest: str = "") -> WatchStatus:
        """Start a watch of the branch that a wish names: each new binary of it is told."""
        return await self.api.ask(WatchBranch(wish, asks, digest), WatchStatus, within=LONG)

    async def watches(self, after: int = 0) -> WatchesFound:
        """Return the watches of the caller, from behind a number on."""
        return await self.api.ask(AskWatches(after), WatchesFound)

    async def unwatch(self, watch: int) -> ActionResult:
        """End a watch."""
        return await self.api.ask(EndWatch(watch), ActionResult)

    async def audit(self, after: int = 0) -> answers.AuditLines:
        """Return what happened after an event, the oldest first."""
        return await self._read("/audit", answers.AuditLines, after=after)

    async def change(self, after: int | None = None, wait: float = 60.0) -> FarmChange:
        """Return what changed after the event ``after``, waited for that many seconds; its ``number`` is said next.

        Without ``after`` it is the newest event's number, at once.
        """
        return await self.api.change(after, wait)

    async def me(self) -> VisitorStatus:
        """Return who asks, as the farm knows them."""
        return await self._read("/me", VisitorStatus)

    async def tokens(self, name: str = "") -> TokenList:
        """Return one's own tokens and sessions, or for operators those of another holder by name."""
        return await self.api.ask(AskTokens(name), TokenList)

    async def make_token(self, label: str, lasts: float, acts: Sequence[str] = ()) -> TokenMade:
        """Make a token that holds for ``lasts`` seconds, limited to acts if there are any."""
        return await self.api.ask(MakeToken(label, lasts, tuple(acts)), TokenMade)

    async def revoke_token(self, token_id: str) -> ActionResult:
        """Revoke a token, or end a session, by its id."""
        return await self.api.ask(EndToken(token_id), ActionResult)
