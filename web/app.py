"""The pages as a Klein application: what its sections answer, and what is said of errors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request

from buildtool.ports.common import Clock
from buildtool.ports.pages import LogReader, Pages
from buildtool.protocol.api.routes import PREFIX

from .access import Access, EverythingSeen
from .answers import HTML, answer, problem, shown_path
from .api.section import ApiSection, problem_answer
from .assets import load_assets
from .guard import Gatekeeper, RootResource
from .hooks.section import HooksSection
from .live.hub import Answering, LastMoment
from .live.projects import ProjectReader
from .pages.views import ErrorPage
from .rendering import templates
from .section import Parts, Section, Tools, Upstream
from .sections.acts import ACTS, ActsSection
from .sections.ask import AskSection
from .sections.build import BuildSection
from .sections.builds import BuildsSection
from .sections.confirm import MailedSection
from .sections.contents import ContentsSection
from .sections.files import FilesSection
from .sections.getting.newest import GetSection
from .sections.health import HealthSection
from .sections.live import LiveSection
from .sections.logs import LogsSection
from .sections.machines import MachinesSection
from .sections.matrix import MatrixSection
from .sections.now import NowSection
from .sections.sign_in import SignInSection
from .sessions import CookieJar, SessionReader
from .urls import Urls

SECTIONS: tuple[type[Section], ...] = (
    NowSection,
    BuildsSection,
    BuildSection,
    ContentsSection,
    LogsSection,
    AskSection,
    MatrixSection,
    GetSection,
    MachinesSection,
    MailedSection,
    HealthSection,
    LiveSection,
    HooksSection,
    FilesSection,
    SignInSection,
    ActsSection,
    ApiSection,
)
"""Every section that the pages have."""

NO_UPSTREAM = Upstream()
"""Pages that stand alone."""

NO_TOOLS = Tools()

API = f"{PREFIX}/".encode()

_log = Logger()


def make_urls(public: str, transfer: str) -> Urls:
    """Return where everything is, static files under their names with digest included."""
    return Urls(public, transfer, {name: asset.served for name, asset in load_assets().items()})


def _view(section: type[Section], name: str) -> Callable[..., Any]:
    """Return what answers a route of a section by its method, of those that the pages which are asked have."""

    def view(pages: WebApp, request: Request, **values: str) -> Any:  # noqa: ANN401 - what a page is
        return getattr(pages.sections[section], name)(request, **values)

    return view


def _routed() -> Klein:
    """Return the routes of every section, which werkzeug compiles once however many pages there are."""
    app = Klein()
    app.url_map.merge_slashes = False  # "//builds" is no page, and is not taken for one
    for section in SECTIONS:
        for route, name in section.routes():
            view = _view(section, name)
            app.route(route.path, methods=[route.method], endpoint=f"{route.method} {route.path}")(view)
    app.handle_errors(Exception)(cast(Any, WebApp.failed))
    return app


class WebApp:
    """The pages. ``urls`` comes from ``make_urls``; ``access`` says who visitors are and what they may see."""

    _app: Klein

    def __init__(
        self,
        pages: Pages,
        logs: LogReader,
        urls: Urls,
        clock: Clock,
        upstream: Upstream = NO_UPSTREAM,
        access: Access | None = None,
        tools: Tools = NO_TOOLS,
    ) -> None:
        self.access = EverythingSeen() if access is None else access
        silence = Answering() if upstream.live is None else upstream.live
        self._clock = LastMoment(clock, silence)
        self._templates = templates(urls, silence, self.access.deployment)
        self._errors = 0
        self._prefix = urls.prefix
        jar, sessions = CookieJar(urls), SessionReader(upstream.questions, clock)
        acts = {name: one.act for name, one in ACTS.items()}
        self._parts = parts = Parts(
            pages,
            logs,
            urls,
            self._clock,
            self.access,
            self._templates,
            upstream,
            tools,
            jar,
            ProjectReader(upstream.questions, self.access, clock),
            sessions,
            acts,
        )
        self._gate = Gatekeeper(self.access, jar, sessions, self._refused)
        self.sections = {section: section(parts) for section in SECTIONS}

    def resource(self) -> IResource:
        """Return the root of a site."""
        return RootResource(self._app.resource(), self._gate, self._page_at)

    def _page_at(self, path: str) -> str:
        """Return the URL of the page at a path, "" where there is none, or its path has anything odd in it."""
        plain = quote(path) == path and not path.startswith("//")
        return self._prefix + path if plain and self._app.url_map.bind("localhost").test(path, "GET") else ""

    def _refused(self, request: Request, error: BaseException) -> bytes:
        """Answer a request that no route sees."""
        return self.failed(cast(IRequest, request), Failure(error)) or b""

    def failed(self, asked: IRequest, failure: Failure) -> bytes | None:
        """Answer an error with its status and one line; log it when it is ours."""
        if failure.check(CancelledError):
            return None  # the visitor left
        request = cast(Request, asked)
        if request.path.startswith(API) and not request.startedWriting:
            return problem_answer(request, cast(BaseException, failure.value), self._parts, failure)
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


WebApp._app = _routed()  # noqa: SLF001 - a class is there only once it is whole
