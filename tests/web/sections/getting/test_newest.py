"""Addresses that stay: where they lead, what they say of the artifact, and in a line what is wrong."""

import base64
import json
from collections.abc import Mapping

import pytest
from attrs import evolve

from buildtool.errors import BuildToolError, LimitReached, RepositoryUnreachable, UnknownRef
from buildtool.protocol.http_headers import digest_header
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from tests.messages import DIGEST, found
from tests.web.api.test_files import Artifacts
from tests.web.api.world import KEYED, ApiWorld
from tests.web.visitor import Seen

FOUND = LatestFound("testproject", "main", "f" * 40, found(), 3, 10_000.0, 0.0, 4)
Newest = LatestFound | BuildToolError
PLAIN = {"Accept": "*/*"}


def world(newest: Newest = FOUND) -> ApiWorld:
    made = ApiWorld()
    made.newest = newest
    return made


def visit(one: ApiWorld, path: str, headers: Mapping[str, str] = PLAIN, method: str = "GET") -> Seen:
    return one.visitor.visit(f"/get/{path}", method, headers)


def asked(one: ApiWorld) -> AskLatest:
    (_, message) = one.asked[-1]
    assert isinstance(message, AskLatest)
    return message


def test_it_leads_to_the_newest_artifact_and_says_what_that_is() -> None:
    one = world()
    for method in ("GET", "HEAD"):
        seen = visit(one, "testproject/main/linux-powerpc?colour=blue&sandbox=weak", method=method)
        assert (seen.status, seen.headers["location"], seen.body) == (302, found().url, b"")
        assert seen.headers["x-artifact-sha256"] == DIGEST
        assert (seen.headers["x-revision"], seen.headers["x-behind"]) == (found().revision, "3")
        assert seen.headers["cache-control"] == "no-cache"
    said = asked(one)
    assert (said.project, said.branch, said.compile, said.system, said.local) == (
        "testproject", "main", {"colour": "blue"}, {"os": "linux", "arch": "ppc"}, {},
    )  # fmt: skip
    assert said.sandbox.value == "weak"
    tag = seen.headers["etag"]
    again = visit(one, "testproject/main/linux-ppc", {**PLAIN, "If-None-Match": tag})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)


@pytest.mark.parametrize("path", ["feature/one/two", "feature%2Fone%2Ftwo"])
def test_a_branch_may_have_slashes_in_its_name_as_they_are_or_encoded(path: str) -> None:
    one = world()
    assert visit(one, f"testproject/{path}/ppc").status == 302
    assert (asked(one).branch, asked(one).system) == ("feature/one/two", {"arch": "ppc"})


def test_who_wants_json_is_told_all_of_it() -> None:
    seen = visit(world(), "testproject/main/ppc", {"Accept": "application/json"})
    told = json.loads(seen.text)
    assert (seen.status, told["behind"], told["artifact"]["digest"]) == (200, 3, DIGEST)


def test_who_shows_a_token_is_led_to_where_it_is_sent_along() -> None:
    """A client leaves a token out where it is led to another port."""
    one = ApiWorld(artifacts=Artifacts())
    one.newest = FOUND
    seen = visit(one, "testproject/main/ppc", {**PLAIN, **one.token(KEYED)})
    assert seen.headers["location"] == f"/api/v1/artifacts/{DIGEST}"


@pytest.mark.parametrize(
    ("path", "newest", "status", "words"),
    [
        ("testprojct/main/ppc", FOUND, 404, "there is no project 'testprojct'"),
        ("testproject/main/ppd", FOUND, 400, "there is no platform 'ppd': did you mean 'ppc'?"),
        ("testproject/main/ppc?color=blue", FOUND, 400, "'color' means nothing here: there are arch, colour"),
        ("testproject/main/ppc?revision=v1", FOUND, 400, "'revision' means nothing here"),
        ("testproject/main/ppc?colour=green", FOUND, 400, "colour"),
        ("testproject/main/ppc?colour=red&colour=blue", FOUND, 400, "say each option once"),
        (
            "testproject/mian/ppc",
            UnknownRef("there is no branch 'mian': did you mean main?"),
            404,
            "did you mean main?",
        ),
        ("testproject/main/ppc", evolve(FOUND, artifact=None), 404, "has no binary of main for ppc"),
        ("testproject/main/ppc", RepositoryUnreachable("cannot read it"), 502, "cannot read it"),
        ("testproject/main/ppc", LimitReached("too many", 7.0), 429, "too many"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_a_browser_is_shown_a_page(
    path: str, newest: Newest, status: int, words: str
) -> None:
    seen = visit(world(newest), path)
    assert (seen.status, seen.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert words in seen.text
    assert seen.text.count("\n") == 1
    assert "location" not in seen.headers
    shown = visit(world(newest), path, {"Accept": "text/html,*/*"})
    assert shown.headers["content-type"].startswith("text/html")
    assert shown.status == status


def test_a_digest_header_is_the_same_digest_in_another_form() -> None:
    value = digest_header(DIGEST)
    assert value.startswith("sha-256=:")
    assert base64.b64decode(value[9:-1]).hex() == DIGEST
