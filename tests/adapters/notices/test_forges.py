"""What forges are told is what their published descriptions allow, and what they answer comes to what it should."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.notices.forges import ForgeTeller, check_body
from buildtool.adapters.notices.http import CallHttp, HttpCall
from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.model.notices.outcome import HttpReply, TellOutcome
from buildtool.model.notices.targets import ForgeTarget, StatusApi
from buildtool.ports.notices import OutgoingNotice
from tests.support.forges.forge import Call, Forge, Reply, TokenHolder
from tests.support.forges.gitea import Gitea
from tests.support.forges.github import GitHub
from tests.support.forges.gitlab import GitLab
from tests.support.inline import run
from tests.support.memory import WallClock
from tests.support.notices import SHA, notice

SITE = "https://forge.test"
KINDS: dict[StatusApi, tuple[Callable[[], Forge], TokenHolder]] = {
    StatusApi.GITHUB_STATUS: (GitHub, TokenHolder("farm", frozenset({"repo:status"}))),
    StatusApi.GITHUB_CHECKS: (GitHub, TokenHolder("farm", frozenset({"checks:write"}), app=True)),
    StatusApi.GITLAB_STATUS: (GitLab, TokenHolder("farm", frozenset({"api"}))),
    StatusApi.GITEA_STATUS: (Gitea, TokenHolder("farm", frozenset({"write:repository"}))),
}
each = pytest.mark.parametrize("kind", KINDS)


def forge_of(kind: StatusApi) -> Forge:
    made, holder = KINDS[kind]
    forge = made()
    forge.tokens["secret"] = holder
    forge.add("acme/lua", SHA)
    return forge


def asking(forge: Forge) -> CallHttp:
    """Return what asks a forge without any network."""

    async def call(one: HttpCall) -> HttpReply:
        path = one.url.removeprefix(SITE)
        headers = {"User-Agent": "buildtool", **one.headers}
        reply = forge.answer(Call.of(one.method, path, headers.items(), one.body))
        said = {name.lower(): value for name, value in reply.headers.items()}
        return HttpReply(reply.code, said, reply.sent.decode())

    return call


def page(one: Notice) -> str:
    return f"https://farm.test/build/{one.build_id}"


def teller(kind: StatusApi, forge: Forge, token: str = "secret") -> ForgeTeller:
    target = ForgeTarget(kind, "acme/lua", "token", SITE)
    return ForgeTeller(target, token, asking(forge), page, WallClock(1_000.0))


def told(kind: StatusApi, forge: Forge, *states: str, **more: Any) -> list[TellOutcome]:
    """Tell a commit's states one after the other."""
    one = teller(kind, forge)
    found = [
        OutgoingNotice(notice(state=state, **more), serial, 0, None) for serial, state in enumerate(states, start=1)
    ]
    return [run(one.tell(outgoing)) for outgoing in found]


def shown(forge: Forge) -> list[tuple[str, str]]:
    """Return the state and the description that a commit shows, of each context."""
    repository = forge.repositories["acme/lua"]
    checks = [(one["conclusion"] or one["status"], one["output"]["title"]) for one in repository.checks]
    return checks + [(one["state"], one["description"]) for one in repository.newest(SHA).values()]


@each
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("waiting", {"pending", "queued"}),
        ("building", {"pending", "running", "in_progress"}),
        ("success", {"success"}),
        ("failure", {"failure", "failed"}),
        ("error", {"error", "canceled", "cancelled"}),
    ],
)
def test_each_state_is_told_in_the_words_of_the_forge(kind: StatusApi, state: str, words: set[str]) -> None:
    forge = forge_of(kind)
    assert [one.told for one in told(kind, forge, "waiting", state)] == [True, True]
    ((found, reason),) = shown(forge)
    assert found in words
    assert reason == "said"


@each
@given(reason=st.text(min_size=1, max_size=400), state=st.sampled_from(NoticeState), context=st.text(max_size=200))
def test_whatever_is_to_be_told_is_what_a_forge_takes(
    kind: StatusApi, reason: str, state: NoticeState, context: str
) -> None:
    forge = forge_of(kind)
    (outcome,) = told(kind, forge, state.value, reason=reason, context=context)
    assert outcome.told, forge.calls[-1]


@each
def test_what_is_told_twice_is_there_once(kind: StatusApi) -> None:
    """A courier that ended before it wrote down that it had told does so again."""
    forge = forge_of(kind)
    one = teller(kind, forge)
    for tries in (0, 1):
        assert run(one.tell(OutgoingNotice(notice(state="waiting"), 1, tries, None))).told
    assert len(shown(forge)) == 1
    assert len(forge.repositories["acme/lua"].checks) <= 1


def test_a_check_is_found_again_among_those_of_others() -> None:
    forge = forge_of(StatusApi.GITHUB_CHECKS)
    forge.repositories["acme/lua"].checks.append(
        {"id": 99, "name": notice().context, "head_sha": SHA, "external_id": "theirs", "status": "queued"}
    )
    assert [one.told for one in told(StatusApi.GITHUB_CHECKS, forge, "waiting", "building", "success")] == [True] * 3
    others, ours = forge.repositories["acme/lua"].checks
    assert others["status"] == "queued"
    assert (ours["conclusion"], ours["details_url"]) == ("success", "https://farm.test/build/7")


def test_a_check_of_which_it_cannot_be_known_whether_it_is_there_is_told_later() -> None:
    forge = forge_of(StatusApi.GITHUB_CHECKS)
    forge.moods.append(Reply(502))
    one = teller(StatusApi.GITHUB_CHECKS, forge)
    assert run(one.tell(OutgoingNotice(notice(), 1, 1, None))).whole
    assert not forge.repositories["acme/lua"].checks


def test_words_of_a_reason_are_no_markup() -> None:
    said: Any = check_body(notice(reason="see ``` [here](http://evil)"), "https://farm.test")
    assert said["output"]["summary"].startswith("```` see ``` [here](http://evil) ````\n")
    said = check_body(notice(reason="a``b [here](http://evil)"), "https://farm.test")
    assert said["output"]["summary"].startswith("``` a``b [here](http://evil) ```\n")


@each
def test_a_commit_that_is_not_there_yet_is_told_later_and_a_wrong_token_holds_up_all(kind: StatusApi) -> None:
    forge = forge_of(kind)
    (absent,) = told(kind, forge, "success", revision="b" * 40)
    assert (absent.told, absent.whole, absent.final) == (False, False, False)
    refused = run(teller(kind, forge, "other").tell(OutgoingNotice(notice(), 1, 0, None)))
    assert (refused.told, refused.whole, refused.final) == (False, True, False)
    assert "401" in refused.reason


def test_a_limit_of_github_is_obeyed_as_it_says() -> None:
    forge = forge_of(StatusApi.GITHUB_STATUS)
    forge.now, forge.limit = (lambda: 1_000.0), 2
    assert [one.wait for one in told(StatusApi.GITHUB_STATUS, forge, "waiting", "success")] == [None, 3_600.0]
    (over,) = told(StatusApi.GITHUB_STATUS, forge, "failure")
    assert (over.told, over.whole, over.wait) == (False, True, 3_600.0)
    forge.limit = 100
    assert isinstance(forge, GitHub)
    forge.secondary(77)
    (over,) = told(StatusApi.GITHUB_STATUS, forge, "failure")
    assert (over.told, over.whole, over.wait) == (False, True, 77.0)


@each
def test_a_token_is_looked_at_without_changing_anything(kind: StatusApi) -> None:
    forge = forge_of(kind)
    assert run(teller(kind, forge).look()) == ""
    assert "401" in run(teller(kind, forge, "other").look())
    forge.repositories["acme/lua"].pushers.clear()
    assert "acme/lua" in run(teller(kind, forge).look())
    assert not shown(forge)


def test_a_classic_token_without_the_scope_is_told_which_it_lacks() -> None:
    forge = forge_of(StatusApi.GITHUB_STATUS)
    forge.tokens["secret"] = TokenHolder("farm", frozenset({"read:org"}))
    assert run(teller(StatusApi.GITHUB_STATUS, forge).look()) == "its token has not the scope repo:status"
