"""The table of the API: every route, the act that it is, what is asked of the metaserver or read, and what is answered.

Handlers, the description in OpenAPI and the client are made of it, and of the shapes that check every message.
Tested by tests/web/api/test_openapi.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

import attrs
from attrs import AttrsInstance, field, frozen

from buildtool.model.access.rights import Act
from buildtool.protocol import enrolment as e
from buildtool.protocol import hello as h
from buildtool.protocol import messages as m
from buildtool.protocol import operator as o
from buildtool.protocol.acts import ACT_OF
from buildtool.protocol.api import answers as shown
from buildtool.protocol.api import work
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.logs import answers as logs
from buildtool.protocol.pages import visiting as v
from buildtool.protocol.projects.channels import AskChannels, ChannelsFound
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from buildtool.protocol.projects.targets import AskTargets, TargetsFound, TryTargets
from buildtool.protocol.projects.triggers import AskTriggers, LookNow, TriggersFound
from buildtool.protocol.projects.watches import AskWatches, EndWatch, WatchBranch, WatchesFound, WatchStatus

PREFIX = "/api/v1"

KEY_HEADER, TOKEN_HEADER = "Idempotency-Key", "Request-Token"

LATEST = {"source": "", "branch": "", "compile": {}, "system": {}, "local": {}}
"""What a question for the newest need not say."""

REPORT = {"source": "", "revision": "", "revrange": "", "compile": {}, "system": {}, "local": {}}
"""What a wish need not say."""


@frozen
class QueryName:
    """A name of a query: whether its value is a whole number from ``least`` to ``most``, and what it is for.

    A text has at most ``length`` characters, as a ``line`` at least one and no line end; one that is ``needed`` is to
    be said.
    """

    words: str
    numeric: bool = False
    least: int = 1
    most: int = 10**18 - 1
    length: int = 400
    line: bool = False
    needed: bool = False


@frozen
class ApiCall:
    """A route of the API.

    ``path`` has the names of what it is about in braces. ``message`` is what is asked of the metaserver, of whose
    fields those that neither path, header nor query say are the body, where ``absent`` stands for what is left out;
    without it ``read`` names what reads the answer, which is bytes of the media type ``raw`` where that is said. With
    ``keyed`` the header ``Idempotency-Key`` is its ``client_id``, and with ``proven`` the header ``Request-Token`` its
    ``token``. What is ``secret`` is kept nowhere. A route counts against the limit ``counted``, and says what
    is left of it.
    """

    method: str
    path: str
    words: str
    answer: type[AttrsInstance]
    message: type[AttrsInstance] | None = None
    read: str = ""
    raw: str = ""
    act: Act = field()
    query: Mapping[str, QueryName] = field(factory=dict)
    absent: Mapping[str, Any] = field(factory=dict)
    keyed: bool = False
    proven: bool = False
    secret: bool = False
    counted: str = ""

    @act.default
    def _act(self) -> Act:
        return ACT_OF[self.message] if self.message is not None else Act.SEE_BUILD

    @property
    def url(self) -> str:
        """The whole path."""
        return PREFIX + self.path

    @property
    def names(self) -> tuple[str, ...]:
        """What the path names."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the message that stand in the body."""
        if self.message is None or self.method == "GET":
            return ()
        elsewhere = {*self.names, *self.query, *(("client_id",) if self.keyed else ())}
        elsewhere |= {"token"} if self.proven else set()
        return tuple(one.name for one in attrs.fields(self.message) if one.name not in elsewhere)

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that the body cannot leave out."""
        if self.message is None:
            return ()
        without = {one.name for one in attrs.fields(self.message) if one.default is attrs.NOTHING}
        return tuple(name for name in self.fields if name in without and name not in self.absent)

    def numeric(self, name: str) -> bool:
        """Return whether what the path names so is a number."""
        return name in {"build_id", "request_id"} or (
            self.message is not None and get_type_hints(self.message).get(name) is int
        )


LOG_WAIT = 30
"""Most seconds for which more of a log is waited for."""

SEARCHED = 200
"""Most characters of a text that is searched for."""

LOG_TYPE = "text/plain; charset=utf-8"
ARTIFACT_TYPE = "application/zip"
EVENTS_TYPE = "text/event-stream; charset=utf-8"

BEFORE = QueryName("only what is older than this id", numeric=True)
LIMIT = QueryName("how many at most", numeric=True, most=shown.PER_PAGE)
FILES = QueryName("how many at most", numeric=True, most=shown.FILES_LISTED)
SKIP = QueryName("how many are left out at the beginning", numeric=True, least=0, most=1_000_000)
PROJECT = QueryName("only of this project", length=80)
STATE = QueryName("only in this state", length=40)
WAIT = QueryName("seconds to wait for a change from the entity tag of If-None-Match", numeric=True, least=0, most=60)
AFTER = QueryName("what came after this number", numeric=True, least=0)
ATTEMPT = QueryName("of this attempt; else of the one that decided, or the newest", numeric=True)
FROM = QueryName("from this byte on", numeric=True, least=0)
HELD = QueryName(
    "seconds to wait for more, where there is nothing from that byte on", numeric=True, least=0, most=LOG_WAIT
)
LEVEL = QueryName("only what was made in a sandbox of this level at least: none, weak or strict", length=10)
TEXT = QueryName("the text that a line has", length=SEARCHED, line=True, needed=True)
CASE = QueryName("1 where capital letters are others than small ones", numeric=True, least=0, most=1)
WHY = {"reason": ""}


def _get(path: str, words: str, answer: type[AttrsInstance], **more: Any) -> ApiCall:  # noqa: ANN401 - as ApiCall
    return ApiCall("GET", path, words, answer, **more)


def _post(path: str, words: str, message: type[AttrsInstance], answer: type[AttrsInstance], **more: Any) -> ApiCall:  # noqa: ANN401 - as ApiCall
    return ApiCall("POST", path, words, answer, message, **more)


CALLS: Sequence[ApiCall] = (
    _post(
        "/requests", "Ask for a build", m.Submit, m.RequestStatus, keyed=True, absent={**REPORT, "email": ""},
        secret=True, counted="requests",
    ),
    _post("/requests/together", "Ask for several builds, of which one mail tells", m.SubmitTogether, m.RequestStatuses,
          secret=True, counted="requests"),
    _get("/requests", "List your newest requests", m.RequestStatuses, message=h.AskRequests,
         query={"most": QueryName("how many at most", numeric=True, most=TOGETHER)}, secret=True),
    _get("/requests/{request_id}", "Show a request, or wait for it to change", m.RequestStatus, message=m.AskStatus,
         proven=True, query={"wait": WAIT}, secret=True),
    _get("/requests/{request_id}/why", "Say why a request waits", m.Explanation, message=m.AskWhy, proven=True),
    _post("/requests/{request_id}/cancel", "End a request", m.Cancel, m.RequestStatus, proven=True, secret=True),
    _post("/requests/{request_id}/raise", "Move a request that waits forward in the order", o.RaiseRequest,
          o.ActionResult),
    _post("/requests/{request_id}/lower", "Move a request that waits back in the order", o.LowerRequest,
          o.ActionResult, proven=True),
    _post("/requests/cancel", "End all requests of a project, platform or person", o.CancelSeveral, o.SeveralEnded),
    _post("/explain", "Say what would be answered, without asking", m.AskExplain, m.Explanation, absent=REPORT,
          counted="explanations"),
    _post("/latest", "Find the newest revision of a branch that has a binary", AskLatest, LatestFound, absent=LATEST,
          counted="explanations"),
    _get("/builds", "List builds, the newest first", shown.BuildList, read="builds",
         query={"before": BEFORE, "limit": LIMIT, "project": PROJECT, "state": STATE}),
    _get("/builds/{build_id}", "Show a build", shown.BuildReport, read="build"),
    _get("/builds/{build_id}/files", "List the files in the artifact of a build", shown.FileList, read="files",
         act=Act.SEE_ARTIFACT, query={"skip": SKIP, "limit": FILES}),
    _get("/builds/{build_id}/why", "Say why an open build waits", m.Explanation, message=m.AskBuild),
    _get("/builds/{build_id}/log", "Send the log of a build, or a range of it", shown.Bytes, read="log", raw=LOG_TYPE,
         act=Act.SEE_LOG, query={"attempt": ATTEMPT, "from": FROM, "wait": HELD}),
    _get("/builds/{build_id}/log/index", "Show what is known of a log: lines, errors, phases", logs.LogIndexSummary,
         read="log_index", act=Act.SEE_LOG, query={"attempt": ATTEMPT, "from": FROM}),
    _get("/builds/{build_id}/log/search", "List the lines of a log that have a text", logs.LogSearchSummary,
         read="log_search", act=Act.SEE_LOG, query={"attempt": ATTEMPT, "q": TEXT, "case": CASE}),
    _post("/builds/{build_id}/abort", "End an open build", o.AbortBuild, o.ActionResult, absent=WHY),
    _post("/builds/{build_id}/rebuild", "Build again what a build built", o.RebuildBuild, o.ActionResult, keyed=True,
          absent={"email": ""}),
    _post("/builds/{build_id}/forget-failure", "Have a failed build tried when asked for", o.ForgetFailure,
          o.ActionResult),
    _post("/builds/abort", "End all open builds of a project, platform or person", o.AbortSeveral, o.SeveralEnded),
    _get("/artifacts/{digest}", "Send an artifact by its SHA-256, or a range of it", shown.Bytes, read="artifact",
         raw=ARTIFACT_TYPE, act=Act.SEE_ARTIFACT, query={"sandbox": LEVEL}),
    _post("/artifacts/{artifact}/purge", "Give out an artifact (id or SHA-256) no more", o.PurgeArtifact,
          o.ActionResult, absent=WHY),
    _get("/queue", "List what waits, in the order of its places", shown.BuildList, read="queue",
         query={"limit": LIMIT}),
    _get("/matrix/{project}", "Show the newest builds of a project by revision, platform and options", shown.Matrix,
         read="matrix", query={"before": BEFORE}),
    _get("/projects/{project}/channels", "Show what is in the channels of a project", ChannelsFound,
         message=AskChannels, counted="explanations"),
    _get("/projects", "List the projects", shown.ProjectList, read="projects", act=Act.SEE_FARM),
    _get("/projects/{project}", "Show a project, its options and its properties", shown.ProjectReport, read="project",
         act=Act.SEE_FARM),
    _get("/projects/{project}/refs", "List the newest branches and tags of a project", h.RefsFound, message=h.AskRefs,
         query={"source": QueryName("in this source", length=400)}),
    _get("/descriptions", "Describe the projects and their options as the command line keeps them",
         h.ProjectsDescribed, message=h.AskProjects),
    _get("/farm", "Show how the farm stands", o.FarmStatus, message=o.AskFarmStatus),
    _post("/farm/drain", "Start no more builds and end, or go on as usual", o.Drain, o.ActionResult),
    _get("/health", "Say whether the metaserver can do its work", m.HealthStatus, message=m.AskHealth),
    _get("/triggers", "List what asks for builds by itself, and what came of it", TriggersFound, message=AskTriggers,
         query={"after": QueryName("only those after this project/name", length=200)}),
    _post("/triggers/{project}/look", "Have the triggers of a project look at its repositories now", LookNow,
          o.ActionResult),
    _get("/targets", "List who is told what comes of builds, and how that goes on", TargetsFound, message=AskTargets,
         query={"after": QueryName("only those after this project/name", length=700)}),
    _post("/targets/{project}/try", "Try whether those whom a project tells would be told", TryTargets,
          o.ActionResult),
    _post("/watches", "Watch a branch, so that each new binary of it is told", WatchBranch, WatchStatus, secret=True),
    _get("/watches", "List your watches", WatchesFound, message=AskWatches, secret=True,
         query={"after": QueryName("only those after this number", numeric=True, least=0)}),
    _post("/watches/{watch}/end", "End a watch", EndWatch, o.ActionResult),
    _get("/machines", "List the build servers", shown.MachineList, read="machines", act=Act.SEE_FARM,
         query={"page": QueryName("the number of the page", numeric=True, most=1_000_000)}),
    _get("/machines/{server}", "Show a build server", shown.MachineSummary, read="machine", act=Act.SEE_FARM),
    _get("/machines/{server}/work", "Show what a build server did, by month and project", work.WorkReport, read="work",
         act=Act.SEE_FARM),
    _post("/machines/{server}/pause", "Give a build server nothing more until it is resumed", o.PauseServer,
          o.ActionResult, absent=WHY),
    _post("/machines/{server}/drain", "Do so, and say what runs there", o.DrainServer, o.ActionResult),
    _post("/machines/{server}/resume", "Give a build server builds again", o.ResumeServer, o.ActionResult),
    _post("/machines/{server}/forget", "Forget a build server that does not come back", o.ForgetServer,
          o.ActionResult),
    _post("/machines/{server}/purge", "Give out no more what a build server made", o.PurgeBuiltBy, o.ActionResult,
          absent=WHY),
    _get("/me", "Say who you are here", v.VisitorStatus, read="me", act=Act.SIGN_IN, secret=True),
    _get("/me/machines", "Show what your own build servers did", work.OwnMachines, read="own_machines",
         act=Act.SEE_FARM, secret=True),
    _get("/tokens", "List your tokens and sessions", v.TokenList, message=v.AskTokens, secret=True,
         query={"name": QueryName("whose, for operators")}),
    _post("/tokens", "Make a token", v.MakeToken, v.TokenMade, secret=True),
    _post("/tokens/{id}/revoke", "Revoke a token, or end a session", v.EndToken, o.ActionResult),
    _get("/identities", "List who has a key and who is invited", e.Identities, message=e.AskIdentities, secret=True,
         query={"after": QueryName("only names after this one", length=100)}),
    _post("/invitations", "Invite a machine or a person", e.InviteOne, e.InvitationLine, secret=True),
    _post("/identities/{name}/revoke", "Revoke every key and token of a name", e.RevokeOne, o.ActionResult),
    _post("/authority/rotate", "Move the farm to another authority", e.RotateAuthority, o.ActionResult),
    _get("/audit", "Show what happened, the oldest first", shown.AuditLines, read="audit", act=Act.SEE_AUDIT,
         query={"after": AFTER}, secret=True),
)  # fmt: skip
"""Every route of the API that is answered once."""

EVENTS: ApiCall = _get(
    "/events", "Send what changes, as server-sent events, until you leave", shown.Bytes, read="events", raw=EVENTS_TYPE,
    act=Act.SEE_FARM, query={"last": QueryName("at first what came after this event", numeric=True, least=0)},
)  # fmt: skip
"""The route that is answered without end."""

ROUTES: Sequence[ApiCall] = (*CALLS, EVENTS)
"""Every route of the API."""
