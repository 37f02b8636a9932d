"""What a browser sends proves who asks, or nothing; nobody is sent elsewhere, and no other site asks for a visitor."""

import re

import pytest
from attrs import AttrsInstance
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import Unavailable
from buildtool.model.principal import Principal
from buildtool.ports.pages import A
from buildtool.protocol.pages.visiting import EndToken
from buildtool.web.app import SECTIONS, make_urls
from buildtool.web.sessions import form_mark, within_site
from tests.metaserver.access.test_tokens import ROOT
from tests.support.inline import run
from tests.web.api.world import NOBODY, ApiWorld, said
from tests.web.fake_pages import NoQuestions
from tests.web.farm import farm
from tests.web.test_access import Some
from tests.web.visitor import PUBLIC, TRANSFER, Visitor

FARM = make_urls("https://example.org/farm", TRANSFER)


def session_of(world: ApiWorld, by: Principal = ROOT) -> str:
    return run(world.tokens.sign_in(token=world.tokens.make(by).token)).session


def name_of(world: ApiWorld, cookie: str) -> str:
    told = said(world.get("/me", {"Cookie": cookie}))
    return str(told["name"])


def test_a_session_is_known_by_its_cookie_alone_and_once() -> None:
    world = ApiWorld()
    session = session_of(world)
    assert name_of(world, f"a=b; session={session}; c=d") == ROOT.name
    twice = f"session={session}; session={session}"
    for cookie in ("", twice, f"sessionx={session}", "session=bs_forged.0000", "session="):
        assert name_of(world, cookie) == "", cookie


def test_a_session_that_holds_no_more_is_forgotten_by_the_browser_and_its_visitor_goes_on_as_a_visitor() -> None:
    world = ApiWorld()
    seen = world.visitor.visit("/builds", headers={"Cookie": "session=bs_forged.0000"})
    assert seen.status == 200
    assert "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" in seen.headers["set-cookie"]


def test_an_end_is_noticed_within_seconds() -> None:
    world = ApiWorld()
    session = session_of(world)
    assert name_of(world, f"session={session}") == ROOT.name
    run(world.tokens.service.end(ROOT, EndToken()))
    world.tokens.world.wall.now += 10
    assert name_of(world, f"session={session}") == ""


def test_a_token_in_a_cookie_and_a_session_in_a_header_are_none() -> None:
    world = ApiWorld()
    token = world.tokens.make(ROOT).token
    assert name_of(world, f"session={token}") == ""
    assert world.get("/me", {"Authorization": f"Bearer {session_of(world)}"}).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://farm.example:8080.evil.example"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://[::1]:8080"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": f"x{PUBLIC}/"}, 403),
        ({"Origin": PUBLIC}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": PUBLIC}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_what_a_page_of_another_site_has_a_browser_ask_is_not_done_whoever_is_shown(
    headers: dict[str, str], status: int
) -> None:
    world = ApiWorld()
    seen = world.post("/machines/elm/pause", {}, {**world.token(ROOT), **headers})
    assert seen.status == status
    assert len(world.asked) == (status == 200)


HEADERS = (
    "Origin", "Host", "Cookie", "Authorization", "Sec-Fetch-Site", "X-Forwarded-For", "If-None-Match", "Range",
    "Accept", "Accept-Encoding", "Content-Type", "Idempotency-Key", "Request-Token", "X-CSRF-Token", "Last-Event-ID",
    "User-Agent",
)  # fmt: skip
VALUES = (
    "http://[", "[", "::", "bs_", "Bearer bt_x", "session=bs_x", 'W/"', "bytes=0-", "gzip;q=", "*", ",", ";", "=",
    "\xff", "9" * 30,
)  # fmt: skip
DRAWN = st.sampled_from(VALUES) | st.text('[]:/=;,*"bs_\xe9 1', max_size=20)
ROUTES = [(route.path, route.method) for one in SECTIONS for route, _ in one.routes() if route.path != "/events"]


@given(st.dictionaries(st.sampled_from(HEADERS), DRAWN, max_size=4), st.sampled_from(ROUTES), st.booleans())
def test_no_header_is_a_defect_of_any_route(headers: dict[str, str], route: tuple[str, str], head: bool) -> None:
    path, method = re.sub(r"<\w+>", "1", route[0]), "HEAD" if head and route[1] == "GET" else route[1]
    seen = ApiWorld().visitor.visit(path, method, headers)
    assert seen.status != 500, (path, headers)
    assert not (method == "HEAD" and seen.body), path


class Gone(NoQuestions):
    """``ports.Questions`` to a metaserver that does not answer."""

    async def tell(self, message: AttrsInstance, answer: type[A]) -> A:
        raise Unavailable("no metaserver answers")


def test_while_the_metaserver_does_not_answer_what_a_session_asks_for_is_refused_and_pages_are_shown() -> None:
    visitor, cookie = Visitor(farm(), questions=Gone(), access=Some(NOBODY)), {"Cookie": "session=bs_x"}
    assert visitor.visit("/", headers=cookie).status == 200
    for path in ("/acts/pause", "/sign-out", "/api/v1/machines/elm/pause"):
        seen = visitor.visit(path, "POST", cookie)
        assert (seen.status, seen.headers["retry-after"]) == (503, "5"), path
        assert "no metaserver answers" in seen.text.lower()


def test_looking_is_let_through_from_elsewhere_as_links_are() -> None:
    assert ApiWorld().visitor.visit("/", headers={"Sec-Fetch-Site": "cross-site"}).status == 200


@given(st.text(max_size=30) | st.sampled_from(["//evil.example", "/farm//evil", "/\\evil", "https://e", "/farm/../x"]))
def test_nobody_is_sent_elsewhere(path: str) -> None:
    found = within_site(path, FARM)
    assert found.startswith("/farm/")
    assert not found.startswith("//")
    assert found.isprintable()
    assert "\\" not in found


def test_a_path_of_the_site_is_where_it_leads() -> None:
    assert within_site("/farm/build/7?x=1", FARM) == "/farm/build/7?x=1"


def test_a_mark_is_of_one_session_and_gives_nothing_of_it_away() -> None:
    assert form_mark("bs_a") != form_mark("bs_b")
    assert "bs_a" not in form_mark("bs_a")
