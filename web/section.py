"""A section of the pages: routes that belong together, each with the act that it needs; ``app`` puts them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Final

from attrs import evolve, field, frozen
from jinja2 import Template
from twisted.internet.defer import Deferred, succeed
from twisted.web.server import Request

from buildtool.errors import Expired, NotFound, Unauthorised, Unavailable
from buildtool.model.access.rights import Act
from buildtool.model.keeping.gone import EXPIRED
from buildtool.model.principal import Principal
from buildtool.model.records import Artifact
from buildtool.ports.artifacts import FilesReader
from buildtool.ports.common import Clock
from buildtool.ports.pages import ArtifactReader, BuildDetail, LogReader, Overview, Pages, Questions

from .access import Access, may_see, shown_by, visitor_of
from .answers import HTML, answer, number, query_value
from .delivery import part_of
from .forms import Forms, back_of, browser_mark, said_before
from .health import HealthSource
from .live.hub import LiveHub
from .live.projects import ProjectReader
from .pages.common import moment
from .sessions import CookieJar, SessionReader
from .urls import Urls

_ROUTES: Final = "routes"


@frozen
class Route:
    """A path at which a method of a section answers, and the act that who asks must be allowed."""

    path: str
    method: str
    act: Act


@frozen(eq=False)
class Upstream:
    """The ways of the pages to the metaserver itself: ``questions`` and ``condition`` ask it, ``live`` hears of it.

    ``contents`` are those of artifacts. What is None pages leave out; without ``live`` it is never told that the
    metaserver does not answer.
    """

    questions: Questions | None = None
    condition: HealthSource | None = None
    live: LiveHub | None = None
    contents: FilesReader | None = None


def _no_secret() -> str:
    raise Unavailable("these pages sign nobody in")


def _at_once(_seconds: float) -> Deferred[None]:
    return succeed(None)


@frozen(eq=False)
class Tools:
    """The tools that pages need from outside: secrets, time that passes, what is said of the limits, and artifacts.

    ``new_secret`` returns a text that cannot be guessed, ``later`` a Deferred that fires in so many seconds, and
    ``policies`` what the header RateLimit-Policy says. Without ``artifacts`` the pages give out none.
    """

    new_secret: Callable[[], str] = _no_secret
    later: Callable[[float], Deferred[None]] = _at_once
    policies: Callable[[], Sequence[str]] = tuple
    artifacts: ArtifactReader | None = None


@frozen(eq=False)
class Parts:
    """The parts that sections work with.

    ``access`` says who visitors are and what they may see; ``clock`` stands still while the metaserver does not answer.
    ``projects`` are those that can be asked for. ``acts`` are those of forms, by name.
    """

    pages: Pages
    logs: LogReader
    urls: Urls
    clock: Clock
    access: Access
    templates: Mapping[str, Template]
    upstream: Upstream
    tools: Tools
    jar: CookieJar
    projects: ProjectReader
    sessions: SessionReader
    acts: Mapping[str, Act] = field(factory=dict)


def page(act: Act, *paths: str, method: str = "GET") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what makes a method a page at these paths, which only those reach who may do its act."""

    def shown(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def checked(self: Section, request: Request, **values: str) -> Any:  # noqa: ANN401 - what a page is
            self.parts.access.check_role(visitor_of(request), act)
            live = self.parts.upstream.live
            request.setComponent(LiveHub, live.last if live is not None else 0)  # before anything is read
            return view(self, request, **values)

        setattr(checked, _ROUTES, tuple(Route(path, method, act) for path in paths))
        return checked

    return shown


class Section:
    """A group of routes that belong together: methods that ``page`` has marked."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @classmethod
    def routes(cls) -> Iterator[tuple[Route, str]]:
        """Return every route, and the name of the method that answers there."""
        for name in dir(cls):
            for route in getattr(getattr(cls, name), _ROUTES, ()):
                yield route, name

    def shown(self, request: Request, template: str, page: object, section: str = "") -> bytes:
        """Return a page by its template, or the part of it that is asked for; ``section`` is its entry of the header.

        Raises NotFound.
        """
        now, part, seq = self.parts.clock.wall(), query_value(request, "part"), request.getComponent(LiveHub, 0)
        said = "" if part else said_before(request, self.parts.jar)
        text = self.parts.templates[template].render(
            page=page, section=section or template, now=moment(now, now), seq=seq, said=said,
            live=request.method != b"POST", forms=self.forms(request, f"{seq}"),
        )  # fmt: skip
        return answer(
            request, (part_of(text, part) if part else text).encode(), HTML, "no-store" if said else "no-cache"
        )

    def forms(self, request: Request, once: str) -> Forms | None:
        """Return the forms of a page for who looks at it; None where they may do nothing."""
        shown, access = shown_by(request), self.parts.access
        if not (shown.secret or shown.by.name):
            return None  # who that is nobody knows, so nothing is theirs

        def may(name: str) -> bool:
            try:
                access.check_role(shown.by, self.parts.acts[name])
            except Unauthorised:
                return False
            return True

        mark = browser_mark(request, self.parts.jar, shown, self.parts.tools.new_secret)
        return Forms(shown.by.name, mark, once, back_of(request, self.parts.urls), may)

    async def detail(self, request: Request, build_id: str, act: Act) -> BuildDetail:
        """Return all about the build that a path names. Raises NotFound, also where the visitor may not see it."""
        found = await self.parts.pages.build(number(build_id, "build"))
        if found is None or not may_see(self.parts.access, visitor_of(request), found.build.spec, act):
            raise NotFound(f"there is no build {build_id}")
        return found


async def overview_for(parts: Parts, by: Principal, now: float) -> Overview:
    """Return the figures of the farm; the one build that is shown with them only where a visitor may see it.

    ``now`` is wall time in seconds.
    """
    overview = await parts.pages.overview(now)
    oldest = overview.oldest_queued
    hidden = oldest is not None and not may_see(parts.access, by, oldest.spec)
    return evolve(overview, oldest_queued=None) if hidden else overview


async def artifact_for(parts: Parts, by: Principal, build_id: int) -> tuple[FilesReader, Artifact]:
    """Return what reads artifacts, and that of a build, where a visitor may have it. Raises NotFound."""
    found = await parts.pages.build(build_id)
    made = found.artifact if found is not None else None
    if found is None or made is None or not may_see(parts.access, by, found.build.spec, Act.SEE_ARTIFACT):
        raise NotFound(f"there is no artifact of build {build_id}")
    if made.withdrawn:
        gone = Expired if made.withdrawn.startswith(EXPIRED) else NotFound
        raise gone(f"the artifact of build {build_id} is not given out any more: {made.withdrawn}")
    if parts.upstream.contents is None:
        raise NotFound("these pages look into no artifacts")
    return parts.upstream.contents, made
