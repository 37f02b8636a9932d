"""The pages' one subscription to events, over real brokers and bytes: kept up, and honest about silence."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from buildtool.adapters.control.client import greet
from buildtool.adapters.control.events.feed import AGAIN, SILENCE, LocalEvents, MetaserverEvents, NewsEndpoint
from buildtool.adapters.control.events.followers import SIGN_OF_LIFE, EventFollowers
from buildtool.adapters.control.operator_endpoint import operator_factory
from buildtool.errors import UsageError
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import AuditEvent
from buildtool.protocol.hello import Hello
from buildtool.protocol.messages import HealthStatus
from buildtool.protocol.news import EventNote, EventNotes, EventsFollowed, FollowEvents
from buildtool.protocol.pages.visiting import AskHealthFor
from tests.adapters.control.wires import Wires


async def itself(stranger: Principal, _transport: object, hello: Hello) -> Principal:
    return evolve(stranger, role=PrincipalRole(hello.role))


async def healthy(_by: Principal, _message: AskHealthFor) -> HealthStatus:
    return HealthStatus(ok=True)


@define
class Ear:
    """What the pages hear, in short."""

    heard: list[object] = field(factory=list)

    def began(self, last: int) -> None:
        self.heard.append(("began", last))

    def told(self, batch: EventNotes) -> None:
        if batch.notes:
            self.heard.append(batch)

    def lost(self) -> None:
        self.heard.append("lost")


@define
class World:
    """Pages, and a metaserver that comes and goes."""

    clock: Clock = field(factory=Clock)
    wires: Wires = field(init=False)
    events: EventFollowers = field(init=False)
    ear: Ear = field(factory=Ear)
    feed: MetaserverEvents = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.wires = Wires(self.clock)
        self.events = EventFollowers(self.clock)
        self.feed = MetaserverEvents(self.wires, "farm", self.clock)  # type: ignore[arg-type] # it connects

    def come(self) -> None:
        pages: Any = {AskHealthFor: healthy}
        self.wires.server = operator_factory({}, self.clock, pages, identify=itself, events=self.events)

    def commit(self, subject: str) -> None:
        self.events.committed(self.events.last + 1, [AuditEvent("x", subject)])

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
            self.wires.run()


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_committed_reaches_the_pages_and_a_dead_metaserver_is_lost_at_once(world: World) -> None:
    world.come()
    world.commit("before")
    world.feed.start(world.ear)
    world.run(0.5)
    world.commit("build/7")
    world.run(0.25)
    assert world.ear.heard == [("began", 1), EventNotes(1, 2, (EventNote(2, "x", "build/7"),))]
    world.run(100.0)
    assert len(world.ear.heard) == 2, "signs of life keep it up"
    world.wires.server = None
    world.wires.cut()
    assert world.ear.heard[2:] == ["lost"]
    assert len(world.events) == 0
    world.commit("build/8")
    world.come()
    world.run(AGAIN.most)
    assert world.ear.heard[-1] == ("began", 3), "what was missed shows in the number"


def test_one_that_hangs_is_lost_after_a_silence(world: World) -> None:
    world.come()
    world.feed.start(world.ear)
    world.run(1.0)
    del world.ear.heard[:]
    world.wires.pumps.clear()  # nothing flows any more
    world.run((SILENCE + 1) * SIGN_OF_LIFE)
    assert world.ear.heard[0] == "lost"


def test_one_that_does_not_answer_is_asked_more_and_more_seldom_and_the_log_says_so_once(world: World) -> None:
    with capturedLogs() as lines:
        world.feed.start(world.ear)
        world.run(60.0)
    apart = [after - before for before, after in zip(world.wires.tried, world.wires.tried[1:], strict=False)]
    assert apart[0] == pytest.approx(AGAIN.first)
    assert max(apart) == pytest.approx(AGAIN.most)
    assert len([line for line in lines if "hear of no events" in formatEvent(line)]) == 1


def test_an_older_metaserver_is_asked_whether_it_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.come()
    with monkeypatch.context() as older:
        older.setattr("buildtool.protocol.hello.CAPABILITIES", ())
        world.feed.start(world.ear)
        world.run(10.0)
    assert set(world.ear.heard) == {("began", 0)}
    assert not any(broker.why for broker in world.wires.brokers()), "it was not asked what it does not know"
    assert len(world.wires.tried) == 1


def test_stopping_ends_the_connection_and_tells_nothing_more(world: World) -> None:
    world.come()
    world.feed.start(world.ear)
    world.run(1.0)
    heard = len(world.ear.heard)
    world.wires.result(world.feed.stop())
    world.commit("build/1")
    world.run(20.0)
    assert len(world.ear.heard) == heard
    assert len(world.events) == 0


def test_a_connection_follows_once(world: World) -> None:
    world.come()
    session = world.wires.result(greet(world.wires, "farm", "pages", world.clock))  # type: ignore[arg-type]
    follow: Callable[[], Any] = lambda: session.ask(FollowEvents(), EventsFollowed, NewsEndpoint(world.feed))  # noqa: E731
    assert world.wires.result(follow()) == EventsFollowed(0)
    with pytest.raises(UsageError, match="follows events already"):
        world.wires.result(follow())


def test_pages_inside_the_metaserver_are_told_the_same() -> None:
    clock = Clock()
    events, ear = EventFollowers(clock), Ear()
    feed = LocalEvents(events)
    feed.start(ear)
    events.committed(1, [AuditEvent("x", "farm")])
    clock.advance(0)
    assert ear.heard == [("began", 0), EventNotes(0, 1, (EventNote(1, "x", "farm"),))]
