"""The page of a code: what only follows links confirms nothing, the button does, and each refusal is one page."""

from attrs import define, field

from buildtool.errors import EncodeError, LimitReached, Unauthorised
from tests.web.fake_pages import NoQuestions
from tests.web.farm import farm
from tests.web.visitor import Seen, Visitor, check_html, tags

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
