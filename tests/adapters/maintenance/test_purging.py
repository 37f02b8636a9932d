"""What an operator takes away: whose artifacts are found, and that no file goes which is needed."""

from attrs import evolve
from twisted.internet.defer import Deferred

from buildtool.adapters.sql.operator_store import SqlOperatorStore
from buildtool.model.records import Artifact, Mail, RequestState
from tests.adapters.maintenance import states
from tests.adapters.maintenance.keeping import KeepingCase
from tests.adapters.maintenance.states import DIGEST, stored
from tests.support.inline import run


class FindingTests(KeepingCase):
    def setUp(self) -> None:
        super().setUp()
        self.history = SqlOperatorStore(self.database)

    def made(self) -> list[Artifact]:
        return list(run(self.store.artifacts_of(DIGEST)))

    def test_what_a_machine_made_is_found_a_few_at_a_time_and_what_is_withdrawn_is_not(self) -> None:
        (first, *_) = self.made()
        more = [evolve(first, id=first.id + 100 + number, server="anna") for number in range(5)]
        self.commit(*more, evolve(more[2], withdrawn="gone"))
        found, after = [], 0
        while page := run(self.history.artifacts_by("anna", after, 2)):
            assert len(page) <= 2
            found += [one.id for one in page]
            after = page[-1].id
        assert found == [more[number].id for number in (0, 1, 3, 4)]
        assert list(run(self.history.artifacts_by("nobody", 0, 10))) == []

    def test_mail_that_is_left_is_counted(self) -> None:
        before = run(self.history.mail_left())
        self.commit(Mail("k", "a@example.org", None, (), RequestState.WAITING, states.NOW, server="anna"))
        assert run(self.history.mail_left()) == (before[0] + 1, before[1])


class RemovingTests(KeepingCase):
    def named(self, said: bool) -> "Deferred[bool]":
        return Deferred.fromCoroutine(self.removal.remove_unless(DIGEST, lambda: self._say(said)))

    @staticmethod
    async def _say(said: bool) -> bool:
        return said

    def test_a_file_that_is_needed_stays(self) -> None:
        assert self.successResultOf(self.named(True)) is False
        assert stored(self.state).exists()

    def test_a_file_that_nobody_needs_goes_once(self) -> None:
        assert self.successResultOf(self.named(False)) is True
        assert not stored(self.state).exists()
        assert self.successResultOf(self.named(False)) is False

    def test_nothing_is_published_under_the_digest_while_it_is_asked_whether_it_is_needed(self) -> None:
        """What is published afterwards has a file of its own."""
        asked: Deferred[bool] = Deferred()

        async def ask() -> bool:
            return await asked

        removing = Deferred.fromCoroutine(self.removal.remove_unless(DIGEST, ask))
        publishing = Deferred.fromCoroutine(self.removal.publish(77, 1, DIGEST, stored(self.state).stat().st_size))
        self.assertNoResult(publishing)
        asked.callback(False)
        assert self.successResultOf(removing) is True
        self.failureResultOf(publishing)  # there was no upload: what it would have relied on is gone, and it is told
        assert not stored(self.state).exists()
