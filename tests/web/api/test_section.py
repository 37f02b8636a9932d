"""The API: what it answers, to whom, and in which form what it does not answer is said."""

import json
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from buildtool.errors import LimitReached, NotFound, RepositoryUnreachable, StorageUnavailable, UnknownRef
from buildtool.model.records import BuildState
from buildtool.protocol.api.routes import CALLS, ROUTES
from buildtool.protocol.operator import PauseServer
from buildtool.protocol.shapes import shape_of
from buildtool.web.live.hub import LiveHub
from buildtool.web.pages.asking import matrix as presented
from buildtool.web.sessions import form_mark
from tests.adapters.storage.archive.test_checking import FILE, zipped
from tests.adapters.storage.archive.test_contents import Kept
from tests.support.failures import LoggedFailures
from tests.support.inline import run as done
from tests.support.memory import WallClock
from tests.web.api.world import KEYED, ROOT, ApiWorld, said
from tests.web.fake_pages import NOW, NoQuestions
from tests.web.farm import farm
from tests.web.live.test_hub import FakeNews
from tests.web.visitor import Visitor, check_html

KEY = {"Idempotency-Key": "0" * 31 + "1"}
WISH = {"project": "paint", "revision": "main"}


def test_a_build_is_asked_for_under_the_clients_own_id_by_whom_the_token_is_of() -> None:
    world = ApiWorld()
    seen = world.post("/requests", WISH, {**KEY, **world.token()})
    assert seen.status == 200
    assert said(seen)["type"] == "RequestStatus"
    (submitted,) = world.people.submitted
    assert (submitted.client_id, submitted.project, submitted.email) == (KEY["Idempotency-Key"], "paint", "")
    assert world.people.callers[-1].name == KEYED.name
    assert seen.headers["cache-control"] == "no-store", "the token of the request is in it"


def test_one_takes_the_place_of_older_ones_where_that_is_said() -> None:
    world = ApiWorld()
    for number, supersede in ((1, True), (2, False)):
        key = {"Idempotency-Key": f"{number:032x}"}
        assert world.post("/requests", {**WISH, "supersede": supersede}, {**key, **world.token()}).status == 200
    assert [one.supersede for one in world.people.submitted] == [True, False]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "1"}])
def test_without_an_id_of_its_own_nothing_is_asked_for(headers: dict[str, str]) -> None:
    world = ApiWorld()
    seen = world.post("/requests", WISH, {**headers, **world.token()})
    assert (seen.status, said(seen)["code"]) == (422, "usage")
    assert "Idempotency-Key" in said(seen)["detail"]
    assert not world.people.submitted


def test_a_problem_has_its_status_its_code_and_the_line_of_the_command_line() -> None:
    world = ApiWorld()
    for error, status in (
        (UnknownRef("there is no 'mian'"), 422), (RepositoryUnreachable("no answer"), 502), (NotFound("gone"), 404),
        (StorageUnavailable("the disk is full"), 503), (LimitReached("enough for now", 90.0), 429),
    ):  # fmt: skip
        world.people.fail = error
        seen = world.post("/requests", WISH, {**KEY, **world.token()})
        told = said(seen)
        assert seen.headers["content-type"] == "application/problem+json"
        assert (seen.status, told["status"], told["code"], told["detail"]) == (status, status, error.code, str(error))
        assert told["type"] == f"http://farm.example:8080/api#{error.code}"
    assert seen.headers["retry-after"] == "90"


def test_a_defect_is_told_by_a_number_and_not_by_its_text(expected_failures: LoggedFailures) -> None:
    world = ApiWorld()
    world.people.fail = RuntimeError("the secret path")
    seen = world.post("/requests", WISH, {**KEY, **world.token()})
    assert seen.status == 500
    assert "secret" not in seen.text
    assert len(expected_failures.flush(RuntimeError)) == 1


def test_who_shows_nothing_is_told_to_sign_in_and_who_may_not_that_they_may_not() -> None:
    world = ApiWorld()
    nobody, ann = world.post("/machines/elm/pause"), world.post("/farm/drain", {"on": True}, world.token())
    assert (nobody.status, ann.status) == (401, 403)
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert not world.asked
    root = world.post("/machines/elm/pause", {"reason": "dust"}, world.token(ROOT))
    assert said(root)["words"] == ["it is done"]
    assert [(by.name, message) for by, message in world.asked] == [(ROOT.name, PauseServer("elm", "dust"))]


@pytest.mark.parametrize(
    "header",
    ["Bearer bt_wrong", "Bearer", "Basic YWRtaW46YWRtaW4=", "Bearer bs_0.0", f"Bearer bt_{'x' * 500}", "bt_x"],
)
def test_a_token_that_is_none_is_refused_also_where_nobody_needs_one(header: str) -> None:
    seen = ApiWorld().get("/builds", {"Authorization": header})
    assert (seen.status, said(seen)["code"]) == (401, "unauthorised")


def test_what_is_not_known_is_refused_by_its_name() -> None:
    world = ApiWorld()
    for seen, words in (
        (world.get("/builds?stat=failed"), "did you mean state?"),
        (world.get("/builds?before=x"), "a whole number"),
        (world.get("/builds?before=1&before=2"), "said 2 times"),
        (world.post("/requests", {**WISH, "revison": "x"}, {**KEY, **world.token()}), "did you mean revision?"),
        (world.post("/requests/together", {"items": [{"projct": 1}]}, world.token()), "items.0"),
        (world.post("/requests", {"revision": "x"}, {**KEY, **world.token()}), "project is missing"),
        (world.post("/requests", b"[1]", {**KEY, **world.token()}), "an object"),
        (world.post("/requests", b"{", {**KEY, **world.token()}), "not JSON"),
        (world.post("/requests", b'{"a":NaN}', {**KEY, **world.token()}), "NaN"),
    ):
        assert seen.status == 400, seen.text
        assert words in said(seen)["detail"]


def test_a_body_of_another_type_is_not_taken() -> None:
    world = ApiWorld()
    seen = world.post("/requests", WISH, {**KEY, **world.token(), "Content-Type": "text/plain"})
    assert seen.status == 415


def test_a_path_that_there_is_not_and_a_method_are_problems_too() -> None:
    world = ApiWorld()
    assert (world.get("/nothing").status, said(world.get("/nothing"))["code"]) == (404, "not-found")
    for method in ("POST", "PUT", "DELETE", "TRACE"):
        seen = world.visitor.visit("/api/v1/builds", method, world.token())
        assert (seen.status, seen.headers["allow"]) == (405, "GET, HEAD")


def test_what_has_not_changed_is_not_sent_again() -> None:
    world = ApiWorld()
    first = world.get("/builds")
    again = world.get("/builds", {"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert world.get("/builds?limit=1", {"If-None-Match": first.headers["etag"]}).status == 200
    assert first.headers["ratelimit-policy"] == '"requests";q=10;w=3600'


def test_builds_are_paged_by_key_to_the_last_and_each_once() -> None:
    world = ApiWorld()
    found, before = [], ""
    while True:
        page = said(world.get(f"/builds?limit=3{before}"))
        found += [one["id"] for one in page["builds"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert found == sorted(set(found), reverse=True)
    assert len(found) == len([one for one in farm().builds_made if one.spec.project != "lua"])


def test_a_matrix_is_paged_to_its_oldest_revision_with_a_cell_for_each_set_of_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presented, "ROWS", 1)
    world, other = ApiWorld(), (("checks", False), ("optimise", "speed"), ("width", 80))
    builds = [one for one in world.pages.builds_made if one.spec.project != "lua"]
    world.pages.builds_made.append(evolve(builds[0], id=9, spec=evolve(builds[0].spec, options=other)))
    rows, before = [], ""
    while True:
        page = said(world.get(f"/matrix/testproject{before}"))
        rows += page["rows"]
        if page["next"] is None:
            break
        before = f"?before={page['next']}"
    assert [one["revision"] for one in rows] == [
        builds[0].spec.revision,
        *(one.spec.revision for one in reversed(builds[1:])),
    ]
    cells = [(one["build"], one["options"]["checks"]) for one in rows[0]["cells"]]
    assert cells == [(9, False), (builds[0].id, True)]


def test_the_queue_is_told_in_the_order_in_which_it_is_due_and_not_in_which_it_was_asked_for() -> None:
    world = ApiWorld()
    first = evolve(world.pages.builds_made[0], state=BuildState.QUEUED)
    world.pages.builds_made[:] = [
        evolve(first, id=11, place=1, tag=2.0, nice=3),
        evolve(first, id=12, place=2, tag=2.0),
        evolve(first, id=13, place=3, tag=9.0, nice=-20),
    ]
    assert [one["id"] for one in said(world.get("/queue", world.token(ROOT)))["builds"]] == [13, 12, 11]


def test_what_a_visitor_may_not_see_is_not_in_any_answer() -> None:
    world = ApiWorld()
    for path in ("/builds", "/queue", "/machines", "/projects", "/builds/4"):
        assert "lua" not in world.get(path).text.lower(), path
    assert said(world.get("/matrix/lua"))["detail"] == said(world.get("/matrix/luu"))["detail"].replace("luu", "lua")
    assert "lua" in world.get("/builds", world.token()).text


def test_every_reading_answers_what_its_schema_says(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    world = ApiWorld(contents=kept.contents)
    made = world.pages.artifacts
    made[0] = evolve(made[0], digest=kept.keep(zipped(("lib/x", b"12345", FILE))))
    paths = {"build_id": "1", "server": "elm", "project": "testproject", "request_id": "1"}
    for call in CALLS:
        if call.method == "GET" and call.read and not call.raw:
            path = call.path
            for name, value in paths.items():
                path = path.replace(f"{{{name}}}", value)
            seen = world.get(path + "?q=x" * call.path.endswith("/search"), world.token(ROOT))
            assert seen.status == 200, (path, seen.text)
            shape_of(call.answer).decode(said(seen))


def test_a_session_needs_the_mark_of_its_pages_for_what_changes_something() -> None:
    world = ApiWorld()

    made = world.tokens.make(ROOT)
    session = done(world.tokens.sign_in(token=made.token)).session
    cookie = {"Cookie": f"session={session}"}
    assert said(world.get("/me", cookie))["name"] == ROOT.name
    assert world.post("/machines/elm/pause", {}, cookie).status == 403
    assert world.post("/machines/elm/pause", {}, {**cookie, "X-CSRF-Token": form_mark("bs_other")}).status == 403
    assert world.post("/machines/elm/pause", {}, {**cookie, "X-CSRF-Token": form_mark(session)}).status == 200
    elsewhere = {**cookie, "X-CSRF-Token": form_mark(session), "Origin": "https://evil.example"}
    assert world.post("/machines/elm/pause", {}, elsewhere).status == 403
    assert len(world.asked) == 1


def test_who_waits_for_a_change_is_answered_when_there_is_one() -> None:
    world = ApiWorld()
    asked = world.post("/requests", WISH, {**KEY, **world.token()})
    number = said(asked)["request_id"]
    seen = world.get(f"/requests/{number}?wait=2", {**world.token(), "Request-Token": "abcdef"})
    assert seen.status == 200
    same = {**world.token(), "Request-Token": "abcdef", "If-None-Match": seen.headers["etag"]}
    assert world.get(f"/requests/{number}?wait=1", same).status == 304


@pytest.mark.parametrize("live", [True, False])
def test_who_waits_asks_the_metaserver_again_only_when_something_happened(live: bool) -> None:
    hub = LiveHub(FakeNews(), WallClock(NOW), Clock()) if live else None
    world, seconds = ApiWorld(live=hub), iter(range(60))
    if hub is not None:
        hub.last = 1

    def a_second() -> None:
        if next(seconds) == 5:
            world.people.answers[12] = evolve(world.people.answers[12], build_state="failed", state="ended")
            world.pages.last_event += 1
            if hub is not None:
                hub.last += 1

    world.meanwhile = a_second
    seen = world.get("/requests/12?wait=30", {**world.token(), "Request-Token": "abcdef"})
    assert (said(seen)["state"], next(seconds), len(world.asked)) == ("ended", 6, 2)


@given(st.binary(max_size=200), st.sampled_from(CALLS))
def test_no_body_is_a_defect(body: bytes, call: object) -> None:
    world = ApiWorld()
    path = call.path.replace("{build_id}", "1").replace("{request_id}", "1")  # type: ignore[attr-defined]
    seen = world.visitor.visit(
        f"/api/v1{path}", "POST", {**world.token(ROOT), **KEY, "Content-Type": "application/json"}, body
    )
    assert seen.status != 500
    assert json.loads(seen.text)


def test_the_description_and_its_page_are_there() -> None:
    world = ApiWorld()
    described = world.get("/openapi.json")
    assert said(described)["openapi"] == "3.1.0"
    page = world.visitor.visit("/api")
    check_html(page.text)
    assert all(call.url in page.text for call in ROUTES)


def test_a_project_is_told_with_what_its_options_accept_as_far_as_it_may_be_seen() -> None:
    world = ApiWorld()
    told = said(world.get("/projects/testproject"))
    assert told["name"] == "testproject"
    assert [(one["flag"], one["kind"], one["choices"]) for one in told["compile"]] == [
        ("--colour", "choice", ["red", "blue"])
    ]
    roles = {one["name"]: one["role"] for one in told["system"]}
    assert roles["os"] == "artifact"
    assert [one["name"] for one in told["tool"]] == ["source", "revision", "revrange"]
    hidden, unknown = world.get("/projects/lua"), world.get("/projects/luu")
    assert (hidden.status, hidden.text) == (404, unknown.text.replace("luu", "lua"))
    assert said(world.get("/projects/lua", world.token()))["name"] == "lua"


def test_while_the_metaserver_is_away_nothing_is_told_of_a_project() -> None:
    away = Visitor(farm(), questions=NoQuestions())
    seen = away.visit("/api/v1/projects/testproject")
    assert (seen.status, said(seen)["code"]) == (503, "unavailable")
