"""A visitor of the pages: asks the real application over an in-memory connection."""

from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from itertools import count, pairwise
from typing import Any, Self
from urllib.parse import urldefrag

import html5lib
from attrs import frozen
from treq.testing import StubTreq
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from buildtool.ports.artifacts import FilesReader
from buildtool.ports.pages import Questions
from buildtool.web.access import Access, EverythingSeen
from buildtool.web.app import WebApp, make_urls
from buildtool.web.health import HealthSource
from buildtool.web.live.hub import LiveHub
from buildtool.web.section import Tools, Upstream
from buildtool.web.urls import Urls
from tests.support.memory import WallClock
from tests.web.fake_pages import NOW, FakeLogs, FakePages
from tests.web.farm import farm, logs

PUBLIC = "http://farm.example:8080"
TRANSFER = "http://farm.example:23433"


@frozen
class Seen:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()
    """What is said of each cookie."""

    @property
    def text(self) -> str:
        return self.body.decode()


class _AsSent(Resource):
    """A site that does not see that the client of the tests would unpack whatever it gets."""

    isLeaf = True

    def __init__(self, site: IResource) -> None:
        super().__init__()
        self._site = site

    def render(self, request: Request) -> Any:
        accepted = request.requestHeaders.getRawHeaders("Accept-Encoding", [])[:-1]
        request.requestHeaders.removeHeader("Accept-Encoding")
        if accepted:
            request.requestHeaders.setRawHeaders("Accept-Encoding", accepted)
        return self._site.render(request)


class Visitor:
    """Visits one application; ``headers`` of a visit are those that the visitor sends."""

    def __init__(
        self,
        pages: FakePages,
        logs: FakeLogs | None = None,
        urls: Urls | None = None,
        questions: Questions | None = None,
        condition: HealthSource | None = None,
        access: Access | None = None,
        *,
        live: LiveHub | None = None,
        clock: WallClock | None = None,
        tools: Tools | None = None,
        contents: FilesReader | None = None,
    ) -> None:
        access = access or EverythingSeen(["testproject", "lua"])
        self.urls = urls or make_urls(PUBLIC, TRANSFER)
        upstream, made = Upstream(questions, condition, live, contents), count(1)
        tools = tools or Tools(lambda: f"{next(made):032x}")
        app = WebApp(pages, logs or FakeLogs(), self.urls, clock or WallClock(NOW), upstream, access, tools)
        self.site: IResource = _AsSent(app.resource())
        self._treq: Any = StubTreq(self.site)

    @classmethod
    def at(cls, live: LiveHub | None, clock: WallClock | None = None) -> Self:
        """Return a visitor of the farm whose pages hear of what happens by ``live``."""
        return cls(farm(), logs(), live=live, clock=clock)

    def visit(
        self, path: str | bytes, method: str = "GET", headers: Mapping[str, str] | None = None, sent: bytes = b""
    ) -> Seen:
        """Return the answer to one request."""
        url = PUBLIC.encode() + (path.encode() if isinstance(path, str) else path)
        seen: list[Any] = []
        answered = self._treq.request(method, url, headers=dict(headers or {}), data=sent, allow_redirects=False)
        answered.addBoth(seen.append)
        self._treq.flush()
        (response,) = seen
        body: list[bytes] = []
        self._treq.content(response).addBoth(body.append)
        while not body:
            self._treq.flush()
        raw = response.headers.getAllRawHeaders()
        # What the client's decoder of compressed answers leaves behind, and what differs from one second to the next.
        left_out = ("content-encoding", "date")
        named = {name.decode().lower(): values[-1].decode() for name, values in raw}
        named = {name: value for name, value in named.items() if name not in left_out}
        named.setdefault("content-length", str(response.length if isinstance(response.length, int) else "packed"))
        cookies = tuple(one.decode() for one in response.headers.getRawHeaders(b"set-cookie", []))
        return Seen(response.code, named, body[0], cookies)

    def leave(self, path: str) -> None:
        """Ask for a page and hang up before the answer."""
        self.begin(path)()

    def begin(self, path: str) -> Callable[[], None]:
        """Ask for a page; return what hangs up."""
        asked = self._treq.request("GET", PUBLIC + path)
        self._treq.flush()
        asked.addErrback(lambda _: None)

        def hang_up() -> None:
            asked.cancel()
            self._treq.flush()

        return hang_up


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    """Return every start tag of a page with its attributes."""
    parser = _Tags()
    parser.feed(text)
    return parser.found


def links(text: str) -> Iterator[str]:
    """Return where a page leads to or what it loads, without fragments."""
    for _, attributes in tags(text):
        for name in ("href", "src", "action"):
            value = attributes.get(name)
            if value is not None:
                yield urldefrag(value).url


def check_html(text: str) -> None:
    """Fail unless ``text`` is valid where a parser can tell, its ids are unique, and its headings in order."""
    html5lib.HTMLParser(strict=True).parse(text)
    found = tags(text)
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids)), ids
    named = {value for _, attributes in found for value in (attributes.get("aria-labelledby") or "").split()}
    assert named <= set(ids), named - set(ids)
    levels = [int(tag[1]) for tag, _ in found if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert [attributes.get("lang") for tag, attributes in found if tag == "html"] == ["en"]
    assert all("scope" in attributes for tag, attributes in found if tag == "th")
    assert not any(tag == "style" or "style" in attributes for tag, attributes in found)
    assert all("src" in attributes for tag, attributes in found if tag == "script")
    assert not any(name.startswith("on") for _, attributes in found for name in attributes)
