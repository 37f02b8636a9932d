"""What a browser hears over its stream: what its visitor may, no faster than it reads, and from where it was cut."""

from typing import Any

import pytest
from attrs import define, evolve, field

from buildtool.errors import BuildToolError, Unauthorised, Unavailable
from buildtool.model.access.rights import Act
from buildtool.model.options import Canonical
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.news import EventNotes
from buildtool.web.access import EverythingSeen
from buildtool.web.live.hub import BEAT
from buildtool.web.live.streams import LIFE, UNREAD, Stream, message
from tests.web.fake_pages import NOW
from tests.web.live.test_hub import World
from tests.web.visitor import Visitor

BY = Principal(PrincipalRole.VISITOR, address="192.0.2.7")


@define
class Line:
    """A request of which is kept what is written to it."""

    sent: list[bytes] = field(factory=list)
    aborted: bool = False

    @property
    def channel(self) -> "Line":
        return self

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def registerProducer(self, _producer: object, _streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def forceAbortClient(self) -> None:
        self.aborted = True

    def take(self) -> bytes:
        sent = b"".join(self.sent)
        self.sent.clear()
        return sent


class LuaOnly(EverythingSeen):
    """Rights of who sees one project, until they are taken away."""

    gone = False

    def check_role(self, by: Principal, act: Act) -> None:
        if self.gone:
            raise Unauthorised("not any more")

    def sees(self, _by: Principal, project: str, _act: Act, _platform: Canonical | None = None) -> bool:
        return project == "lua"

    def projects(self, _by: Principal) -> Any:
        return ["lua"]


@define
class Listening:
    """One browser at a hub."""

    world: World = field(factory=World)
    access: EverythingSeen = field(factory=EverythingSeen)
    line: Line = field(factory=Line)
    stream: Stream = field(init=False)

    def start(self, last: int | None = None, by: Principal = BY, known: Any = None) -> bytes:
        self.stream = Stream(self.line, by, self.access, self.world.hub)  # type: ignore[arg-type] # as much as it needs
        self.stream.known = known
        self.stream.start(last)
        return self.line.take()

    def commit(self, *subjects: str) -> bytes:
        self.world.commit(*subjects)
        self.world.tell()
        return self.line.take()


@pytest.fixture
def one() -> Listening:
    made = Listening()
    made.world.commit("farm")
    made.world.begin()
    return made


def test_a_browser_hears_where_it_begins_then_each_change_and_signs_of_life(one: Listening) -> None:
    assert one.start() == b"retry: 2000\n\n" + message("alive", f"{NOW:.3f}", 1)
    assert one.commit("server/oak") == b"id: 2\nevent: changed\ndata: farm machine/oak machines queue\n\n"
    one.world.pass_time(BEAT)
    assert one.line.take() == message("alive", f"{NOW + BEAT:.3f}", 2)


def test_one_that_was_cut_off_goes_on_from_there_or_is_told_to_look_at_everything(one: Listening) -> None:
    one.commit("server/oak")
    one.commit("server/elm")
    assert message("changed", "farm machine/elm machine/oak machines queue", 3) in one.start(1)
    assert message("reset", "", 3) in one.start(77)
    assert b"changed" not in one.start(3)


def test_silence_of_the_metaserver_is_told_at_once_and_that_it_is_over(one: Listening) -> None:
    one.start()
    one.world.pass_time(1.0)
    one.world.hub.lost()
    assert one.line.take() == message("silent", f"{NOW:.3f}", 1)
    one.world.begin()
    assert one.line.take() == message("alive", f"{NOW + 1.0:.3f}", 1)


def test_a_visitor_hears_only_of_builds_that_they_may_see(one: Listening) -> None:
    seen = one.access = LuaOnly()
    one.start()
    heard = one.commit("build/3", "build/4")
    assert b"build/3" in heard
    assert b"build/4" not in heard
    seen.gone = True
    one.world.pass_time(BEAT)
    assert one.stream.ended.called
    assert one.commit("build/3") == b""


ANN = Principal(PrincipalRole.REQUESTER, "ann", owner="ann@example.org", token="a" * 64)


@define
class Shown:
    """What the metaserver says of who shows a secret, again and again: who they are, or an error."""

    says: list[Principal | BuildToolError]
    asked: int = 0

    async def __call__(self) -> Principal:
        self.asked += 1
        said = self.says.pop(0)
        if isinstance(said, BuildToolError):
            raise said
        return said


@pytest.mark.parametrize("name", ["ann", "ann@example.org"])
@pytest.mark.parametrize("now", [Unauthorised("it was revoked"), evolve(ANN, role=PrincipalRole.VISITOR)])
def test_who_has_lost_their_right_while_they_listen_hears_no_more(
    one: Listening, name: str, now: Principal | BuildToolError
) -> None:
    shown = Shown([now])
    one.start(by=ANN, known=shown)
    one.commit("server/oak")
    assert (shown.asked, one.stream.ended.called) == (0, False), "that is about nobody"
    one.commit(name)
    assert (shown.asked, one.stream.ended.called) == (1, True)
    assert one.commit("server/oak") == b""


def test_who_is_who_they_were_listens_on_and_so_does_whom_nobody_knows_just_now(one: Listening) -> None:
    shown = Shown([ANN, Unavailable("the metaserver does not answer"), ANN])
    one.start(by=ANN, known=shown)
    one.commit("ann")
    one.commit("ann")
    one.world.hub.told(EventNotes(77, 78, ()))  # what was between is not known
    assert shown.asked == 3
    assert not one.stream.ended.called
    one.stream.end()
    one.start(by=ANN)
    one.commit("ann")
    assert not one.stream.ended.called, "who shows no secret is known by their connection"


def test_one_that_does_not_read_is_sent_nothing_then_all_at_once_and_is_dropped_in_the_end(one: Listening) -> None:
    one.start()
    one.stream.pauseProducing()
    for _ in range(50):
        assert one.commit("server/oak") == b""
    one.stream.resumeProducing()
    assert one.line.take() == message("changed", "farm machine/oak machines queue", 51)
    one.stream.pauseProducing()
    one.world.pass_time(UNREAD + BEAT)
    one.world.pass_time(BEAT)
    assert one.line.aborted
    assert len(one.world.hub.listeners) == 1, "the one of the test"


def test_a_stream_ends_after_a_while_so_that_its_visitor_is_looked_at_anew(one: Listening) -> None:
    one.start()
    for _ in range(int(LIFE / BEAT) + 1):
        one.world.pass_time(BEAT)
    assert one.stream.ended.called
    assert one.stream not in one.world.hub.listeners


def test_streams_are_answered_where_something_is_live_as_far_as_there_are_places() -> None:
    world = World()
    world.begin()
    world.hub.places.most = 0
    visitor = Visitor.at(world.hub)
    head = visitor.visit("/events", "HEAD")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert head.headers["x-accel-buffering"] == "no"
    assert head.headers["cache-control"] == "no-store, no-transform"
    full = visitor.visit("/events")
    assert (full.status, full.headers["retry-after"]) == (503, "30")
    told = visitor.visit("/api/v1/events")
    assert (told.status, told.headers["retry-after"]) == (429, "30")
    assert '"code": "limit-reached"' in told.text
    assert Visitor.at(None).visit("/events").status == 404


@pytest.mark.parametrize(
    ("query", "words"),
    [("?lst=3", "there is no query name"), ("?last=soon", "a whole number from 0"), ("?last=1&last=2", "2 times")],
)
def test_the_stream_of_the_api_refuses_a_query_that_it_does_not_know(query: str, words: str) -> None:
    world = World()
    world.begin()
    told = Visitor.at(world.hub).visit(f"/api/v1/events{query}")
    assert told.status == 400
    assert words in told.text


def test_without_the_metaserver_every_page_says_since_when_and_nothing_counts_on() -> None:
    world = World()
    world.begin()
    visitor = Visitor.at(world.hub, world.wall)
    paths = ("/", "/builds", "/buildservers", "/build/4", "/build/6", "/nowhere")
    answered = {path: visitor.visit(path).text for path in paths}
    assert not any("has not answered since" in text for text in answered.values())
    world.hub.lost()
    said = '<time datetime="2026-09-21T14:13:20Z">2026-09-21 14:13:20 UTC</time>. What is shown is from then.'
    silent = {path: visitor.visit(path).text for path in paths}
    assert all(said in text for text in silent.values())
    world.pass_time(3_600.0)
    assert {path: visitor.visit(path).text for path in paths} == silent
