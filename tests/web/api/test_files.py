"""Logs and artifacts through the API: by ranges, followed, searched, and only to who may see them."""

from itertools import count

import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from buildtool.errors import Damaged, NotFound
from buildtool.model.access.rights import Act
from buildtool.model.trust.evidence import Evidence, SandboxLevel
from buildtool.programs.webserver.site import ReportedArtifacts
from buildtool.protocol.api.routes import CALLS
from buildtool.web.api import files
from buildtool.web.api.waiting import WaitingPlaces
from tests.support.lanes import examples
from tests.web.api.world import ROOT, ApiWorld, said
from tests.web.farm import LOG

DATA = bytes(range(256)) * 2_000
BUILD, EPOCH = 3, 2
HIDDEN = "ab" * 32


@define
class Kept:
    """An artifact that is open. ``waits`` is what its next read waits for."""

    data: bytes
    closed: int = 0
    waits: Deferred[None] | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, start: int, size: int) -> bytes:
        if self.waits is not None:
            await self.waits
        assert not self.closed, "it is read although it was closed"
        return self.data[start : start + size]

    def close(self) -> None:
        self.closed += 1


@define
class Artifacts:
    """The artifacts of a farm by digest, and which were opened."""

    found: dict[str, bytes] = field(factory=dict)
    opened: list[Kept] = field(factory=list)
    broken: Exception | None = None
    opening: Deferred[None] | None = None
    reading: Deferred[None] | None = None

    async def open(self, digest: str) -> Kept:
        if self.opening is not None:
            await self.opening
        if self.broken is not None:
            raise self.broken
        if digest not in self.found:
            raise NotFound("there is no such file")
        self.opened.append(Kept(self.found[digest], waits=self.reading))
        return self.opened[-1]


@pytest.fixture
def kept() -> Artifacts:
    return Artifacts()


@pytest.fixture
def world(kept: Artifacts) -> ApiWorld:
    made = ApiWorld(artifacts=kept)
    made.logs.logs[BUILD, EPOCH] = LOG.encode()
    (one, *_) = made.pages.artifacts
    made.pages.artifacts.append(evolve(one, digest=HIDDEN, shelf=one.shelf._replace(project="lua")))
    kept.found = {one.digest: DATA for one in made.pages.artifacts}
    return made


def digest_of(world: ApiWorld) -> str:
    """Return the digest of an artifact of a project that visitors see."""
    return next(one.digest for one in world.pages.artifacts if one.digest != HIDDEN and not one.withdrawn)


LONG = LOG * 40


@settings(max_examples=examples(25))
@given(st.integers(0, len(LONG)), st.integers(0, len(LONG) + 9))
def test_any_range_of_a_log_is_sent_and_one_behind_its_end_is_refused(start: int, end: int) -> None:
    at = ApiWorld()
    at.logs.logs[BUILD, EPOCH] = LONG.encode()
    seen = at.get(f"/builds/{BUILD}/log", {"Range": f"bytes={start}-{end}"})
    if end < start:
        assert (seen.status, seen.text) == (200, LONG), "what is no range asks for everything"
    elif start == len(LONG):
        assert (seen.status, said(seen)["code"]) == (416, "range")
        assert seen.headers["content-range"] == f"bytes */{len(LONG)}"
    else:
        assert (seen.status, seen.text) == (206, LONG[start : end + 1])
    assert at.get(f"/builds/{BUILD}/log?from={start}").text == LONG[start:]


def test_a_log_says_how_long_it_is_and_whether_that_is_all(world: ApiWorld) -> None:
    seen = world.get(f"/builds/{BUILD}/log?attempt={EPOCH}")
    assert (seen.status, seen.text) == (200, LOG)
    assert (seen.headers["log-length"], seen.headers["log-finished"]) == (str(len(LOG)), "yes")
    assert seen.headers["content-type"].startswith("text/plain")
    assert world.visitor.visit(f"/api/v1/builds/{BUILD}/log", "HEAD").headers["content-length"] == str(len(LOG))
    behind = world.get(f"/builds/{BUILD}/log?from={len(LOG) + 1}&wait=5")
    assert (behind.status, said(behind)["code"], behind.headers["log-length"]) == (409, "bad-offset", str(len(LOG)))


def test_more_of_a_log_is_waited_for_until_it_comes_or_time_is_over(world: ApiWorld) -> None:
    world.logs.growing.add((BUILD, EPOCH))
    seconds = count()

    def a_second() -> None:
        if next(seconds) == 3:
            world.logs.logs[BUILD, EPOCH] += b"more\n"

    world.meanwhile = a_second
    seen = world.get(f"/builds/{BUILD}/log?from={len(LOG)}&wait=30")
    assert (seen.text, seen.headers["log-finished"], next(seconds)) == ("more\n", "no", 4)
    again = world.get(f"/builds/{BUILD}/log?from={len(LOG) + 5}&wait=3")
    assert (again.status, again.text, next(seconds)) == (200, "", 8)
    world.logs.growing.clear()
    assert world.get(f"/builds/{BUILD}/log?from={len(LOG) + 5}&wait=30").headers["log-finished"] == "yes"
    assert next(seconds) == 9, "nothing comes any more, so nothing is waited for"


def test_a_log_that_has_not_begun_is_waited_for_and_otherwise_not_found(world: ApiWorld) -> None:
    del world.logs.logs[BUILD, EPOCH]
    assert world.get(f"/builds/{BUILD}/log").status == 404
    seen = world.get(f"/builds/{BUILD}/log?wait=2")
    assert (seen.status, seen.text, seen.headers["log-finished"]) == (200, "", "no")


def test_only_so_many_wait_at_once() -> None:
    places = WaitingPlaces(1)
    with places.place("wait"), pytest.raises(Exception, match="1 wait"), places.place("wait"):
        pass
    with places.place("wait"):
        assert places.taken == 1


def test_the_index_and_what_is_found_are_those_of_the_pages(world: ApiWorld) -> None:
    for path in ("index", "search?q=ERROR", "search?q=ERROR&case=1"):
        pages = world.visitor.visit(f"/logs/{BUILD}/{path}".removesuffix("&case=1") + "&case=1" * ("case" in path))
        assert said(world.get(f"/builds/{BUILD}/log/{path}")) == said(pages)
    assert said(world.get(f"/builds/{BUILD}/log/search?q=ERROR&case=1"))["count"] == 0
    assert said(world.get(f"/builds/{BUILD}/log/search?q=ERROR"))["lines"] == [2, 3]
    for query in ("", "?q=", "?q=a%0Ab", f"?q={'x' * 201}", "?q=a&case=2"):
        assert world.get(f"/builds/{BUILD}/log/search{query}").status == 400


def test_an_artifact_is_sent_whole_or_from_a_byte_on_and_to_nobody_who_has_it(world: ApiWorld, kept: Artifacts) -> None:
    path = f"/artifacts/{digest_of(world)}"
    seen = world.get(path)
    assert (seen.status, seen.body, seen.headers["content-type"]) == (200, DATA, "application/zip")
    tag = seen.headers["etag"]
    rest = world.get(path, {"Range": "bytes=1000-", "If-Range": tag})
    assert (rest.status, rest.body) == (206, DATA[1000:])
    assert world.get(path, {"Range": "bytes=1000-", "If-Range": '"other"'}).body == DATA
    assert world.get(path, {"Range": f"bytes={len(DATA)}-"}).status == 416
    assert world.get(path, {"If-None-Match": tag}).status == 304
    assert [one.closed for one in kept.opened] == [1] * len(kept.opened)


def test_what_a_visitor_may_not_see_is_as_if_it_was_not_there(world: ApiWorld) -> None:
    build = next(one.id for one in world.pages.builds_made if one.spec.project == "lua")
    world.logs.logs[build, 1] = b"secret"
    unknown = world.get(f"/artifacts/{'0' * 64}")
    assert (unknown.status, world.get(f"/artifacts/{HIDDEN}").text) == (404, unknown.text)
    assert world.get("/artifacts/..%2f..%2fetc").status == 404
    for path in ("", "?from=0", "/index", "/search?q=s"):
        assert world.get(f"/builds/{build}/log{path}").status == 404
    assert world.get(f"/artifacts/{HIDDEN}", world.token()).status == 200
    assert world.get(f"/builds/{build}/log?attempt=1", world.token(ROOT)).text == "secret"


def test_one_that_was_made_in_less_than_is_demanded_is_as_if_it_was_not_there_and_the_line_says_why(
    world: ApiWorld,
) -> None:
    digest = digest_of(world)
    world.pages.artifacts = [evolve(one, evidence=Evidence(SandboxLevel.WEAK)) for one in world.pages.artifacts]
    assert [world.get(f"/artifacts/{digest}?sandbox={level}").status for level in ("none", "weak", "strict")] == [
        200, 200, 404,
    ]  # fmt: skip
    refused = said(world.get(f"/artifacts/{digest}?sandbox=strict"))
    assert refused["detail"] == "what has that digest needs a strict sandbox, has a weak one"
    hidden, unknown = (world.get(f"/artifacts/{one}?sandbox=strict").text for one in (HIDDEN, "0" * 64))
    assert hidden == unknown, "what one may not see is not told"
    wrong = world.get(f"/artifacts/{digest}?sandbox=strickt")
    assert (wrong.status, "is no level of a sandbox" in said(wrong)["detail"]) == (422, True)


def test_one_that_is_damaged_or_withdrawn_is_not_given_out(world: ApiWorld, kept: Artifacts) -> None:
    digest = digest_of(world)
    kept.broken = Damaged("the stored artifact is damaged")
    seen = world.get(f"/artifacts/{digest}")
    assert (seen.status, said(seen)["code"]) == (410, "damaged")
    kept.broken = None
    world.pages.artifacts = [evolve(one, withdrawn="it was wrong") for one in world.pages.artifacts]
    assert world.get(f"/artifacts/{digest}").status == 404
    why = "expired on 2026-11-20 (rule: artifacts of more than 1.0 GiB together)"
    world.pages.artifacts = [evolve(one, withdrawn=why) for one in world.pages.artifacts]
    gone = world.get(f"/artifacts/{digest}")
    assert (gone.status, said(gone)["code"], said(gone)["detail"]) == (410, "expired", f"this artifact {why}")


def test_a_log_that_expired_is_gone_and_the_line_says_why(world: ApiWorld) -> None:
    build = next(one.build_id for one in world.pages.attempts if (one.build_id, one.epoch) in world.logs.logs)
    world.logs.logs.clear()
    world.pages.logs_gone[build] = "expired on 2026-11-20 (rule: logs older than 30 days)"
    gone = world.get(f"/builds/{build}/log")
    assert (gone.status, said(gone)["code"]) == (410, "expired")
    assert "expired on 2026-11-20 (rule: logs older than 30 days)" in said(gone)["detail"]


def test_one_that_is_damaged_is_reported_by_a_metaserver_s_own_pages(world: ApiWorld, kept: Artifacts) -> None:
    digest, told = digest_of(world), list[str]()
    at = ApiWorld(artifacts=ReportedArtifacts(kept, told.append))
    assert (at.get(f"/artifacts/{digest}").body, told) == (DATA, [])
    kept.broken = Damaged("the stored artifact is damaged")
    assert (at.get(f"/artifacts/{digest}").status, told) == (410, [digest])


def test_pages_without_artifacts_say_so() -> None:
    at = ApiWorld()
    seen = at.get(f"/artifacts/{digest_of(at)}")
    assert (seen.status, said(seen)["code"]) == (503, "storage-unavailable")


@pytest.mark.parametrize("while_opening", [True, False])
def test_who_leaves_meanwhile_leaves_nothing_open_and_nothing_closed_too_early(
    world: ApiWorld, kept: Artifacts, while_opening: bool
) -> None:
    waits: Deferred[None] = Deferred()
    if while_opening:
        kept.opening = waits
    else:
        kept.reading = waits
    world.visitor.leave(f"/api/v1/artifacts/{digest_of(world)}")
    assert [one.closed for one in kept.opened] == ([] if while_opening else [0])
    waits.callback(None)
    assert [one.closed for one in kept.opened] == [1]


def test_only_so_many_artifacts_are_open_at_once_and_who_leaves_makes_room(
    world: ApiWorld, kept: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SENDING", 1)
    path = f"/artifacts/{digest_of(world)}"
    kept.opening = Deferred()
    hang_up = world.visitor.begin(f"/api/v1{path}")
    refused = world.get(path)
    assert (refused.status, said(refused)["code"], "retry-after" in refused.headers) == (503, "overloaded", True)
    hang_up()
    opening, kept.opening = kept.opening, None
    opening.callback(None)
    assert world.get(path).body == DATA
    assert [one.closed for one in kept.opened] == [1, 1]


def test_each_route_is_an_act_of_its_own() -> None:
    acts = {call.path: call.act for call in CALLS if call.raw or "log" in call.path}
    assert acts["/artifacts/{digest}"] is Act.SEE_ARTIFACT
    assert {act for path, act in acts.items() if "log" in path} == {Act.SEE_LOG}
