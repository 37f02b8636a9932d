"""What a process of the pages knows of what happens: nothing is left out, and silence is told."""

from collections.abc import Collection, Sequence

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from buildtool.errors import StorageUnavailable
from buildtool.ports.pages import ConcernedBuild, EventLine, EventListener
from buildtool.protocol.news import EventNote, EventNotes
from buildtool.web.live.hub import BEAT, BEHIND_MOST, GRACE, KEPT, LastMoment, LiveHub
from buildtool.web.live.topics import PageChange
from tests.support.memory import WallClock
from tests.web.fake_pages import NOW


@define
class FakeNews:
    """The events of a database. ``pruned`` of them are gone, the oldest first."""

    lines: list[EventLine] = field(factory=list)
    pruned: int = 0
    beat: float = NOW - 50.0
    broken: bool = False

    async def concerned(
        self, builds: Collection[int], requests: Collection[int] = (), artifacts: Collection[int] = ()
    ) -> Sequence[ConcernedBuild]:
        self._check()
        return [
            ConcernedBuild(one, "lua" if one % 2 else "secret", (), 1, "elm") for one in sorted({*builds, *requests})
        ]

    async def since(self, after: int, limit: int) -> Sequence[EventLine]:
        self._check()
        return [line for line in self.lines[self.pruned :] if line.seq > after][:limit]

    async def newest(self) -> tuple[int, float]:
        self._check()
        return len(self.lines), self.beat

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailable("the disk is gone")


@define
class FakeFeed:
    """A subscription that a test speaks through."""

    listener: EventListener | None = None

    def start(self, listener: EventListener) -> None:
        self.listener = listener

    async def stop(self) -> None:
        self.listener = None


@define(eq=False)
class Ear:
    """A browser that remembers what it heard."""

    hub: LiveHub
    heard: list[PageChange] = field(factory=list)
    beats: list[float | None] = field(factory=list)
    doubts: list[Collection[str] | None] = field(factory=list)

    def changed(self, change: PageChange) -> None:
        self.heard.append(change)

    def beat(self) -> None:
        self.beats.append(self.hub.away_since)

    def doubted(self, names: Collection[str] | None) -> None:
        self.doubts.append(names)


@define
class World:
    """A hub, and a metaserver that commits events."""

    news: FakeNews = field(factory=FakeNews)
    timers: Clock = field(factory=Clock)
    wall: WallClock = field(factory=lambda: WallClock(NOW))
    feed: FakeFeed = field(factory=FakeFeed)
    hub: LiveHub = field(init=False)
    ear: Ear = field(init=False)
    told: int = 0

    def __attrs_post_init__(self) -> None:
        self.hub = LiveHub(self.news, self.wall, self.timers)
        self.ear = Ear(self.hub)
        self.hub.listeners[self.ear] = None
        self.hub.start(self.feed)

    def commit(self, *subjects: str) -> None:
        for subject in subjects:
            self.news.lines.append(EventLine(len(self.news.lines) + 1, NOW, "x", subject, ""))

    def begin(self) -> None:
        self.told = len(self.news.lines)
        self.hub.began(self.told)

    def tell(self) -> None:
        after, self.told = self.told, len(self.news.lines)
        notes = tuple(EventNote(line.seq, line.kind, line.subject) for line in self.news.lines[after:])
        self.hub.told(EventNotes(after, self.told, notes))

    def pass_time(self, seconds: float) -> None:
        self.wall.now += seconds
        self.timers.advance(seconds)


def test_what_happened_is_told_by_topics_and_kept_for_whoever_comes_again() -> None:
    world = World()
    world.commit("farm")
    world.begin()
    world.commit("build/3")
    world.tell()
    world.commit("server/oak")
    world.tell()
    assert [change.text for change in world.ear.heard] == [
        "build/3 builds farm machine/elm machines queue",
        "farm machine/oak machines queue",
    ]
    missed = world.hub.after(1)
    assert missed is not None
    assert (missed.seq, missed.text) == (3, "build/3 builds farm machine/elm machine/oak machines queue")
    assert world.hub.after(3) is None
    assert world.ear.doubts == [{"build/3"}, {"server/oak"}]
    for unknown in (0, 4, 10**9):
        assert world.hub.after(unknown) == PageChange(3, reset=True)


@given(st.lists(st.sampled_from(["commit", "tell", "lose", "begin", "prune", "break"]), max_size=40))
def test_whatever_is_lost_on_the_way_each_change_is_told_once_or_everything_is(steps: list[str]) -> None:
    """The topics told after an event are those of all events after it, or that everything may have changed."""
    world = World()
    world.commit("farm")
    world.begin()
    connected = True
    for number, step in enumerate(steps, 2):
        if step == "commit":
            world.commit(f"server/s{number}")
        elif step == "tell" and connected:
            world.tell()
        elif step == "lose" and connected:
            world.hub.lost()
            connected = False
        elif step == "begin" and not connected:
            world.begin()
            connected = True
        elif step == "prune":
            world.news.pruned = len(world.news.lines) // 2
        elif step == "break":
            world.news.broken = not world.news.broken
    world.news.broken = False
    if not connected:
        world.begin()
    world.tell()
    newest = len(world.news.lines)
    assert world.hub.last == newest
    for seq in range(1, newest):
        missed = world.hub.after(seq)
        assert missed is not None
        assert missed.seq == newest
        expected = {line.subject.replace("server", "machine") for line in world.news.lines[seq:]}
        assert missed.reset or expected <= set(missed.text.split())
    told = [change.seq for change in world.ear.heard]
    assert told == sorted(set(told))


def test_more_than_is_kept_or_read_is_told_as_everything() -> None:
    world = World()
    world.commit("farm")
    world.begin()
    for _ in range(KEPT + 5):
        world.commit("farm")
        world.tell()
    assert world.hub.after(1) == PageChange(KEPT + 6, reset=True)
    assert world.hub.after(20) is not None
    world.hub.lost()
    world.commit(*["farm"] * (BEHIND_MOST + 5))
    world.begin()
    assert world.ear.heard[-1].reset


def test_while_the_metaserver_does_not_answer_the_last_moment_stands_still_and_browsers_are_told() -> None:
    world = World()
    world.begin()
    clock = LastMoment(world.wall, world.hub)
    world.pass_time(3.0)
    world.tell()
    world.hub.told(EventNotes(0, 0))
    world.pass_time(2.0)
    assert clock.wall() == NOW + 5.0
    world.hub.lost()
    assert world.ear.beats[-1] == NOW + 3.0
    world.pass_time(3_600.0)
    assert clock.wall() == NOW + 3.0
    world.news.beat = NOW + 100.0  # it does write, and only does not answer here
    world.pass_time(BEAT)
    assert clock.wall() == NOW + 100.0
    world.begin()
    assert clock.wall() == world.wall.now
    assert world.ear.beats[-1] is None


def test_a_metaserver_that_is_away_from_the_start_on_is_away_since_it_last_wrote() -> None:
    world = World()
    world.hub.lost()
    world.pass_time(GRACE / 2)
    assert world.ear.beats == [], "it may be about to answer"
    world.pass_time(BEAT)
    assert world.ear.beats[-1] == NOW - 50.0


def test_an_older_metaserver_that_tells_nothing_is_read() -> None:
    world = World()
    world.commit("farm")
    world.hub.began(0)
    world.commit("server/oak")
    world.hub.began(0)
    world.hub.began(0)
    assert [change.text for change in world.ear.heard] == ["farm machine/oak machines queue"]
