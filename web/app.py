"""The pages as a Klein application: routes and status codes. What is shown is the presenters' business."""

from __future__ import annotations

import hashlib
import json
from typing import cast

from attrs import evolve
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request

from buildtool import __version__
from buildtool.errors import LimitReached, NewerDatabase, NotFound, StorageUnavailable, Unauthorised
from buildtool.model.access.rights import Act
from buildtool.model.principal import Principal
from buildtool.model.records import Build, BuildState
from buildtool.ports.common import Clock
from buildtool.ports.pages import BuildDetail, LogReader, Overview, Pages, Questions
from buildtool.protocol.http_headers import ByteSpan, asked_span

from . import health, presenters
from .access import Access, EverythingSeen, may_see, page, seen_line, visitor_of
from .answers import HTML, TEXT, answer, headers, number, plain, problem, query_value, shown_path
from .assets import load_assets
from .build_page import build_page, deciding_epoch
from .guard import RootResource
from .rendering import templates
from .streaming import send_log
from .urls import Urls
from .views import ConfirmPage, ErrorPage

LATEST = 10
"""How many builds the front page lists."""

_FOR_EVER = "public, max-age=31536000, immutable"
_FOR_A_DAY = "public, max-age=86400"
_ROBOTS = b"User-agent: *\nDisallow: /logs/\nDisallow: /builds?\n"
_PROJECT_LIMIT = 40
_STATES = {state.value: state for state in BuildState}
_log = Logger()


def make_urls(public: str, transfer: str) -> Urls:
    """Return where everything is, static files under their names with digest included."""
    return Urls(public, transfer, {name: asset.served for name, asset in load_assets().items()})


class WebApp:
    """The pages. ``urls`` comes from ``make_urls``.

    ``questions`` asks the metaserver why a build waits, ``condition`` for its health; without them pages leave that
    out. ``access`` says who visitors are and what they may see.
    """

    app = Klein()
    app.url_map.merge_slashes = False  # "//builds" is no page, and nothing answers with a redirect

    def __init__(
        self,
        pages: Pages,
        logs: LogReader,
        urls: Urls,
        clock: Clock,
        questions: Questions | None = None,
        condition: health.HealthSource | None = None,
        access: Access | None = None,
    ) -> None:
        self.access = EverythingSeen() if access is None else access
        self._pages = pages
        self._condition = condition
        self._questions = questions
        self._logs = logs
        self._urls = urls
        self._clock = clock
        self._assets = {asset.served: asset for asset in load_assets().values()}
        self._templates = templates(urls)
        self._errors = 0

    def resource(self) -> IResource:
        """Return the root of a site."""
        return RootResource(self.app.resource(), self.access)

    @page(app, Act.SEE_FARM, "/metaserverstatus", "/")
    async def status(self, request: Request) -> bytes:
        """Show the figures of everything and the latest builds."""
        now, by = self._clock.wall(), visitor_of(request)
        overview = await self._overview(by, now)
        seen = self.access.projects(by)
        latest = await self._pages.builds(limit=LATEST, among=seen)
        shown = presenters.status_page(overview, latest, self._urls, now, partly=seen is not None)
        return self._page(request, "status", shown)

    @page(app, Act.SEE_FARM, "/buildersinfo", "/buildservers")
    async def servers(self, request: Request) -> bytes:
        """Show a page of the build servers, or the one with a name. Raises NotFound."""
        now, name, said = self._clock.wall(), query_value(request, "name"), query_value(request, "page")
        at, per = number(said, "page") if said else 1, presenters.SERVERS_PER_PAGE
        lines = await self._pages.build_servers(skip=(at - 1) * per, limit=per + 1, name=name)
        if name and not lines:
            raise NotFound("there is no build server of that name")
        by = visitor_of(request)
        seen = [seen_line(line, self.access, by) for line in lines]
        overview = await self._overview(by, now)
        shown = presenters.servers_page(seen, overview, self._urls, now, at=at, name=name)
        return self._page(request, "servers", shown)

    @page(app, Act.SEE_BUILD, "/builds")
    async def builds(self, request: Request) -> bytes:
        """Show a page of the builds, newest first. Raises NotFound."""
        before, project, state = (query_value(request, name) for name in ("before", "project", "state"))
        if state and state not in _STATES:
            raise NotFound(f"there is no such state of a build; there are {', '.join(_STATES)}")
        if len(project) > _PROJECT_LIMIT:
            raise NotFound("there is no project with so long a name")
        key = number(before, "build") if before else None
        by, most = visitor_of(request), presenters.PER_PAGE + 1
        among = self.access.projects(by)
        lines = await self._pages.builds(
            before=key, limit=most, project=project or None, state=_STATES.get(state), among=among
        )
        offered = tuple(self.access.offered(by))
        shown = presenters.builds_page(
            lines, self._urls, self._clock.wall(), projects=offered, project=project, state=state, before=key
        )
        return self._page(request, "builds", evolve(shown, unseen=among is not None))

    @page(app, Act.SEE_BUILD, "/builds/<build_id>", "/build/<build_id>")
    async def build(self, request: Request, build_id: str) -> bytes:
        """Show all about one build."""
        detail, by = await self._detail(request, build_id, Act.SEE_BUILD), visitor_of(request)
        waits = detail.build.state is BuildState.QUEUED
        why = await self._questions.why(detail.build.id, by) if self._questions is not None and waits else None
        shown = build_page(detail, self._urls, self._clock.wall(), why)
        return self._page(request, "build", shown, "builds")

    @page(app, Act.CONFIRM, "/confirm/<code>")
    async def ask_to_confirm(self, request: Request, code: str) -> bytes:
        """Show the button that confirms a mail address: what follows links by itself must not confirm it."""
        shown = ConfirmPage("Is this your address?", "This confirms that you read mail at the address.", button=True)
        return self._unkept(request, shown)

    @page(app, Act.CONFIRM, "/confirm/<code>", method="POST")
    async def confirm(self, request: Request, code: str) -> bytes:
        """Confirm the mail address that a code was mailed to."""
        shown = ConfirmPage("Not now", "The metaserver does not answer: try again later, or log in with the code.")
        try:
            address, asked = visitor_of(request).address, self._questions
            email = await asked.confirm(code, address) if asked is not None else None
        except (Unauthorised, LimitReached) as error:
            request.setResponseCode(429 if isinstance(error, LimitReached) else 403)
            if isinstance(error, LimitReached):
                request.setHeader("Retry-After", str(max(1, round(error.again))))
            shown = ConfirmPage("Nothing was confirmed", str(error))
        else:
            if email is not None:
                shown = ConfirmPage("Thank you", f"{email} is confirmed: what was asked for there goes on.")
            else:
                request.setResponseCode(503)
        return self._unkept(request, shown)

    def _unkept(self, request: Request, page: ConfirmPage) -> bytes:
        """Return a page that is kept nowhere, since its address is a secret."""
        text = self._templates["confirm"].render(page=page, section="", now=None)
        return answer(request, text.encode(), HTML, "no-store")

    @page(app, Act.SEE_LOG, "/logs/<build_id>")
    async def log(self, request: Request, build_id: str) -> bytes | None:
        """Send the log of the deciding Attempt, or of ``?attempt=``, or a range of it, as plain text."""
        build = (await self._detail(request, build_id, Act.SEE_LOG)).build
        epoch = _epoch(build, query_value(request, "attempt"))
        try:
            extent = await self._logs.state(build.id, epoch)
        except NotFound:
            return plain(request, f"No log of build {build.id}, attempt {epoch}, has arrived.\n")
        header = None if request.getHeader("if-range") else request.getHeader("range")
        span = asked_span(header, extent.length)
        request.setHeader("Accept-Ranges", "bytes")
        request.setHeader("Log-Finished", "yes" if extent.finished else "no")
        if span is None:
            request.setResponseCode(416)
            request.setHeader("Content-Range", f"bytes */{extent.length}")
            return plain(request, f"The log has {extent.length} bytes.\n")
        if span.partial:
            request.setResponseCode(206)
            request.setHeader("Content-Range", span.content_range)
        await self._send(request, build.id, epoch, span)
        return None

    @page(app, Act.PING, "/health")
    async def health(self, request: Request) -> bytes:
        """Answer monitoring with the health of database and metaserver: 200 when all is well, else 503."""
        revision = trouble = ""
        try:
            revision = (await self._pages.health()).revision
        except (StorageUnavailable, NewerDatabase) as error:
            _log.warn("not healthy: {reason}", reason=str(error))
            trouble = error.code
        told = await self._condition.health(visitor_of(request)) if self._condition is not None else None
        said = health.health_answer(__version__, revision, trouble, told, asked=self._condition is not None)
        request.setResponseCode(said.status)
        return answer(request, json.dumps(said.body).encode() + b"\n", "application/json", "no-store")

    @page(app, Act.SEE_STATIC, "/static/<name>")
    def static(self, request: Request, name: str) -> bytes:
        """Send a static file by its name with digest. Raises NotFound."""
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound("there is no such file")
        return answer(request, asset.body, asset.content_type, _FOR_EVER)

    @page(app, Act.SEE_STATIC, "/favicon.ico")
    def favicon(self, request: Request) -> bytes:
        """Send the icon to browsers that ask without being told where it is."""
        icon = self._assets[self._urls.assets["favicon.svg"]]
        return answer(request, icon.body, icon.content_type, _FOR_A_DAY)

    @page(app, Act.SEE_STATIC, "/robots.txt")
    def robots(self, request: Request) -> bytes:
        """Ask search engines to leave out logs and filtered lists."""
        return answer(request, _ROBOTS, TEXT, _FOR_A_DAY)

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes | None:
        """Answer an error with its status and one line; log it when it is ours."""
        if failure.check(CancelledError):
            return None  # the visitor left
        return self._failed(cast(Request, request), failure)

    def _failed(self, request: Request, failure: Failure) -> bytes | None:
        self._errors += 1
        reference = hashlib.sha256(f"{self._clock.wall()} {self._errors}".encode()).hexdigest()[:8]
        said = problem(cast(BaseException, failure.value), reference)
        if said.ours:
            _log.failure("{path} failed, error {number}", failure, path=shown_path(request), number=reference)
        elif said.status == 503:  # noqa: PLR2004 - the one of the others that the operator has to know of
            _log.warn("{path}: {reason}", path=shown_path(request), reason=failure.getErrorMessage())
        if request.startedWriting:
            request.channel.forceAbortClient()  # half a log must not look like a whole one
            return None
        request.setResponseCode(said.status)
        for name, value in said.headers.items():
            request.setHeader(name, value)
        request.responseHeaders.removeHeader("Content-Range")
        body = self._templates["error"].render(page=ErrorPage(said.title, said.text), section="", now=None)
        return answer(request, body.encode(), HTML, "no-store")

    async def _overview(self, by: Principal, now: float) -> Overview:
        """Return the figures; the one build that is shown with them only where it may be seen."""
        overview = await self._pages.overview(now)
        oldest = overview.oldest_queued
        hidden = oldest is not None and not may_see(self.access, by, oldest.spec)
        return evolve(overview, oldest_queued=None) if hidden else overview

    async def _detail(self, request: Request, build_id: str, act: Act) -> BuildDetail:
        found = await self._pages.build(number(build_id, "build"))
        if found is None or not may_see(self.access, visitor_of(request), found.build.spec, act):
            raise NotFound(f"there is no build {build_id}")
        return found

    async def _send(self, request: Request, build_id: int, epoch: int, span: ByteSpan) -> None:
        headers(request, TEXT, span.end - span.start, "no-cache")
        if request.method != b"HEAD":
            await send_log(request, self._logs, build_id, epoch, span)

    def _page(self, request: Request, name: str, page: object, section: str = "") -> bytes:
        now = self._clock.wall()
        text = self._templates[name].render(page=page, section=section or name, now=presenters.moment(now, now))
        return answer(request, text.encode(), HTML, "no-cache")


def _epoch(build: Build, wanted: str) -> int:
    """Return the epoch of the Attempt whose log is wanted. Raises NotFound."""
    if wanted:
        epoch = number(wanted, "attempt")
        if epoch > build.epoch:
            raise NotFound(f"build {build.id} has no attempt {epoch}")
        return epoch
    chosen = deciding_epoch(build)
    if chosen is None:
        raise NotFound(f"build {build.id} has no log: no build server has begun it")
    return chosen
