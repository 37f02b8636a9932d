"""The form that asks for builds: for whom it has a button, what it sends, and that no other site can have it sent."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import define, field

from buildtool.errors import LimitReached, Unavailable, UnknownRef
from buildtool.model.options import flag
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.project_options import ProjectOptions
from buildtool.protocol.messages import Submit
from buildtool.web.sessions import form_mark
from tests.fakes_build import OPTIONS
from tests.messages import found, waiting
from tests.web.api.world import KEYED, NOBODY, ApiWorld, described_by
from tests.web.fake_pages import NoQuestions
from tests.web.farm import farm
from tests.web.test_access import Some
from tests.web.test_sessions import session_of
from tests.web.visitor import Seen, Visitor, check_html, tags

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TRUSTED = Principal(PrincipalRole.REQUESTER, address="127.0.0.1", trusted=True)


@define
class Browser:
    """A browser before the form: it keeps the cookies of one visitor and sends the form's own fields."""

    world: ApiWorld
    cookies: dict[str, str] = field(factory=dict)

    def _seen(self, seen: Seen) -> Seen:
        for one in seen.cookies:
            name, _, value = one.partition(";")[0].partition("=")
            self.cookies[name] = value
        return seen

    def _headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def get(self, path: str) -> Seen:
        seen = self._seen(self.world.visitor.visit(path, headers=self._headers()))
        if "part=" not in path:
            check_html(seen.text)
        return seen

    def send(self, page: Seen, *pairs: tuple[str, str], **hidden: str) -> Seen:
        """Press the button of a form, with these values in place of what it had."""
        own = {str(it.get("name")): str(it.get("value")) for tag, it in tags(page.text) if it.get("type") == "hidden"}
        body = urlencode([*{**own, **hidden}.items(), *pairs]).encode()
        return self._seen(self.world.visitor.visit("/request", "POST", {**FORM, **self._headers()}, body))


def asked(world: ApiWorld) -> list[Submit]:
    return world.people.submitted


def said(page: Seen) -> str:
    note = re.search(r'<p class="note said" role="status">(.*?)</p>', page.text)
    return note.group(1) if note else ""


def test_a_form_asks_for_what_it_says_and_leads_to_the_build() -> None:
    world = ApiWorld(TRUSTED)
    browser = Browser(world)
    page = browser.get("/request?project=testproject&colour=blue")
    pairs = (("_send", "yes"), ("project", "testproject"), ("colour", "blue"), ("arch", "powerpc"), ("revision", "v1"),
             ("email", "ann@example.org"))  # fmt: skip
    seen = browser.send(page, *pairs)
    assert (seen.status, seen.headers["location"]) == (303, "/build/17")
    (one,) = asked(world)
    assert (one.project, one.revision, one.compile, one.system, one.email) == (
        "testproject", "v1", {"colour": "blue"}, {"arch": "ppc"}, "ann@example.org",
    )  # fmt: skip
    told = said(browser.get("/build/1"))
    assert told.startswith("Request 12: it is waiting. Cancel it with: startcompile.py cancel 12-")

    browser.send(page, *pairs)
    browser.send(page, *pairs, ("native", "yes"))
    browser.send(browser.get("/request"), *pairs)
    assert [it.native for it in asked(world)] == [False, False, True, False], "native is demanded by its box alone"
    ids = [it.client_id for it in asked(world)]
    assert ids[0] == ids[1], "the same form sent twice asks once"
    assert len({*ids}) == 3


def test_a_hit_leads_to_the_build_that_made_it() -> None:
    world = ApiWorld(TRUSTED)
    world.people.answers[12] = waiting("hit", state="satisfied", artifact=found(build_id=3), build_id=None)
    browser = Browser(world)
    seen = browser.send(browser.get("/request"), ("_send", "yes"), ("email", "ann@example.org"))
    assert seen.headers["location"] == "/build/3"
    assert said(browser.get("/build/3")) == "Request 12: an artifact was there already."


def test_several_at_once_are_asked_for_together_and_lead_to_their_list() -> None:
    world = ApiWorld(TRUSTED)
    browser = Browser(world)
    page = browser.get("/request?project=testproject&_several=yes")
    seen = browser.send(
        page, ("_send", "yes"), ("colour", "blue"), ("colour", "red"), ("revision", "main\nv1"), ("email", "a@b.org")
    )
    assert [(one.compile["colour"], one.revision) for one in asked(world)] == [
        ("blue", "main"), ("blue", "v1"), ("red", "main"), ("red", "v1"),
    ]  # fmt: skip
    assert len({one.client_id for one in asked(world)}) == 4
    assert seen.headers["location"] == "/build/17", "which all of them wait for"
    world.people.answers = {12: waiting(build_id=None, answer="queued", reason="your address is to be confirmed")}
    seen = browser.send(page, ("_send", "yes"), ("email", "a@b.org"), _several="")
    assert seen.headers["location"] == "/request?project=testproject"
    assert "your address is to be confirmed" in said(browser.get("/request"))


def test_without_the_mark_of_its_own_browser_nothing_is_asked_for() -> None:
    world = ApiWorld(TRUSTED)
    browser, other = Browser(world), Browser(world)
    page, theirs = browser.get("/request"), other.get("/request")
    for sent in (
        browser.send(theirs, ("_send", "yes"), ("email", "a@b.org")),
        browser.send(page, ("_send", "yes"), ("email", "a@b.org"), _mark=""),
        Browser(world).send(page, ("_send", "yes"), ("email", "a@b.org")),
    ):
        assert sent.status == 403
        assert "Nothing was asked for: this page is too old" in sent.text
        check_html(sent.text)
    evil = {**FORM, "Origin": "http://evil.example", "Cookie": f"browser={browser.cookies['browser']}"}
    body = urlencode({"_mark": form_mark(browser.cookies["browser"]), "_send": "yes", "email": "a@b.org"}).encode()
    assert world.visitor.visit("/request", "POST", evil, body).status == 403
    assert not asked(world)


def test_who_may_not_ask_sees_the_form_without_its_button_and_is_refused() -> None:
    world = ApiWorld(NOBODY)
    browser = Browser(world)
    page = browser.get("/request?project=testproject&colour=blue")
    assert "_send" not in page.text
    assert "browser" not in browser.cookies
    (link,) = [str(it["href"]) for tag, it in tags(page.text) if tag == "a" and "to=" in str(it.get("href"))]
    back = dict(parse_qsl(urlsplit(link).query))["to"]
    assert back == "/request?project=testproject&colour=blue"
    assert "Sign in to be told" in page.text
    assert browser.send(page, ("_send", "yes"), ("email", "a@b.org")).status == 403
    assert not asked(world)


def test_who_has_signed_in_is_told_at_their_own_address() -> None:
    world = ApiWorld(NOBODY)
    browser = Browser(world, {"session": session_of(world, KEYED)})
    page = browser.get("/request")
    assert f'placeholder="{KEYED.owner}"' in page.text
    assert browser.send(page, ("_send", "yes"), ("email", "")).status == 303
    assert (asked(world)[0].email, world.people.callers[-1].name) == ("", KEYED.name)


def test_what_would_come_of_it_is_said_without_asking_for_it() -> None:
    world = ApiWorld(TRUSTED)
    part = Browser(world).get("/request?project=testproject&colour=blue&part=would").text
    assert part.startswith('<div class="body" id="would"')
    assert "It would be queued" in part
    assert "bin/startcompile.py --project=testproject --colour=blue you@example.org" in part
    assert not asked(world)


def test_of_many_combinations_the_first_are_explained_and_the_others_counted() -> None:
    world = ApiWorld(TRUSTED)
    names = "".join(f"&revision=r{number}" for number in range(10))
    text = Browser(world).get(f"/request?project=testproject{names}").text
    assert text.count("It would be queued") == 4
    assert "And 6 more builds." in text
    assert "<strong>10 builds</strong>" in text


def test_the_button_that_shows_what_would_happen_leads_to_an_address_without_secrets() -> None:
    world = ApiWorld(TRUSTED)
    browser = Browser(world)
    seen = browser.send(
        browser.get("/request"), ("_look", "yes"), ("project", "testproject"), ("colour", ""), ("revision", "v1"),
        ("platform", "arch=ppc os=linux"), ("email", "ann@example.org"),
    )  # fmt: skip
    assert (seen.status, seen.headers["location"]) == (
        303, "/request?project=testproject&os=linux&arch=ppc&revision=v1",
    )  # fmt: skip
    assert not asked(world)


def test_what_the_metaserver_refuses_is_said_on_the_form_which_stays_filled_in() -> None:
    world = ApiWorld(TRUSTED)
    browser = Browser(world)
    page = browser.get("/request")
    world.people.fail = UnknownRef("the repository has no 'v9'")
    seen = browser.send(page, ("_send", "yes"), ("revision", "v9"), ("email", "ann@example.org"))
    assert seen.status == 422
    assert "Nothing was asked for: the repository has no &#39;v9&#39;" in seen.text
    values = {str(it.get("name")): it.get("value") for tag, it in tags(seen.text) if tag == "input"}
    assert (values["revision"], values["email"]) == ("v9", "ann@example.org")
    assert "the repository has no" in browser.get("/request?revision=v9&part=would").text
    world.people.fail = LimitReached("100 requests an hour", 90.0)
    seen = browser.send(page, ("_send", "yes"), ("email", "ann@example.org"))
    assert (seen.status, seen.headers["retry-after"]) == (429, "90")

    world.people.fail = Unavailable("nothing listens at /srv/farm/state")
    seen = browser.send(page, ("_send", "yes"), ("email", "ann@example.org"))
    assert (seen.status, "the metaserver does not answer" in seen.text, "/srv" in seen.text) == (503, True, False)
    assert "/srv" not in browser.get("/request?part=would").text


def test_what_is_not_understood_is_said_and_nothing_is_asked() -> None:
    world = ApiWorld(TRUSTED)
    browser = Browser(world)
    assert browser.get("/request?nonsense=1").status == 400
    assert browser.get("/request?project=none").status == 404
    assert browser.get("/request?project=%ff").status == 404
    seen = browser.send(browser.get("/request"), ("_send", "yes"), ("colour", "green"), ("email", "a@b.org"))
    assert (seen.status, "one of red, blue" in seen.text) == (422, True)
    assert not asked(world)


def test_a_project_that_a_visitor_does_not_know_is_not_there() -> None:
    hidden, absent = (Browser(ApiWorld(NOBODY)).get(f"/request?project={name}") for name in ("lua", "luu"))
    assert hidden.status == absent.status == 404
    assert hidden.text == absent.text.replace("luu", "lua")


def test_pages_that_ask_no_metaserver_have_the_form_and_say_that_nobody_answers() -> None:
    seen = Visitor(farm(), access=Some(TRUSTED)).visit("/request")
    assert (seen.status, "_send" in seen.text) == (200, False)


def test_where_there_is_no_project_the_page_says_so() -> None:
    assert "There is no project whose builds you may ask for" in Visitor(farm()).visit("/request").text


def test_the_form_is_made_of_what_the_metaserver_describes() -> None:
    world = ApiWorld(TRUSTED)
    newer = ProjectOptions(OPTIONS.system, (*OPTIONS.compile, flag("jit")))
    world.people.described = lambda _: described_by({"newest": newer})
    browser = Browser(world)
    page = browser.get("/request")
    assert 'name="jit"' in page.text
    assert "that these pages know" not in page.text
    browser.send(page, ("_send", "yes"), ("project", "newest"), ("jit", "yes"), ("email", "ann@example.org"))
    assert (asked(world)[0].project, asked(world)[0].compile["jit"]) == ("newest", True)
    assert browser.get("/request?project=testproject").status == 404


def test_a_form_that_is_made_without_the_metaserver_says_so() -> None:
    seen = Visitor(farm(), access=Some(TRUSTED), questions=NoQuestions()).visit("/request")
    check_html(seen.text)
    assert "The metaserver does not answer" in seen.text
    assert "those that these pages know" in seen.text
