"""The fake forges refuse what the real ones refuse, in their words, and keep what they took."""

import http.client
import json
from collections.abc import Callable

import pytest

from tests.support.forges.forge import HOUR, Call, Forge, Reply, TokenHolder
from tests.support.forges.gitea import Gitea
from tests.support.forges.github import GitHub
from tests.support.forges.gitlab import GitLab
from tests.support.forges.serving import ServedForge

SHA, OTHER = "a" * 40, "b" * 40
LONG = "x" * 141


def github(**more: object) -> GitHub:
    tokens = {
        "good": TokenHolder("farm", frozenset({"repo:status"})),
        "none": TokenHolder("farm", frozenset({"read:org"})),
        "stranger": TokenHolder("eve", frozenset({"repo:status"})),
        "app": TokenHolder("farm", frozenset({"checks:write", "statuses:write"}), app=True),
    }
    made = GitHub(tokens=tokens, **more)  # type: ignore[arg-type] # as the test says
    made.add("acme/lua", SHA)
    return made


def gitlab() -> GitLab:
    made = GitLab(tokens={"good": TokenHolder("farm", frozenset({"api"})), "none": TokenHolder("farm")})
    made.tokens["stranger"] = TokenHolder("eve", frozenset({"api"}))
    made.add("acme/lua", SHA)
    return made


def gitea() -> Gitea:
    made = Gitea(tokens={"good": TokenHolder("farm", frozenset({"write:repository"})), "none": TokenHolder("farm")})
    made.tokens["stranger"] = TokenHolder("eve", frozenset({"write:repository"}))
    made.add("acme/lua", SHA)
    return made


def ask(forge: Forge, method: str, path: str, said: object = None, *, token: str = "good", agent: str = "t") -> Reply:
    body = b"" if said is None else json.dumps(said).encode()
    headers = [("Authorization", f"Bearer {token}"), ("User-Agent", agent)]
    return forge.answer(Call.of(method, path, [one for one in headers if one[1]], body))


STATUSES: dict[str, tuple[Callable[[], Forge], str]] = {
    "GitHub": (github, "/repos/acme/lua/statuses/"),
    "GitLab": (gitlab, "/api/v4/projects/acme%2Flua/statuses/"),
    "Gitea": (gitea, "/api/v1/repos/acme/lua/statuses/"),
}
each = pytest.mark.parametrize(("made", "path"), STATUSES.values(), ids=STATUSES)


@each
def test_a_status_is_kept_and_shown_by_its_context(made: Callable[[], Forge], path: str) -> None:
    forge = made()
    said = {"state": "pending", "context": "farm/linux", "description": "waits", "target_url": "https://farm/build/1"}
    assert ask(forge, "POST", path + SHA, said).code == 201
    assert ask(forge, "POST", path + SHA, {**said, "state": "success"}).code == 201
    assert forge.repositories["acme/lua"].newest(SHA)["farm/linux"]["state"] == "success"


@each
@pytest.mark.parametrize(
    ("token", "sha", "said", "codes"),
    [
        ("bad", SHA, {"state": "success"}, {401}),
        ("none", SHA, {"state": "success"}, {403}),
        ("stranger", SHA, {"state": "success"}, {403, 404}),
        ("good", OTHER, {"state": "success"}, {404, 422}),
        ("good", SHA, {"state": "excellent"}, {400, 422}),
    ],
)
def test_a_status_that_is_not_right_is_refused(
    made: Callable[[], Forge], path: str, token: str, sha: str, said: object, codes: set[int]
) -> None:
    forge = made()
    assert ask(forge, "POST", path + sha, said, token=token).code in codes
    assert not forge.repositories["acme/lua"].statuses


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"state": "success", "description": LONG},
        {"state": "success", "target_url": "ftp://farm"},
        {"state": "success", "context": 5},
    ],
)
def test_github_refuses_what_its_description_or_its_documentation_does(said: object) -> None:
    assert ask(github(), "POST", "/repos/acme/lua/statuses/" + SHA, said).code == 422


def test_github_hears_nobody_without_a_user_agent() -> None:
    assert ask(github(), "GET", "/repos/acme/lua", agent="").code == 403


def test_github_says_how_many_calls_are_left_and_ends_them_until_the_hour_is_over() -> None:
    now = [1_000.0]
    forge = github(limit=1, now=lambda: now[0])
    assert ask(forge, "GET", "/repos/acme/lua").headers["X-RateLimit-Remaining"] == "0"
    over = ask(forge, "GET", "/repos/acme/lua")
    assert (over.code, over.headers["X-RateLimit-Reset"]) == (403, str(int(1_000 + HOUR)))
    now[0] += HOUR
    assert ask(forge, "GET", "/repos/acme/lua").code == 200


def test_github_takes_at_most_a_thousand_statuses_of_a_commit_and_context() -> None:
    forge = github()
    path = "/repos/acme/lua/statuses/" + SHA
    codes = [ask(forge, "POST", path, {"state": "pending", "context": "c"}).code for _ in range(1_001)]
    assert set(codes[:-1]) == {201}
    assert codes[-1] == 422
    assert ask(forge, "POST", path, {"state": "pending", "context": "d"}).code == 201


def test_github_takes_checks_of_apps_only_and_finds_them_again() -> None:
    forge = github()
    said = {"name": "farm/linux", "head_sha": SHA, "status": "queued", "external_id": "7"}
    assert ask(forge, "POST", "/repos/acme/lua/check-runs", said).code == 403
    number = ask(forge, "POST", "/repos/acme/lua/check-runs", said, token="app").body["id"]
    open_ended = {"status": "completed"}
    assert ask(forge, "PATCH", f"/repos/acme/lua/check-runs/{number}", open_ended, token="app").code == 422
    ended = {"status": "completed", "conclusion": "success"}
    assert ask(forge, "PATCH", f"/repos/acme/lua/check-runs/{number}", ended, token="app").code == 200
    (found,) = ask(forge, "GET", f"/repos/acme/lua/commits/{SHA}/check-runs", token="app").body["check_runs"]
    assert (found["external_id"], found["conclusion"]) == ("7", "success")


def test_gitlab_begins_nothing_that_is_begun_and_anew_what_has_ended() -> None:
    forge = gitlab()
    path = "/api/v4/projects/acme%2Flua/statuses/" + SHA

    def codes(*states: str) -> list[int]:
        return [ask(forge, "POST", path, {"state": state, "name": "c"}).code for state in states]

    assert codes("pending", "pending", "running", "running", "pending") == [201, 400, 201, 400, 400]
    assert codes("success", "pending", "failed") == [201, 201, 201]


@pytest.mark.world
def test_a_forge_is_asked_over_http_and_answers_json() -> None:
    served = ServedForge(github())
    try:
        connection = http.client.HTTPConnection(served.site.removeprefix("http://"), timeout=30)
        connection.request("GET", "/repos/acme/lua", headers={"Authorization": "token good", "User-Agent": "t"})
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["permissions"]["push"]) == (200, True)
        assert answer.headers["X-OAuth-Scopes"] == "repo:status"
        connection.close()
    finally:
        served.close()
