"""Messages to a URL: signed as our own hooks take them, with an id that stays the same over tries."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.notices.http import HttpCall, calling
from buildtool.adapters.notices.webhooks import WebhookTeller, delivery_id, webhook_call
from buildtool.model.hooks.signing import id_of, proved
from buildtool.model.notices.notice import NoticeState
from buildtool.model.notices.outcome import HttpReply, outcome_of
from buildtool.ports.notices import OutgoingNotice
from tests.support.inline import run
from tests.support.memory import WallClock
from tests.support.notices import SHA, notice

URL, PAGE = "https://farm.test/hook/lua", "https://here.test/build/7"
OUTGOING = OutgoingNotice(notice(state="failure"), 3, 0, None)


def small(call: HttpCall) -> dict[str, str]:
    return {name.lower(): value for name, value in call.headers.items()}


@given(reason=st.text(max_size=80), secret=st.text("abc ü", min_size=1))
def test_a_message_is_believed_by_our_own_hooks_with_the_same_secret_and_no_other(reason: str, secret: str) -> None:
    call = webhook_call(URL, secret, evolve(OUTGOING, notice=notice(reason=reason)), PAGE)
    assert proved(small(call), call.body, [secret], by_tls=True) is None
    assert proved(small(call), call.body, [secret + "x"], by_tls=True) is not None
    assert proved(small(call), call.body + b" ", [secret], by_tls=True) is not None
    assert id_of(small(call)) == delivery_id(OUTGOING)
    assert json.loads(call.body)["id"] == delivery_id(OUTGOING)


def test_a_message_says_what_stands_how_and_where_to_look() -> None:
    call = webhook_call(URL, "secret", OUTGOING, PAGE)
    assert json.loads(call.body) == {
        "event": "build", "id": delivery_id(OUTGOING), "project": "lua", "revision": SHA, "ref": "refs/heads/main",
        "context": "buildtool/linux-ppc", "state": "failure", "ended": True, "reason": "said", "request": 1, "build": 7,
        "url": PAGE, "at": "1970-01-01T00:01:40+00:00",
    }  # fmt: skip
    made = hmac.new(b"secret", call.body, hashlib.sha256).hexdigest()
    assert call.headers["X-Hub-Signature-256"] == f"sha256={made}"


def test_an_id_is_the_same_over_tries_and_another_for_what_is_new() -> None:
    again = evolve(OUTGOING, tries=5, before=NoticeState.WAITING)
    assert delivery_id(again) == delivery_id(OUTGOING)
    others = [evolve(OUTGOING, serial=4), evolve(OUTGOING, notice=notice("other", "failure"))]
    assert len({delivery_id(one) for one in (OUTGOING, *others)}) == 3


def test_what_is_answered_is_judged_as_a_forge_s_answer_is() -> None:
    codes = [204, 503, 410]

    async def call(_one: HttpCall) -> HttpReply:
        return HttpReply(codes.pop(0), {})

    one: Any = WebhookTeller(URL, "secret", call, lambda _notice: PAGE, WallClock())
    found = [run(one.tell(OUTGOING)) for _ in range(3)]
    assert [(it.told, it.whole, it.final) for it in found] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


@pytest.mark.parametrize(
    "call",
    [
        HttpCall("POST", "https://farm.test/hook?token=s3cr%65t+word&a=b", {}),
        HttpCall("POST", "https://farm.test/hook?s3cr%65t+word", {}),
        HttpCall("GET", "https://farm.test/hook", {"Authorization": "Bearer s3cr%65t+word"}),
        HttpCall("GET", "https://farm.test/hook", {"PRIVATE-TOKEN": "s3cr%65t+word"}),
    ],
)
def test_a_secret_that_an_answer_repeats_is_in_no_reason_and_no_call_shows_it(call: HttpCall) -> None:
    class Answer:
        code = 302

        def header(self, name: str) -> str:
            return f"https://www.{call.url.removeprefix('https://')}&x=s3cr%65t+word" if name == "location" else ""

        async def body(self, _limit: int, *, cut: bool) -> bytes:
            return f"no such page: {call.url} {call.headers}".encode()

    class Client:
        @asynccontextmanager
        async def asked(self, *_call: object) -> AsyncIterator[Answer]:
            yield Answer()

    client: Any = Client()
    asked: Any = calling(client)(call)
    reply: HttpReply = run(asked)
    assert "s3cr" not in f"{outcome_of(reply, 0.0)} {reply} {call}"
    assert reply.headers["location"].startswith("https://www.farm.test/hook")
