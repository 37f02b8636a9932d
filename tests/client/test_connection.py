"""The client of the API: what it asks, and what it makes of answers, whoever they come from."""

import json
import re
from collections.abc import Mapping

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from buildtool.client.connection import ROUTES, ApiConnection
from buildtool.client.farm_urls import read_farm_url
from buildtool.client.metaserver import HASTY, connected
from buildtool.errors import (
    BadUpload,
    BuildToolError,
    DecodeError,
    LimitReached,
    NotFound,
    Unauthorised,
    Unavailable,
    UnknownRef,
    UsageError,
)
from buildtool.protocol import codec
from buildtool.protocol.hello import AskProjects
from buildtool.protocol.messages import AskStatus, Explanation, Follow, RequestStatus, Submit
from buildtool.protocol.operator import ActionResult, PauseServer, ReportBounce
from buildtool.protocol.pages.subscriptions import AskSubscription, EndSubscription
from tests.client.farms import ClientWorld, CutAgent
from tests.messages import waiting
from tests.web.api.world import ROOT


def submit(**more: object) -> Submit:
    said = {"client_id": "0" * 31 + "1", "project": "paint", "email": "", "source": "", "revision": "main"}
    return Submit(**{**said, "revrange": "", "compile": {}, "system": {}, "local": {}, **more})  # type: ignore[arg-type]


def test_a_message_is_asked_by_its_route_and_arrives_as_it_was_in_the_name_of_the_token() -> None:
    at = ClientWorld()
    told = at.do(at.api().ask(submit(compile={"jit": True}, force=True), RequestStatus))
    assert told.request_id == 12
    assert at.world.people.submitted == [submit(compile={"jit": True}, force=True)]
    assert at.world.people.callers[-1].name == "ann"


def test_what_is_named_in_a_path_may_hold_anything() -> None:
    at = ClientWorld()
    at.token = at.world.tokens.make(ROOT).token
    for name in ("elm", "ä?c#d", "%2F", "a b"):
        told = at.do(at.api().ask(PauseServer(name, "dust"), ActionResult))
        assert told.words == ("it is done",)
        assert at.world.asked[-1][1] == PauseServer(name, "dust")
    for name in ("a/b", ".", ".."):
        with pytest.raises(NotFound, match=re.escape(f"'{name}'")):
            at.do(at.api().ask(PauseServer(name, "dust"), ActionResult))


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("http://127.0.0.1:8080", True), ("http://[::1]/farm", True), ("http://localhost/", True),
        ("https://farm.example", True), ("http://farm.example", False), ("http://192.0.2.1:8080/farm", False),
        ("http://127.0.0.1.example.org", False),
    ],
)  # fmt: skip
def test_a_token_goes_nowhere_in_the_clear_but_to_this_machine(url: str, goes: bool) -> None:
    at = read_farm_url(url)
    ApiConnection.to(at, Clock())
    if goes:
        ApiConnection.to(at, Clock(), "bt_secret")
    else:
        with pytest.raises(UsageError, match="say https://"):
            ApiConnection.to(at, Clock(), "bt_secret")


def test_what_is_refused_is_the_error_that_it_was() -> None:
    at = ClientWorld()
    for error in (UnknownRef("there is no 'mian'"), NotFound("gone"), LimitReached("enough for now", 90.0)):
        at.world.people.fail = error
        with pytest.raises(type(error), match=str(error)) as caught:
            at.do(at.api().ask(submit(), RequestStatus))
        assert getattr(caught.value, "again", 0.0) == getattr(error, "again", 0.0)
    with pytest.raises(Unauthorised):
        at.do(at.api(token="bt_wrong").ask(submit(), RequestStatus))


def test_what_has_no_route_or_is_too_long_for_one_is_not_sent() -> None:
    at = ClientWorld()
    for message in (Follow(12, "abcdef"), submit(compile={f"o{n}": "x" * 600 for n in range(150)})):
        with pytest.raises(UsageError):
            at.do(at.api().ask(message, RequestStatus))
    assert not at.agent.urls


def test_nobody_who_listens_is_told_so_and_may_be_waited_for() -> None:
    at = ClientWorld()
    at.agent.lose()
    with pytest.raises(Unavailable, match="nothing listens there") as caught:
        at.do(connected(at.api()))
    assert type(caught.value.__cause__).__name__ == "ConnectionRefusedError"


@define
class Odd(Resource):
    """A site that is no farm's: it answers everything alike."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    isLeaf = True

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def render(self, request: Request) -> bytes:
        request.setResponseCode(self.code)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body


def asked_of(odd: Odd) -> object:
    at = ClientWorld()
    at.agent = CutAgent(odd)
    api: ApiConnection = at.api()
    return at.do(api.ask(AskStatus(12, "abcdef"), RequestStatus))


JSON, PROBLEM = {"Content-Type": "application/json"}, {"Content-Type": "application/problem+json"}


@pytest.mark.parametrize(
    ("odd", "error", "words"),
    [
        (Odd(200, {"Content-Type": "text/html"}, b"<p>hello"), Unavailable, "is not the API"),
        (Odd(404, {}, b"nothing"), Unavailable, "answers 404"),
        (Odd(502, {}, b"proxy"), Unavailable, "answers 502"),
        (Odd(302, {"Location": "https://other.example/"}, b""), Unavailable, "leads elsewhere, to https://other"),
        (Odd(200, JSON, b"{"), DecodeError, "not JSON"),
        (Odd(200, JSON, b"{}"), DecodeError, "does not understand"),
        (Odd(200, JSON, b'{"a":' * 2_000), DecodeError, "not JSON"),
        (Odd(400, PROBLEM, b"[]"), DecodeError, "cannot be read"),
        (Odd(400, PROBLEM, b'{"code": "unknown-ref", "detail": "a\\u001b[31m b"}'), UnknownRef, "a b"),
        (Odd(400, PROBLEM, b'{"code": "decode", "detail": "no such field"}'), DecodeError, "no such field"),
        (Odd(400, PROBLEM, b'{"code": "bad-upload", "detail": "it ends early"}'), BadUpload, "it ends early"),
        (Odd(400, PROBLEM, b'{"code": "new", "detail": "another"}'), BuildToolError, "another"),
    ],
)
def test_what_is_no_farm_or_a_hostile_one_is_told_in_a_line(odd: Odd, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        asked_of(odd)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("code", "headers"), [(200, JSON), (400, PROBLEM)])
def test_an_answer_that_comes_byte_by_byte_is_given_up(code: int, headers: Mapping[str, str]) -> None:
    sent = list[Request]()

    class Dripping(Odd):
        def render(self, request: Request) -> bytes:
            super().render(request)
            sent.append(request)
            return NOT_DONE_YET  # type: ignore[return-value]

    at, ended = ClientWorld(), list[Failure]()
    at.agent = CutAgent(Dripping(code, headers, b""))
    Deferred.fromCoroutine(at.api().ask(AskStatus(12, "abcdef"), RequestStatus)).addErrback(ended.append)
    at.settle()
    for _ in range(12):
        if not ended:
            sent[0].write(b" ")
            at.settle()
            at.clock.advance(30.0)
            at.settle()
    assert "sends too slowly" in ended[0].getErrorMessage()


@given(st.sampled_from([200, 400, 404, 429, 503]), st.sampled_from([JSON, PROBLEM]), st.binary(max_size=200))
def test_no_answer_is_a_defect(code: int, headers: Mapping[str, str], body: bytes) -> None:
    with pytest.raises(BuildToolError):
        asked_of(Odd(code, headers, body))


@given(st.dictionaries(st.sampled_from(["code", "detail", "status"]), st.integers() | st.text(max_size=9)))
def test_no_problem_is_a_defect(said: dict[str, object]) -> None:
    with pytest.raises(BuildToolError):
        asked_of(
            Odd(429, {**PROBLEM, "Retry-After": str(said.get("status"))[:9].encode().hex()}, json.dumps(said).encode())
        )


def test_a_matrix_is_followed_in_rounds_each_until_its_end() -> None:
    at = ClientWorld()
    numbers = range(11, 17)
    at.world.people.answers.update({number: waiting(request_id=number) for number in numbers})
    client = at.do(connected(at.api()))
    heard: list[RequestStatus] = []
    for number in numbers:
        at.do(client.follow(Follow(number, "abcdef"), heard.append))
    for number in numbers:
        at.move(waiting(request_id=number, state="satisfied"))
    assert [one.request_id for one in heard] == list(numbers)
    before = len(at.agent.urls)
    at.move(waiting(request_id=11))
    assert len(at.agent.urls) == before, "nothing is followed any more, so nothing is asked"


@pytest.mark.parametrize("moves", [False, True])
def test_an_api_that_waits_for_nothing_is_not_asked_without_end(*, moves: bool) -> None:
    """As one does that is hostile, or behind a proxy that answers itself."""

    @define
    class Hasty(Resource):
        asked: int = 0
        isLeaf = True

        def __attrs_pre_init__(self) -> None:
            super().__init__()

        def render(self, request: Request) -> bytes:
            self.asked += 1
            told = waiting(request_id=12, reason=f"the {self.asked if moves else 1}st of 9 tries")
            request.setHeader("Content-Type", "application/json")
            return json.dumps(codec.encode(told)).encode()

    at, there = ClientWorld(), Hasty()
    client = at.do(connected(at.api()))
    at.agent.inner = CutAgent(there).inner
    at.do(client.follow(Follow(12, "abcdef"), lambda _: None))
    for _ in range(60):
        at.settle()
    assert there.asked <= 1 + HASTY
    for _ in range(30):
        at.pass_second()
    assert HASTY < there.asked <= 1 + HASTY + 30


def test_every_message_that_requesters_and_operators_send_has_its_route_once() -> None:
    from buildtool.protocol.calls import OPERATOR, REQUESTER

    # What is followed is asked for again and again; bounces come from the mail server, on the metaserver's machine.
    # The link of a mail is a page of its own, which whatever reads mails sends a form to.
    apart = {Follow, ReportBounce, AskSubscription, EndSubscription}
    known = {*REQUESTER.values(), *OPERATOR.values()} - apart
    assert {one.__name__ for one in known - set(ROUTES)} == set()
    assert Explanation is not None
    assert AskProjects in ROUTES
