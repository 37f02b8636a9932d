"""Signing in: by a token or a mailed link, with another session each time, in the browser that asked; and out."""

import re
from urllib.parse import urlencode

from buildtool.web.sessions import form_mark
from tests.metaserver.access.test_mailed_codes import BEN
from tests.web.api.world import KEYED, ROOT, ApiWorld
from tests.web.test_sessions import name_of, session_of
from tests.web.visitor import Seen, check_html

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Browser:
    """A browser that keeps its cookies."""

    def __init__(self, world: ApiWorld) -> None:
        self.world = world
        self.cookies: dict[str, str] = {}

    def visit(self, path: str, **fields: str) -> Seen:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = urlencode(fields).encode() if fields else b""
        method = "POST" if fields else "GET"
        seen = self.world.visitor.visit(path, method, {**headers, **(FORM if fields else {})}, body)
        for line in seen.cookies:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return seen

    def mark(self, path: str = "/sign-in") -> str:
        """Return the mark of the forms of a page."""
        seen = self.visit(path)
        check_html(seen.text)
        assert seen.headers["cache-control"] == "no-store"
        found = re.search(r'name="mark" value="(\w+)"', seen.text)
        assert found is not None
        return found.group(1)


def test_who_shows_a_token_is_signed_in_with_another_secret_and_led_where_they_came_from() -> None:
    world = ApiWorld()
    browser, token = Browser(world), world.tokens.make(KEYED).token
    browser.cookies["session"] = "bs_planted.0000"
    seen = browser.visit("/sign-in", mark=browser.mark(), token=token, to="/builds?limit=1")
    assert (seen.status, seen.headers["location"]) == (303, "/builds?limit=1")
    session = browser.cookies["session"]
    assert session.startswith("bs_")
    assert session != "bs_planted.0000"
    assert token not in session
    assert "browser" not in browser.cookies
    assert name_of(world, f"session={session}") == "ann"
    assert "You are signed in as ann (requester)." in browser.visit("/").text
    assert all("HttpOnly" in line and "SameSite=Lax" in line for line in seen.cookies)


def test_a_wrong_token_and_a_form_of_nobodys_page_sign_nobody_in() -> None:
    world = ApiWorld()
    browser = Browser(world)
    seen = browser.visit("/sign-in", mark=browser.mark(), token="bt_wrong", to="//evil.example")
    assert seen.status == 403
    assert "none that holds here" in seen.text
    assert " data-live=" in browser.visit("/sign-in").text
    assert " data-live=" not in seen.text, "what comes of a form is not exchanged for the page without"
    token = world.tokens.make(KEYED).token
    for mark in ("", form_mark(""), "x"):
        assert browser.visit("/sign-in", mark=mark, token=token).status == 403, "somebody else's page"
    assert "session" not in browser.cookies


def test_a_mailed_link_signs_in_the_browser_that_asked_by_a_button_and_once() -> None:
    world = ApiWorld()
    browser, other = Browser(world), Browser(world)
    seen = browser.visit("/sign-in/mail", mark=browser.mark(), email=BEN)
    assert f"A link was mailed to {BEN}" in seen.text
    link = f"/sign-in/{world.tokens.world.code()}"
    assert other.visit(link, mark=other.mark(link)).status == 403
    assert "session" not in other.cookies
    mark = browser.mark(link)
    assert "session" not in browser.cookies, "what follows links by itself signs nobody in"
    assert browser.visit(link, mark=mark).status == 303
    assert name_of(world, f"session={browser.cookies['session']}") == BEN
    again = Browser(world)
    again.cookies["browser"] = "b" * 32
    assert again.visit(link, mark=form_mark("b" * 32)).status == 403


def test_a_browser_is_signed_out_alone_or_all_are() -> None:
    world = ApiWorld()
    browser, session = Browser(world), session_of(world)
    browser.cookies["session"] = session_of(world)
    assert browser.visit("/sign-out", mark="x").status == 303
    assert "session" in browser.cookies
    assert browser.visit("/sign-out", mark=browser.mark()).status == 303
    assert "session" not in browser.cookies
    browser.cookies["session"] = session
    assert "everywhere" in browser.visit("/sign-in").text
    browser.visit("/sign-out", mark=browser.mark(), everywhere="yes")
    assert not world.tokens.service.book.held_by(ROOT)


def test_who_has_signed_in_makes_a_token_that_is_shown_once() -> None:
    world = ApiWorld()
    browser = Browser(world)
    browser.cookies["session"] = session_of(world)
    seen = browser.visit("/tokens", mark=browser.mark(), label="nightly", days="7")
    found = re.search(r"bt_\w+", seen.text)
    assert found is not None
    assert found.group(0) not in browser.visit("/sign-in").text
    assert "nightly" in browser.visit("/sign-in").text
    assert browser.visit("/tokens", mark="x", label="nightly", days="7").status == 403


def test_what_was_done_is_shown_to_operators_only() -> None:
    world = ApiWorld()
    browser = Browser(world)
    assert browser.visit("/audit").status == 403
    browser.cookies["session"] = session_of(world)
    seen = browser.visit("/audit")
    assert seen.status == 200
    check_html(seen.text)
