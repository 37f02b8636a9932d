"""Many builds or requests are ended at once: exactly those that are meant and that the caller may end."""

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from buildtool.errors import StorageUnavailable, UnknownProject, UsageError
from buildtool.metaserver.operating.several import SeveralService
from buildtool.model.access.rights import RIGHTS
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.model.records import Mail, RequestState
from buildtool.protocol.operator import AbortSeveral, CancelSeveral, SeveralEnded
from tests.metaserver.test_build_servers import settings
from tests.metaserver.test_operations import ANN, OperatorCase
from tests.scheduling.worlds import spec, submitted
from tests.support.memory import full_disk

BEN = Principal(PrincipalRole.REQUESTER, "ben", owner="ben@example.org")
EVE = Principal(PrincipalRole.OBSERVER, "eve")
LUA = ("lua",)
PPC: Mapping[str, Any] = {"os": "linux", "arch": "ppc"}


class SeveralCase(OperatorCase):
    """A service over a broker with requests of two people for two platforms."""

    def setUp(self) -> None:
        super().setUp()
        self.several = SeveralService(self.broker, self.service.permissions)
        self.login("attic")
        for number, (email, platform) in enumerate(
            (("ben@example.org", None), ("eve@example.com", None), ("ben@example.org", PPC), ("eve@example.com", PPC))
        ):
            wanted = spec(number, platform=platform)
            self.done(self.broker.send(submitted(f"client{number}", wanted, email=email)))

    def cancelled(self, by: Principal, **message: Any) -> SeveralEnded:
        return self.done(self.several.cancel(by, CancelSeveral(**message)))

    def aborted(self, by: Principal, **message: Any) -> SeveralEnded:
        return self.done(self.several.abort(by, AbortSeveral(**message)))

    def open(self) -> set[int]:
        return set(self.broker.state.requests)


class CancellingTests(SeveralCase):
    """Requests that wait."""

    def test_first_it_is_said_how_many_and_then_these_end_and_no_newer_ones(self) -> None:
        told = self.cancelled(ANN, people=("Ben@EXAMPLE.org",), only_count=True)
        assert (told.words, told.count, told.until) == (("2 requests wait that you may cancel",), 2, 3)
        assert self.open() == {1, 2, 3, 4}
        self.done(self.broker.send(submitted("later", spec(4), email="ben@example.org")))
        self.done(self.broker.send(submitted("later2", spec(4), email="eve@example.com")))
        told = self.cancelled(ANN, people=("ben@example.org",), until=told.until, said=told.count)
        assert (told.words, told.count) == (("2 requests are cancelled",), 2)
        assert self.open() == {2, 4, 5, 6}

    def test_what_had_ended_meanwhile_is_said(self) -> None:
        told = self.cancelled(ANN, people=("ben@example.org",), until=1, said=2)
        assert told.words == ("1 request is cancelled", "1 other had ended meanwhile")

    def test_project_and_platform_and_person_are_all_to_be_right(self) -> None:
        told = self.cancelled(ANN, projects=LUA, platforms=("powerpc",), people=("eve@example.com",))
        assert told.count == 1
        assert self.open() == {1, 2, 3}
        assert self.cancelled(ANN, platforms=("sparc",)).words == ("0 requests are cancelled",)

    def test_somebody_else_s_is_mailed_with_the_reason_but_not_who_and_it_is_written_down_who(self) -> None:
        self.cancelled(ANN, projects=LUA, platforms=("ppc",), people=("eve@example.com",), reason="she left")
        (mail,) = self.store.all(Mail)
        assert (mail.email, mail.outcome) == ("eve@example.com", RequestState.CANCELLED)
        ended = self.done(self.store.request(4))
        assert ended is not None
        assert ended.reason == "cancelled by the operator: she left"
        assert self.events("request-aborted") == [f"cancelled by the operator: she left; by {ANN.name}"]

    def test_one_s_own_are_not_mailed(self) -> None:
        assert self.cancelled(BEN, projects=LUA).count == 2
        assert not self.store.all(Mail)

    def test_a_requester_ends_their_own_only_and_is_told_how_many_are_left_alone(self) -> None:
        told = self.cancelled(BEN, projects=LUA)
        left = "2 others are left alone: you have no right to end them"
        assert (told.words, told.left) == (("2 requests are cancelled", left), 2)
        assert self.open() == {2, 4}

    def test_whether_somebody_else_asked_for_anything_is_told_to_who_may_know_only(self) -> None:
        assert self.cancelled(BEN, people=("eve@example.com",), only_count=True).left == 0
        rights = RIGHTS.with_changes({"observer": {"cancel several": "all"}})
        self.service.configuration.settings = evolve(self.service.configuration.settings, rights=rights)
        assert self.cancelled(EVE, people=("eve@example.com",), only_count=True).left == 2

    def test_what_somebody_may_not_know_of_is_neither_ended_nor_counted(self) -> None:
        lua = evolve(self.service.configuration.settings.projects[0], visible_to=["@example.com"])
        self.service.configuration.settings = evolve(settings(), projects=(lua,))
        assert self.cancelled(BEN, platforms=("ppc",)) == SeveralEnded(("0 requests are cancelled",), 0)
        assert isinstance(self.failureResultOf(self.late(BEN, projects=LUA)).value, UnknownProject)

    def test_a_key_that_is_limited_ends_what_is_within(self) -> None:
        limited = evolve(ANN, limits=Scope(platforms=("ppc",)))
        told = self.cancelled(limited, projects=LUA)
        assert (told.count, told.left, self.open()) == (2, 0, {1, 2})

    def test_a_rule_for_a_platform_holds(self) -> None:
        rights = RIGHTS.with_changes({"everybody": {"cancel several on ppc": "nothing"}})
        self.service.configuration.settings = evolve(self.service.configuration.settings, rights=rights)
        assert self.cancelled(ANN, projects=LUA).left == 2
        assert self.open() == {3, 4}

    def test_all_of_everybody_is_not_ended_at_once(self) -> None:
        assert "say of which project" in str(self.failureResultOf(self.late(ANN), UsageError).value)
        assert "unknown project 'luu': did you mean lua?" in str(
            self.failureResultOf(self.late(ANN, projects=("luu",)), UnknownProject).value
        )
        assert "did you mean 'ppc'" in str(self.failureResultOf(self.late(ANN, platforms=("pcc",)), UsageError).value)

    def test_one_call_ends_no_more_than_it_may_and_says_that_there_are_more(self) -> None:
        self.several.most = 3
        told = self.cancelled(ANN, projects=LUA, said=4)
        assert (told.count, told.more, len(told.words)) == (3, True, 1)
        told = self.cancelled(ANN, projects=LUA, said=1)
        assert (told.count, told.more, self.open()) == (1, False, set())

    def test_a_full_disk_is_one_line_that_says_how_many_had_ended(self) -> None:
        self.store.problems = [full_disk()] * 4
        said = str(self.failureResultOf(self.late(ANN, projects=LUA), StorageUnavailable).value)
        assert "0 of 4 had ended before: say the same again" in said
        assert self.open() == {1, 2, 3, 4}

    def late(self, by: Principal, **message: Any) -> Deferred[SeveralEnded]:
        return Deferred.fromCoroutine(self.several.cancel(by, CancelSeveral(**message)))


class AbortingTests(SeveralCase):
    """Builds that are open."""

    def test_first_it_is_said_how_many_and_who_waits_and_then_they_end(self) -> None:
        told = self.aborted(ANN, platforms=("linux-ppc",), only_count=True)
        assert told.words == ("2 builds are open that you may abort; 2 requests wait for them",)
        assert told.until == max(self.broker.state.builds)
        told = self.aborted(ANN, platforms=("linux-ppc",), reason="no such machine", said=2, until=told.until)
        assert told.words == ("2 builds are aborted; 2 requests are told",)
        assert self.open() == {1, 2}
        assert {mail.email for mail in self.store.all(Mail)} == {"ben@example.org", "eve@example.com"}
        assert set(self.events("build-aborted")) == {f"aborted by the operator: no such machine; by {ANN.name}"}

    def test_those_of_a_person_are_what_they_wait_for(self) -> None:
        assert self.aborted(ANN, people=("eve@example.com",)).count == 2
        assert self.open() == {1, 3}

    def test_who_may_not_abort_at_all_ends_nothing(self) -> None:
        told = self.aborted(BEN, projects=LUA)
        assert (told.count, told.left, self.open()) == (0, 4, {1, 2, 3, 4})

    def test_an_owner_whom_the_table_lets_ends_what_runs_on_their_own_machines(self) -> None:
        rights = RIGHTS.with_changes({"requester": {"abort": "own", "abort several": "own"}})
        self.service.configuration.settings = evolve(self.service.configuration.settings, rights=rights)
        self.service.permissions.owner_of = {"attic": "ben@example.org"}.get  # type: ignore[assignment]
        told = self.aborted(BEN, projects=LUA)
        assert (told.count, told.left, self.open()) == (1, 3, {2, 3, 4})


@given(st.sets(st.sampled_from(["ppc", "x86_64"])), st.sets(st.sampled_from([BEN.owner, "eve@example.com"])))
def test_a_requester_never_ends_what_is_not_theirs(platforms: set[str], people: set[str]) -> None:
    case = SeveralCase()
    case.setUp()
    before = {one.id: one.email for one in case.broker.state.requests.values()}
    case.cancelled(BEN, projects=LUA, platforms=tuple(platforms), people=tuple(people))
    assert all(before[one] == BEN.owner for one in before.keys() - case.open())
