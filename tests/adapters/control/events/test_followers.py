"""What pages that follow events are told: all that is committed, in few messages, and no more than is bounded."""

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.adapters.control.events.followers import GATHER, SIGN_OF_LIFE, EventFollowers
from buildtool.errors import Unavailable
from buildtool.model.records import AuditEvent
from buildtool.protocol.news import NOTES_MOST, EventNotes


@define
class Ear:
    """One that follows. While it is ``slow`` each batch waits for ``take``."""

    heard: list[EventNotes] = field(factory=list)
    slow: bool = False
    waiting: list[Deferred[None]] = field(factory=list)

    async def hear(self, batch: EventNotes) -> None:
        self.heard.append(batch)
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]

    def take(self) -> None:
        self.waiting.pop().callback(None)


@define
class Committed:
    """Events as they are committed, one number after the other."""

    clock: Clock = field(factory=Clock)
    followers: EventFollowers = field(init=False)
    seq: int = 0
    subjects: dict[int, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.followers = EventFollowers(self.clock)

    def commit(self, *subjects: str) -> None:
        self.subjects |= dict(enumerate(subjects, self.seq + 1))
        self.seq += len(subjects)
        self.followers.committed(self.seq, [AuditEvent("build-queued", subject) for subject in subjects])

    def between(self, after: int, last: int) -> dict[str, int]:
        return {subject: seq for seq, subject in self.subjects.items() if after < seq <= last}

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)


STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from(["build/1", "build/2", "server/anna", "farm"]), min_size=1, max_size=5),
        st.sampled_from([0.05, 0.2, 1.0, 4.0]),
        st.just("take"),
    ),
    max_size=30,
)


@given(STEPS, st.booleans())
def test_what_is_told_is_what_was_committed_each_subject_once_with_its_newest_number(
    steps: list[object], slow: bool
) -> None:
    farm, ear = Committed(), Ear(slow=slow)
    farm.commit("before")
    farm.followers.join(ear.hear)
    for step in steps:
        if isinstance(step, list):
            farm.commit(*step)
        elif isinstance(step, float):
            farm.pass_time(step)
        elif ear.waiting:
            ear.take()
        told = ear.heard[-1].last if ear.heard else 1
        assert told <= farm.seq
    while ear.waiting or not ear.heard or ear.heard[-1].last < farm.seq:
        if ear.waiting:
            ear.take()
        farm.pass_time(SIGN_OF_LIFE)
    at = 1
    for batch in ear.heard:
        assert batch.whole
        assert batch.after == at
        at = batch.last
        assert {note.subject: note.seq for note in batch.notes} == farm.between(batch.after, batch.last)
        assert [note.seq for note in batch.notes] == sorted(note.seq for note in batch.notes)
    assert at == farm.seq


def test_an_event_is_told_at_once_and_ten_thousand_in_a_second_are_a_few_messages() -> None:
    farm, ear = Committed(), Ear()
    farm.followers.join(ear.hear)
    farm.commit("build/1")
    farm.clock.advance(0)
    assert [batch.last for batch in ear.heard] == [1]
    for _ in range(100):
        farm.commit(*(f"build/{number % 50}" for number in range(100)))
        farm.clock.advance(0.01)
    farm.pass_time(GATHER)
    assert ear.heard[-1].last == 10_001
    assert len(ear.heard) <= 1 + 1.2 / GATHER


def test_more_subjects_than_a_batch_holds_are_told_as_everything() -> None:
    farm, ear = Committed(), Ear(slow=True)
    farm.followers.join(ear.hear)
    farm.commit("farm")
    farm.clock.advance(0)
    for number in range(10 * NOTES_MOST):
        farm.commit(f"build/{number}")
    assert all(len(follower._kept) <= NOTES_MOST for follower in farm.followers._followers)
    ear.take()
    farm.pass_time(1.0)
    assert ear.heard[-1] == EventNotes(1, farm.seq, (), whole=False)
    ear.take()
    farm.commit("farm")
    farm.pass_time(1.0)
    assert ear.heard[-1].whole, "what comes after that is told as ever"


def test_one_that_takes_nothing_is_sent_one_message_and_one_that_fails_is_sent_no_more() -> None:
    farm, ear = Committed(), Ear(slow=True)
    farm.followers.join(ear.hear)
    for _ in range(100):
        farm.commit("farm")
        farm.pass_time(0.5)
    assert len(ear.heard) == 1
    ear.waiting.pop().errback(Unavailable("it does not answer"))
    assert len(farm.followers) == 0
    assert not farm.clock.getDelayedCalls()


def test_nothing_happening_is_told_too_and_what_nobody_told_of_is_a_gap() -> None:
    farm, ear = Committed(), Ear()
    farm.commit("farm")
    follower = farm.followers.join(ear.hear)
    farm.pass_time(2 * SIGN_OF_LIFE + 0.2)
    assert ear.heard == [EventNotes(1, 1), EventNotes(1, 1)]
    farm.seq += 1  # committed, which nobody knew
    farm.commit("farm")
    farm.pass_time(GATHER + 0.05)
    assert ear.heard[-1] == EventNotes(1, 3, (), whole=False)
    follower.leave()
    assert not farm.clock.getDelayedCalls()
