"""The pages that mails lead to: what follows links changes nothing, the button does, each refusal is a page."""

from typing import Any, TypeVar

from attrs import AttrsInstance, define, field

from buildtool.errors import EncodeError, LimitReached, Unauthorised
from buildtool.ports.pages import ShownVisitor
from buildtool.protocol.pages.subscriptions import AskSubscription, EndSubscription, SubscriptionStatus
from tests.web.fake_pages import NoQuestions
from tests.web.farm import farm
from tests.web.visitor import Seen, Visitor, check_html, tags

A = TypeVar("A", bound=AttrsInstance)

CODE = "abcd-efgh-ijkl-mnop"


@define
class Codes(NoQuestions):
    """``ports.Questions`` that confirm one code."""

    problem: Exception | None = None
    there: bool = True
    shown: list[str] = field(factory=list)

    async def confirm(self, code: str, network: str) -> str | None:
        self.shown.append(code)
        if self.problem is not None:
            raise self.problem
        return "ann@example.org" if self.there else None


def visit(codes: Codes | None, method: str = "POST") -> Seen:
    seen = Visitor(farm(), questions=codes).visit(f"/confirm/{CODE}", method)
    if method in ("GET", "POST"):
        check_html(seen.text)
        assert seen.headers["cache-control"] == "no-store"
        assert CODE not in seen.text, "the address of the page is a secret"
    return seen


def test_a_look_confirms_nothing_and_offers_a_button() -> None:
    codes = Codes()
    seen = visit(codes, "GET")
    assert seen.status == 200
    assert [given.get("method") for tag, given in tags(seen.text) if tag == "form"] == ["get", "post"]
    assert visit(codes, "HEAD").status == 200
    for method in ("PUT", "DELETE", "OPTIONS", "X"):
        assert visit(codes, method).status == 405
    assert codes.shown == []


def test_the_button_confirms() -> None:
    codes = Codes()
    seen = visit(codes)
    assert (seen.status, codes.shown) == (200, [CODE])
    assert "ann@example.org is confirmed" in seen.text


def test_what_is_refused_or_not_answered_is_told_with_its_status() -> None:
    seen = visit(Codes(Unauthorised("this code is none that was mailed lately")))
    assert (seen.status, "none that was mailed lately" in seen.text) == (403, True)
    seen = visit(Codes(LimitReached("the limit of 10 codes by mail an hour is reached: try again in 6 min", 359.6)))
    assert (seen.status, seen.headers["retry-after"]) == (429, "360")
    seen = visit(Codes(EncodeError("ActFor.act.code: text of 3000 bytes: at most 100 are allowed")))
    assert (seen.status, "no code that was mailed from here" in seen.text) == (403, True)
    assert visit(Codes(there=False)).status == 503
    assert visit(None).status == 503


TOKEN = "abc.def"
LINK = f"/unsubscribe/{TOKEN}"


@define
class Links(NoQuestions):
    """``ports.Questions`` that know one link of a mail."""

    problem: Exception | None = None
    ended: bool = False
    asked: list[AttrsInstance] = field(factory=list)

    async def act(self, shown: ShownVisitor, message: AttrsInstance, answer: type[A]) -> A:
        self.asked.append(message)
        if self.problem is not None:
            raise self.problem
        if isinstance(message, EndSubscription):
            self.ended = not message.again
        told = SubscriptionStatus("ann@example.org", ("<b> & more",), self.ended)
        assert isinstance(told, answer)
        return told


def follow(links: NoQuestions | None, method: str = "POST", path: str = LINK, **said: Any) -> Seen:
    seen = Visitor(farm(), questions=links).visit(path, method, **said)
    if method in ("GET", "POST"):
        check_html(seen.text)
        assert seen.headers["cache-control"] == "no-store"
    return seen


def test_a_look_at_the_link_of_a_mail_ends_nothing_and_offers_a_button() -> None:
    links = Links()
    seen = follow(links, "GET")
    assert seen.status == 200
    assert "No more mail goes to ann@example.org then about &lt;b&gt; &amp; more." in seen.text
    assert [given.get("method") for tag, given in tags(seen.text) if tag == "form"] == ["get", "post"]
    assert follow(links, "HEAD").status == 200
    assert follow(links, "DELETE").status == 405
    assert follow(links, "GET", f"/subscribe/{TOKEN}").status == 405
    assert set(map(type, links.asked)) == {AskSubscription}


def test_one_click_ends_mails_twice_is_once_and_the_page_has_them_come_again() -> None:
    links = Links()
    one_click: dict[str, Any] = {
        "sent": b"List-Unsubscribe=One-Click",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    }
    for _ in range(2):
        seen = follow(links, **one_click)
        assert (seen.status, links.ended) == (200, True)
    assert "No more mail goes to ann@example.org about" in seen.text
    assert follow(links, "GET").text.count("These mails have ended") > 0
    actions = [given.get("action") for tag, given in tags(seen.text) if tag == "form"]
    assert f"/subscribe/{TOKEN}" in actions
    seen = follow(links, path=f"/subscribe/{TOKEN}")
    assert (seen.status, links.ended) == (200, False)
    assert "Mail goes to ann@example.org again" in seen.text


def test_a_page_of_another_site_ends_no_mails() -> None:
    links = Links()
    seen = Visitor(farm(), questions=links).visit(LINK, "POST", headers={"Origin": "https://evil.example"})
    assert (seen.status, links.asked) == (403, [])


def test_a_link_that_is_none_and_a_metaserver_that_is_away_are_told_with_their_status() -> None:
    seen = follow(Links(Unauthorised("this is no link of a mail that was sent from here")))
    assert (seen.status, "no link of a mail" in seen.text) == (403, True)
    seen = follow(Links(EncodeError("EndSubscription.token: text of 3000 bytes: at most 700 are allowed")))
    assert (seen.status, "no link of a mail" in seen.text) == (403, True)
    assert follow(NoQuestions()).status == 503
    assert follow(None).status == 503
