"""Who may end older requests of theirs by --supersede, and what of them: whoever proves who they are, and no others."""

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.errors import BuildToolError, Unauthorised, UsageError
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.model.records import Request, RequestState
from buildtool.protocol.messages import AskExplain, RequestStatus, Submit, SubmitTogether
from tests.metaserver.test_requests import World

EMAIL = "ann@example.org"
HERE = Principal(PrincipalRole.REQUESTER, address="192.0.2.1", trusted=True)
KEYED = Principal(PrincipalRole.REQUESTER, name="ann", owner=EMAIL, key="4f", address="198.51.100.9")


class SupersedingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.resolver.pushed = [f"{number:x}" * 40 for number in range(1, 9)]
        self.asked = 0

    def ask(self, by: Principal, *, supersede: bool = False, ref: str = "main") -> "Deferred[RequestStatus]":
        self.asked += 1
        message = Submit(f"{self.asked:032x}", "paint", EMAIL, "", ref, "", {}, {}, {}, supersede=supersede)
        return Deferred.fromCoroutine(self.world.service.submit(by, message))

    def states(self) -> list[RequestState]:
        rows = [row for row in self.world.store.rows.values() if isinstance(row, Request)]
        return [row.state for row in sorted(rows, key=lambda row: row.id)]

    def refused(self, kind: type[BuildToolError], by: Principal) -> str:
        return str(self.failureResultOf(self.ask(by, supersede=True), kind).value)

    def test_a_newer_commit_ends_what_the_same_key_asked_for_wherever_it_was(self) -> None:
        self.successResultOf(self.ask(KEYED))
        self.successResultOf(self.ask(evolve(KEYED, address="192.0.2.77"), supersede=True))
        assert self.states() == [RequestState.SUPERSEDED, RequestState.WAITING]

    def test_of_another_ref_nothing_ends(self) -> None:
        self.successResultOf(self.ask(KEYED))
        self.successResultOf(self.ask(KEYED, supersede=True, ref="release"))
        assert self.states() == [RequestState.WAITING] * 2

    def test_without_a_key_only_what_came_from_the_same_machine_ends_where_everybody_is_believed(self) -> None:
        self.successResultOf(self.ask(HERE))
        self.successResultOf(self.ask(evolve(HERE, address="192.0.2.2"), supersede=True))
        assert self.states() == [RequestState.WAITING] * 2
        self.successResultOf(self.ask(HERE, supersede=True))
        assert self.states() == [RequestState.SUPERSEDED, RequestState.WAITING, RequestState.WAITING]

    def test_who_proves_nothing_and_a_token_that_may_not_cancel_end_nothing(self) -> None:
        self.successResultOf(self.ask(KEYED))
        assert "no key says who you are" in self.refused(UsageError, Principal(PrincipalRole.OPERATOR))
        limited = evolve(KEYED, limits=Scope(acts=("submit",)))
        assert "may not cancel requests" in self.refused(Unauthorised, limited)
        assert self.states() == [RequestState.WAITING]

    def test_what_was_answered_is_answered_again_and_ends_nothing_more(self) -> None:
        first = self.successResultOf(self.ask(KEYED, supersede=True))
        self.successResultOf(self.ask(KEYED))
        self.asked = 0
        assert self.successResultOf(self.ask(KEYED, supersede=True)).request_id == first.request_id
        assert self.states() == [RequestState.WAITING] * 2

    def test_each_of_several_at_once_ends_its_own_older_one(self) -> None:
        self.successResultOf(self.ask(KEYED))
        items = tuple(
            Submit(f"{number:032x}", "paint", EMAIL, "", "main", "", {"colour": colour}, {}, {}, supersede=True)
            for number, colour in ((7, "red"), (8, "blue"))
        )
        told = self.successResultOf(
            Deferred.fromCoroutine(self.world.service.submit_together(KEYED, SubmitTogether(items)))
        )
        assert [one.state for one in told.items] == ["waiting"] * 2
        assert self.states() == [RequestState.SUPERSEDED, RequestState.WAITING, RequestState.WAITING]

    def test_what_would_be_answered_counts_with_the_place_of_what_would_end_and_ends_nothing(self) -> None:
        self.successResultOf(self.ask(KEYED))
        ask = AskExplain("paint", "", "main", "", {}, {}, {}, supersede=True)
        for by, ahead in ((KEYED, 0), (evolve(KEYED, name="bob", owner="bob@example.org", key="5e"), 1)):
            told = self.successResultOf(Deferred.fromCoroutine(self.world.service.explain(by, ask)))
            assert (told.verdict, told.ahead) == ("queued", ahead)
        assert self.states() == [RequestState.WAITING]
        limited = evolve(KEYED, limits=Scope(acts=("submit", "explain")))
        refused = self.failureResultOf(Deferred.fromCoroutine(self.world.service.explain(limited, ask)), Unauthorised)
        assert "may not cancel requests" in str(refused.value)
