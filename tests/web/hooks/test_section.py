"""What forges deliver goes to the metaserver as it came, and its answer comes back in a line of text."""

from typing import Any

from attrs import AttrsInstance, define, field
from twisted.internet.defer import Deferred, succeed

from buildtool.errors import StorageUnavailable, Unavailable
from buildtool.model.hooks.signing import proved
from buildtool.protocol import codec
from buildtool.protocol.hooks.messages import DeliverHook, HookAnswered, unpacked_body
from buildtool.web.hooks.section import AGAIN, TRIES
from buildtool.web.section import Tools
from tests.support.hooks import SECRET, body_of, from_github, from_gitlab, push
from tests.web.fake_pages import NoQuestions
from tests.web.farm import farm
from tests.web.visitor import Seen, Visitor

BODY = body_of(push())


@define
class Takes(NoQuestions):
    """``ports.Questions``: takes deliveries, and fails as it is told before that."""

    fail: list[Exception] = field(factory=list)
    taken: list[DeliverHook] = field(factory=list)

    async def tell(self, message: AttrsInstance, answer: type[Any]) -> Any:
        assert isinstance(message, DeliverHook)
        assert answer is HookAnswered
        if self.fail:
            raise self.fail.pop(0)
        self.taken.append(message)
        return HookAnswered(202, "it looks")


class Pages:
    """Pages that wait no time."""

    def __init__(self, *fail: Exception) -> None:
        self.waited: list[float] = []
        self.questions = Takes([*fail])
        self.visitor = Visitor(farm(), questions=self.questions, tools=Tools(later=self.later))

    def later(self, seconds: float) -> Deferred[None]:
        """Let time pass at once."""
        self.waited.append(seconds)
        return succeed(None)

    def deliver(self, body: bytes, headers: dict[str, str], path: str = "/hook/lua") -> Seen:
        return self.visitor.visit(path, "POST", headers, body)


def test_a_delivery_is_passed_on_with_its_bytes_and_the_headers_that_count() -> None:
    pages = Pages()
    seen = pages.deliver(BODY, {**from_github(BODY), "Cookie": "session=1", "X-Other": "no"})
    assert (seen.status, seen.text) == (202, "it looks\n")
    assert seen.headers["content-type"].startswith("text/plain")
    (taken,) = pages.questions.taken
    assert (taken.project, taken.size, taken.by_tls) == ("lua", len(BODY), False)
    assert unpacked_body(taken.body) == BODY
    assert proved(taken.headers, unpacked_body(taken.body), [SECRET], by_tls=False) is None
    assert set(taken.headers) == {"x-github-event", "x-github-delivery", "x-hub-signature-256", "content-type"}
    assert SECRET not in repr(taken)


def test_the_address_that_buildbot_has_names_no_project() -> None:
    pages = Pages()
    assert pages.deliver(BODY, from_github(BODY), "/change_hook/github").status == 202
    assert pages.questions.taken[0].project == ""


def test_what_cannot_be_a_name_is_no_page_and_a_long_header_is_cut_by_its_bytes() -> None:
    pages = Pages()
    for odd in ("%00", "lua%00", "%F0%9F%98%80" * 21, "a" * 81):
        assert pages.deliver(BODY, from_github(BODY), f"/hook/{odd}").status == 404
    assert pages.questions.taken == []
    for name in ("X-GitHub-Event", "X-GitHub-Delivery"):
        for value in ("\U0001f600" * 400, "\xff" * 400):
            assert pages.deliver(BODY, {**from_github(BODY), name: value}).status == 202
    for taken in pages.questions.taken:
        codec.decode(DeliverHook, codec.encode(taken))


def test_a_form_is_passed_on_as_the_bytes_that_were_signed() -> None:
    pages, form = Pages(), b"payload=%7B%22a%22%3A1%7D&x=+"
    pages.deliver(form, {**from_github(form), "Content-Type": "application/x-www-form-urlencoded"})
    assert unpacked_body(pages.questions.taken[0].body) == form


def test_a_metaserver_that_is_being_started_is_waited_for_and_then_it_is_said_in_a_line() -> None:
    pages = Pages(*[Unavailable("nothing listens at /srv/state")] * 3)
    assert pages.deliver(BODY, from_github(BODY)).status == 202
    assert pages.waited == [AGAIN] * 3
    pages = Pages(*[Unavailable("nothing listens at /srv/state")] * (TRIES + 1))
    seen = pages.deliver(BODY, from_github(BODY))
    assert (seen.status, "/srv" in seen.text, seen.text.count("\n")) == (503, False, 1)
    assert "retry-after" in seen.headers
    pages = Pages(StorageUnavailable("/srv is full"))
    assert pages.deliver(BODY, from_gitlab()).status == 503


def test_pages_that_stand_alone_take_none() -> None:
    assert Visitor(farm()).visit("/hook/lua", "POST", from_github(BODY), BODY).status == 503
    assert Pages().visitor.visit("/hook/lua").status in (404, 405)
