"""What revisions are about is looked up once, in the background, as much as there is room for."""

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.errors import RepositoryUnreachable, StorageUnavailable
from buildtool.metaserver.showing.commit_notes import AGAIN, AT_ONCE, WAITING_LIMIT, CommitNotes
from buildtool.model.records import BuildSpec
from buildtool.model.search.commits import CommitNote, RevisionKey
from tests.adapters.sql.test_broker_store import BUILD
from tests.support.memory import MemoryCommits

URL = "https://git.example/lua.git"


@define
class Reader:
    """``ports.CommitReader``: each revision's subject is its id; ``away`` cannot be asked, ``hold`` is waited for."""

    asked: list[str] = field(factory=list)
    away: frozenset[str] = frozenset()
    hold: Deferred[None] | None = None

    async def about(self, url: str, commit: str) -> CommitNote | None:
        assert url == URL
        self.asked.append(commit)
        if self.hold is not None:
            await self.hold
        if commit in self.away:
            raise RepositoryUnreachable("it does not answer")
        return None if commit == "odd" else CommitNote(commit, "Ada", 1.0)


def spec(revision: str) -> BuildSpec:
    return evolve(BUILD.spec, revision=revision)


def key(revision: str) -> RevisionKey:
    return RevisionKey(BUILD.spec.project, BUILD.spec.source, revision)


class CommitNotesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reader, self.store, self.clock = Reader(), MemoryCommits(), Clock()
        self.notes = CommitNotes(self.reader, self.store, self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def test_a_revision_is_looked_up_once_however_often_it_is_asked_for(self) -> None:
        for _ in range(3):
            self.notes.notice(spec("a"), URL)
        assert self.reader.asked == ["a"]
        assert self.store.notes == {key("a"): CommitNote("a", "Ada", 1.0)}

    def test_what_the_database_knows_is_not_read_again(self) -> None:
        self.store.notes[key("a")] = CommitNote("known", "", 0.0)
        self.notes.notice(spec("a"), URL)
        assert self.reader.asked == []

    def test_what_cannot_be_read_or_written_keeps_nothing_else_from_it(self) -> None:
        self.reader.away = frozenset({"a"})
        for revision in ("a", "odd", "b"):
            self.notes.notice(spec(revision), URL)
        assert list(self.store.notes) == [key("b")]
        self.store.problem = StorageUnavailable("the disk is full")
        self.notes.notice(spec("c"), URL)
        self.notes.notice(spec("d"), URL)
        assert list(self.store.notes) == [key("b"), key("d")]

    def test_what_could_not_be_read_is_asked_again_after_a_while_that_is_longer_each_time(self) -> None:
        self.reader.away = frozenset({"a"})
        for tries, delay in enumerate((AGAIN.first, 2 * AGAIN.first, 4 * AGAIN.first), 1):
            self.notes.notice(spec("a"), URL)
            self.wait(delay - 1)
            self.notes.notice(spec("a"), URL)
            assert self.reader.asked == ["a"] * tries
            self.wait(1)
        self.reader.away = frozenset()
        self.notes.notice(spec("a"), URL)
        assert self.store.notes == {key("a"): CommitNote("a", "Ada", 1.0)}
        self.wait(10 * AGAIN.most)
        self.notes.notice(spec("a"), URL)
        assert self.reader.asked == ["a"] * 4, "what is known is not asked again"

    def test_what_could_not_be_written_is_looked_up_again_after_a_while(self) -> None:
        self.store.problem = StorageUnavailable("the disk is full")
        self.notes.notice(spec("a"), URL)
        self.notes.notice(spec("a"), URL)
        assert self.store.notes == {}
        self.wait(AGAIN.first)
        self.notes.notice(spec("a"), URL)
        assert list(self.store.notes) == [key("a")]

    def test_so_many_wait_and_no_more_and_what_was_left_out_is_looked_up_when_it_is_asked_for_again(self) -> None:
        hold: Deferred[None] = Deferred()
        self.reader.hold = hold
        for number in range(WAITING_LIMIT + 2):
            self.notes.notice(spec(f"r{number}"), URL)
        hold.callback(None)
        assert len(self.store.notes) == WAITING_LIMIT + 1, "one was under way"
        assert max(self.store.writes) <= AT_ONCE
        self.notes.notice(spec(f"r{WAITING_LIMIT + 1}"), URL)
        assert key(f"r{WAITING_LIMIT + 1}") in self.store.notes

    def test_it_ends_with_the_metaserver(self) -> None:
        self.reader.hold = Deferred()
        for revision in ("a", "b"):
            self.notes.notice(spec(revision), URL)
        self.successResultOf(Deferred.fromCoroutine(self.notes.stop()))
        assert self.reader.asked == ["a"]
        assert self.store.notes == {}
