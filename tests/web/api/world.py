"""The API over a farm in memory: real tokens and rights, services that answer what is asked of them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from buildtool.errors import BuildToolError, NotFound
from buildtool.metaserver.access.visiting import LocalQuestions, VisitorService, unlimited
from buildtool.metaserver.authorised import authorised
from buildtool.model.access.rights import RIGHTS
from buildtool.model.options import canonical_json
from buildtool.model.principal import Principal
from buildtool.model.project_options import ProjectOptions
from buildtool.ports.artifacts import FilesReader
from buildtool.ports.metaserver import Handlers
from buildtool.ports.pages import ArtifactReader
from buildtool.protocol.hello import ProjectsDescribed
from buildtool.protocol.messages import AskStatus, RequestStatus
from buildtool.protocol.operator import (
    AbortBuild,
    ActionResult,
    DrainServer,
    ForgetFailure,
    ForgetServer,
    LowerRequest,
    PauseServer,
    RaiseRequest,
)
from buildtool.protocol.pages.visiting import LimitLeft
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from buildtool.web.live.hub import LiveHub
from buildtool.web.section import Tools
from tests.fakes import FakeRequestService
from tests.fakes_build import OPTIONS
from tests.messages import waiting
from tests.metaserver.access.test_tokens import KEYED, ROOT, Farm
from tests.web import farm
from tests.web.fake_pages import FakeLogs, FakePages
from tests.web.test_access import Some
from tests.web.visitor import PUBLIC, Seen, Visitor

NOBODY = Principal(KEYED.role.VISITOR, address="192.0.2.7")


def described_by(projects: Mapping[str, ProjectOptions]) -> ProjectsDescribed:
    """Return what a metaserver tells that has these projects."""
    told = [{"name": name, "options": options.describe()} for name, options in projects.items()]
    text = canonical_json({"projects": told})
    return ProjectsDescribed(hashlib.sha256(text.encode()).hexdigest(), text)


@define
class ApiWorld:
    """A visitor of the API.

    ``asked`` are the questions for a request and the messages of operators that reached a service, with who asked.
    ``newest`` is what is the newest on every branch, or why nothing is.
    ``wait`` returns what fires when a second is over, and ``meanwhile`` happens while somebody waits for a change;
    ``live`` is the hub of the pages, where they have one; ``left`` returns what somebody has left of their limits.
    """

    by: Principal = NOBODY
    asked: list[tuple[Principal, object]] = field(factory=list)
    tokens: Farm = field(factory=Farm)
    people: FakeRequestService = field(factory=lambda: FakeRequestService({12: waiting()}))
    pages: FakePages = field(factory=farm.farm)
    logs: FakeLogs = field(factory=farm.logs)
    artifacts: ArtifactReader | None = None
    contents: FilesReader | None = None
    live: LiveHub | None = None
    wait: Callable[[], Deferred[None]] = lambda: succeed(None)
    meanwhile: Callable[[], None] = lambda: None
    left: Callable[[Principal], tuple[LimitLeft, ...]] = unlimited
    newest: LatestFound | BuildToolError = field(factory=lambda: NotFound("nothing is there"))
    visitor: Visitor = field(init=False)
    service: VisitorService = field(init=False)

    def __attrs_post_init__(self) -> None:
        async def act(by: Principal, message: object) -> ActionResult:
            self.asked.append((by, message))
            return ActionResult(("it is done",))

        async def status(by: Principal, message: AskStatus) -> RequestStatus:
            self.asked.append((by, message))
            return await self.people.status(by, message)

        async def newest(by: Principal, message: AskLatest) -> LatestFound:
            self.asked.append((by, message))
            if isinstance(self.newest, LatestFound):
                return self.newest
            raise self.newest

        self.people.described = lambda by: described_by(dict.fromkeys(Some(by).offered(by), OPTIONS))
        handlers: Handlers = {
            **self.people.handlers, AskStatus: status, **self.tokens.service.handlers,
            PauseServer: act, DrainServer: act, AbortBuild: act, ForgetFailure: act, ForgetServer: act,
            RaiseRequest: act, LowerRequest: act, AskLatest: newest,
        }  # fmt: skip
        people = authorised(handlers, lambda: RIGHTS)

        def left(by: Principal) -> tuple[LimitLeft, ...]:
            return self.left(by)  # as it is by then

        self.service = VisitorService(self.tokens.world.deployment, people, {}, self.tokens.service, left)
        self.visitor = Visitor(
            self.pages, self.logs, questions=LocalQuestions(self.service), access=Some(self.by), live=self.live,
            clock=self.tokens.world.wall,
            tools=Tools(self.tokens.secret, self._later, lambda: ['"requests";q=10;w=3600'], self.artifacts),
            contents=self.contents,
        )  # fmt: skip

    def _later(self, _seconds: float) -> Deferred[None]:
        self.meanwhile()
        return self.wait()

    def token(self, by: Principal = KEYED) -> dict[str, str]:
        """Return the header of a token of somebody's."""
        return {"Authorization": f"Bearer {self.tokens.make(by).token}"}

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Seen:
        """Return the answer to a question."""
        return self.visitor.visit(f"/api/v1{path}", headers=headers)

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Seen:
        """Return the answer to an act, whose body is JSON, or bytes."""
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return self.visitor.visit(
            f"/api/v1{path}", "POST", {"Content-Type": "application/json", **(headers or {})}, data
        )


def said(seen: Seen) -> Any:
    """Return what an answer says."""
    return json.loads(seen.text)


__all__ = ["KEYED", "NOBODY", "PUBLIC", "ROOT", "ApiWorld", "said"]
