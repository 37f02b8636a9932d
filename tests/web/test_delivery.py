"""How answers go out: packed to who can unpack them, not at all to who has them, and in parts; and at one address."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from buildtool.errors import NotFound
from buildtool.web.app import make_urls
from buildtool.web.assets import load_assets
from buildtool.web.delivery import delivered, part_of
from tests.web.farm import farm, logs
from tests.web.live.test_hub import World
from tests.web.visitor import Visitor, check_html

PACKED = {"Accept-Encoding": "gzip"}
PAGES = ("/", "/builds", "/build/3", "/buildservers")
STATIC = f"/static/{load_assets()['style.css'].served}"


@pytest.fixture
def visitor() -> Visitor:
    return Visitor(farm(), logs())


def asked(body: bytes, **headers: str) -> tuple[Request, bytes]:
    """Return a request with these headers, and what goes out for a body."""
    request = Request(DummyChannel(), False)
    request.method = b"GET"
    for name, value in headers.items():
        request.requestHeaders.setRawHeaders(name.replace("_", "-"), [value])
    return request, delivered(request, body)


@pytest.mark.parametrize(
    ("accepted", "packs"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("", False), ("br", False)],
)
def test_who_can_unpack_is_sent_less_which_is_the_same(accepted: str, packs: bool) -> None:
    body = b"<p>all the same</p>" * 100
    request, sent = asked(body, Accept_Encoding=accepted)
    assert request.responseHeaders.getRawHeaders("vary") == ["Accept-Encoding"]
    assert (request.responseHeaders.getRawHeaders("content-encoding") == ["gzip"]) is packs
    assert request.responseHeaders.getRawHeaders("content-length") == [str(len(sent))]
    assert (gzip.decompress(sent) if packs else sent) == body
    assert len(sent) <= len(body)


def test_a_page_of_who_has_a_cookie_is_not_packed_with_what_others_may_have_put_into_it() -> None:
    request, sent = asked(b"x" * 5_000, Accept_Encoding="gzip", Cookie="session=secret")
    assert sent == b"x" * 5_000
    assert request.responseHeaders.getRawHeaders("content-encoding") is None


@pytest.mark.parametrize("path", [*PAGES, "/build/3?part=content", STATIC, "/favicon.ico", "/robots.txt"])
def test_who_has_it_is_sent_nothing_and_a_tag_is_of_the_content_as_it_is_sent(visitor: Visitor, path: str) -> None:
    first = visitor.visit(path)
    tag = first.headers["etag"]
    assert tag.startswith('"'), "strong"
    for known in (tag, f'"other", W/{tag}', "*"):
        again = visitor.visit(path, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == first.headers["cache-control"]
        assert again.headers.get("vary") == first.headers.get("vary")
    assert visitor.visit(path, headers={"If-None-Match": '"other"'}).body == first.body
    packed = visitor.visit(path, headers=PACKED)
    assert packed.body == first.body, "the client of the test unpacks it"
    if "vary" in first.headers:
        assert packed.headers["etag"] != tag
        head = visitor.visit(path, "HEAD", headers=PACKED)
        assert int(head.headers["content-length"]) < len(first.body)


def test_two_pages_have_two_tags_and_what_is_an_error_or_secret_has_none(visitor: Visitor) -> None:
    assert len({visitor.visit(path).headers["etag"] for path in PAGES}) == len(PAGES)
    for path in ("/nothing", "/health", "/confirm/abc"):
        seen = visitor.visit(path, headers=PACKED)
        assert "etag" not in seen.headers
        assert seen.headers["cache-control"] == "no-store"


# --- parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/builds?state=failed", "/build/3", "/buildservers?page=1"])
def test_a_part_is_what_stands_in_the_page(visitor: Visitor, path: str) -> None:
    page = visitor.visit(path).text
    part = visitor.visit(path + ("&" if "?" in path else "?") + "part=content").text
    assert part in page
    assert part.startswith("<main ")
    assert part.endswith("</main>")


@pytest.mark.parametrize("name", ["none", "a b", '"><script>', "x" * 100, "%ff", "content%00"])
def test_a_part_that_there_is_not_is_a_404_page(visitor: Visitor, name: str) -> None:
    seen = visitor.visit(f"/builds?part={name}")
    assert seen.status == 404
    check_html(seen.text)


TREES = st.recursive(
    st.sampled_from(["", "text", "<path/>", "<p>x</p>", "<section>y</section>"]),
    lambda inner: st.builds(
        lambda kind, parts: f'<{kind} class="c">{"".join(parts)}</{kind}>',
        st.sampled_from(["section", "p", "sect"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=10,
)


@given(TREES, TREES, TREES)
def test_a_part_ends_where_its_element_does(before: str, inside: str, after: str) -> None:
    part = f'<section class="card" id="it">{inside}</section>'
    assert part_of(f"<main>{before}{part}{after}</main>", "it") == part


def test_a_part_that_does_not_end_is_none() -> None:
    for text in ('<p id="it">', '<p id="it"><p></p>', 'x id="it"', ""):
        with pytest.raises(NotFound):
            part_of(text, "it")


# --- addresses ----------------------------------------------------------------------------------------------


def test_a_slash_too_many_leads_to_the_page_with_its_query(visitor: Visitor) -> None:
    for path, page in (
        ("/builds/", "/builds"),
        ("/build/3/", "/build/3"),
        ("/build/3//", "/build/3"),
        ("/builds/?state=failed&project=lu%20a", "/builds?state=failed&project=lu%20a"),
        ("/buildservers/?name=%C3%A9", "/buildservers?name=%C3%A9"),
    ):
        for method in ("GET", "HEAD"):
            seen = visitor.visit(path, method)
            assert (seen.status, seen.headers["location"]) == (308, page)
    below = Visitor(farm(), logs(), make_urls("https://example.org/farm", "http://farm.example"))
    assert below.visit("/builds/").headers["location"] == "/farm/builds"


@pytest.mark.parametrize(
    "path",
    ["//evil.example/", "///evil.example/", "/\\evil.example/", "/nothing/", "/%2fevil.example/", "/%5cevil/",
     "//builds/", "/evil.example%2f..%2f/", "/@evil.example/", "/static/style.css%0d%0aX:1//"],
)  # fmt: skip
def test_no_address_leads_to_another_site(visitor: Visitor, path: str) -> None:
    seen = visitor.visit(path)
    place = seen.headers.get("location", "/")
    assert place.startswith("/")
    assert not place.startswith(("//", "/\\"))
    assert "\n" not in place
    assert seen.status == 404


# --- the script ---------------------------------------------------------------------------------------------


def test_scripts_of_all_pages_are_small_and_hear_of_news_only_where_something_is_live() -> None:
    folder = Path(__file__).parents[2] / "web" / "static"
    packed = {file.name: len(gzip.compress(file.read_bytes(), 9)) for file in folder.glob("*.js")}
    assert packed["live.js"] + packed["ask.js"] <= 4 * 1024
    assert packed["live.js"] + packed["log.js"] <= 8 * 1024
    world = World()
    world.commit("farm")
    world.begin()
    text = Visitor.at(world.hub).visit("/").text
    assert f'src="/static/{load_assets()["live.js"].served}"' in text
    assert 'data-events="/events" data-seq="1"' in text
    assert "data-events" not in Visitor(farm(), logs()).visit("/").text
