"""What an operator asks for: what is shown, what each act changes, and what is said where nothing can be done."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import NotFound, StillThere, Unauthorised, UnknownProject, UsageError
from buildtool.metaserver import operations
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.farm_status import WAITING_SHOWN, FarmStatusReader
from buildtool.metaserver.operating.machines import MachineService
from buildtool.metaserver.operations import OperatorService
from buildtool.model.access.rights import RIGHTS
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.model.records import Artifact, Attempt, AttemptEnd, Mail, Request, RequestState
from buildtool.programs.operating.acts import status_lines
from buildtool.project import Project, Recipe
from buildtool.protocol.codec import decode, encode
from buildtool.protocol.operator import (
    AbortBuild,
    ActionResult,
    AskFarmStatus,
    Drain,
    DrainServer,
    FarmStatus,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
)
from buildtool.scheduling.answers import Dispatched, KnownFailure, Queued
from buildtool.scheduling.events import AttemptAccepted, AttemptEnded, Disconnected, Registered
from buildtool.scheduling.state.state import State
from tests.fakes_build import plan
from tests.metaserver.deliveries import deliver_all
from tests.metaserver.test_build_servers import settings
from tests.scheduling.broker import key_of
from tests.scheduling.worlds import OPTIONS, POLICIES, REVISIONS, machine, spec, submitted
from tests.support.memory import MemoryFiles, MemoryStore, Performed, WallClock, full_disk

T = TypeVar("T")
ANN = Principal(PrincipalRole.OPERATOR, "ann (uid 7)")
CLIENT = "c" * 32


@define
class History:
    """``ports.OperatorStore`` over what a MemoryStore holds."""

    store: MemoryStore
    mails: tuple[int, int] = (0, 0)
    problem: Exception | None = None
    returned: dict[int, str] = field(factory=dict)

    async def mail_left(self) -> tuple[int, int]:
        if self.problem is not None:
            raise self.problem
        return self.mails

    async def oldest_mail(self) -> float | None:
        if self.problem is not None:
            raise self.problem
        return min((one.created_at for one in self.store.all(Mail)), default=None)

    async def mail_returned(self, request_id: int, reason: str) -> int:
        requests = {one.id: one for one in self.store.all(Request)}
        found = requests[request_id]
        alike = [one.id for one in requests.values() if (one.email, one.build_id) == (found.email, found.build_id)]
        self.returned |= dict.fromkeys(alike, reason)
        return len(alike)

    async def artifacts_by(self, server: str, after: int, limit: int) -> list[Artifact]:
        made = [one for one in self.store.all(Artifact) if one.server == server and not one.withdrawn]
        return sorted((one for one in made if one.id > after), key=lambda one: one.id)[:limit]


@define
class Troubles:
    """``ports.Conditions`` as a test says."""

    lines: tuple[str, ...] = ()

    def problems(self) -> tuple[str, ...]:
        return self.lines


class OperatorCase(SynchronousTestCase):
    """A service over a broker, and in-memory stores."""

    def setUp(self) -> None:
        self.store, self.files, self.wall = MemoryStore(), MemoryFiles(), WallClock()
        self.broker = Broker(State(POLICIES), self.store, self.wall, Clock(), self.files, Performed())
        self.history, self.troubles = History(self.store), Troubles()
        self.done(self.broker.start())
        lua = Project("lua", OPTIONS, Recipe(4, plan), lambda _source: "https://git.example/lua.git")
        deployment = CurrentConfiguration(evolve(settings(), projects=(lua,)))
        farm = FarmStatusReader(self.broker, self.history, self.troubles, self.wall)
        self.service = OperatorService(deployment, self.broker, self.store, self.history, self.files, self.wall, farm)
        self.machines = MachineService(self.broker, self.service.permissions)

    def done(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def refused(self, coroutine: Coroutine[Any, Any, ActionResult], error: type[Exception] = NotFound) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(coroutine), error).value)

    def login(self, name: str, **more: Any) -> None:
        self.done(self.broker.send(Registered(name, machine(**more))))

    def ask(self, number: int, **more: Any) -> Any:
        return self.done(self.broker.send(submitted(f"client{number}", spec(number), **more)))

    def built(self, number: int) -> Artifact:
        """Have a revision built by whoever is free."""
        self.ask(number)
        deliver_all(self.broker)
        return max(self.store.all(Artifact), key=lambda one: one.id)

    def attempt(self) -> Attempt:
        (found,) = self.broker.state.attempts.values()
        return found

    def standing(self) -> FarmStatus:
        told = self.done(self.service.farm_status(ANN, AskFarmStatus()))
        assert decode(FarmStatus, encode(told)) == told
        return told

    def events(self, kind: str) -> list[str]:
        return [one.detail for one in self.store.happened if one.kind == kind]


class StandingTests(OperatorCase):
    def test_counts_are_exact_and_servers_say_how_they_stand_and_why(self) -> None:
        for name in ("anna", "bert", "cleo"):
            self.login(name)
        self.ask(0)
        self.done(self.machines.pause(ANN, PauseServer("bert", "no disk")))
        self.done(self.broker.send(Disconnected("cleo", 1, "gone")))
        self.wall.now += 90
        self.history.mails, self.troubles.lines = (3, 1), ("the disk is full",)
        told = self.standing()
        assert (told.builds_running, told.builds_waiting, told.requests) == (1, 0, 1)
        assert (told.servers_connected, told.servers_known) == (2, 3)
        assert (told.mail_unsent, told.mail_refused, told.problems) == (3, 1, ("the disk is full",))
        stand = {one.server: (one.state, one.reason) for one in told.stands}
        assert stand["bert"] == ("paused", "no disk")
        assert stand["cleo"] == ("missing", "last heard of 90 s ago")
        assert {one.state for one in told.stands} == {"building", "paused", "missing"}
        (run,) = told.running
        assert (run.project, run.revision, run.seconds) == ("lua", REVISIONS[0], 90.0)

    def test_it_is_told_too_while_the_database_cannot_be_read(self) -> None:
        self.login("anna")
        self.history.problem = full_disk()
        told = self.standing()
        assert (told.servers_connected, told.mail_unsent) == (1, None)
        assert told.problems == ("the database cannot be read: database or disk is full",)
        assert "how much mail is left is not known" in status_lines(told)[0]
        self.troubles.lines = (f"{full_disk()}; nothing is accepted any more",)
        assert self.standing().problems == self.troubles.lines, "it is told once"

    def test_what_waits_is_told_in_the_order_of_the_queue_with_the_reasons(self) -> None:
        for number in (2, 0, 1):
            self.ask(number)
        told = self.standing()
        assert [one.revision for one in told.waiting] == [REVISIONS[number] for number in (2, 0, 1)]
        assert "no build server has ever registered" in told.waiting[0].why[0]

    def test_the_list_of_what_waits_is_bounded_and_the_count_is_not(self) -> None:
        for number in range(WAITING_SHOWN + 5):
            wanted = spec(platform={"os": "linux", "arch": "ppc", "libc_version": f"2.{99 - number}"})
            self.done(self.broker.send(submitted(f"client{number}", wanted)))
        told = self.standing()
        assert (told.builds_waiting, len(told.waiting)) == (WAITING_SHOWN + 5, WAITING_SHOWN)


class ServerTests(OperatorCase):
    def test_a_pause_is_written_down_with_who_did_it_and_is_told_when_it_was_so_already(self) -> None:
        self.login("anna")
        acted = self.done(self.machines.pause(ANN, PauseServer("anna", "its  disk\nis full")))
        assert acted == ActionResult(("build server anna is paused: its disk is full",))
        assert self.events("server-paused") == [f"its disk is full; by {ANN.name}"]
        assert isinstance(self.ask(0), Queued)
        assert not self.done(self.machines.pause(ANN, PauseServer("anna", "its disk is full"))).changed
        assert self.done(self.machines.resume(ANN, ResumeServer("anna"))).changed
        assert self.attempt().server == "anna"
        assert not self.done(self.machines.resume(ANN, ResumeServer("anna"))).changed

    def test_a_server_that_is_drained_finishes_what_it_has_and_that_is_written_down_and_said(self) -> None:
        self.login("anna", max_builds=2)
        self.ask(0)
        self.ask(1)
        told = self.done(self.machines.drain(ANN, DrainServer("anna", "no disk")))
        assert told.words == ("build server anna takes nothing more; 2 builds are finished first",)
        assert (told.count, self.standing().stands[0].state) == (2, "draining")
        assert isinstance(self.ask(2), Queued)
        assert not self.events("server-drained")
        deliver_all(self.broker)
        look = DrainServer("anna", only_look=True)
        told = self.done(self.machines.drain(ANN, look))
        assert told.words == (
            "build server anna is drained: nothing runs there, and it takes nothing until it is resumed",
        )
        assert (told.count, self.standing().stands[0].state) == (0, "paused")
        assert self.events("server-drained") == ["no disk"]
        assert len(self.broker.state.builds) == 1, "what waits is not begun"
        assert not self.done(self.machines.drain(ANN, DrainServer("anna", "no disk"))).changed
        self.done(self.machines.resume(ANN, ResumeServer("anna")))
        assert self.done(self.machines.drain(ANN, look)).words == (
            "build server anna was resumed: it takes builds again",
        )
        assert self.attempt().server == "anna"

    def test_one_that_does_nothing_is_drained_at_once_and_after_a_restart_it_still_is(self) -> None:
        self.login("anna")
        assert self.done(self.machines.drain(ANN, DrainServer("anna"))).count == 0
        assert self.events("server-drained") == ["by the operator"]
        self.login("anna")
        assert isinstance(self.ask(0), Queued)

    def test_what_runs_on_a_paused_server_goes_on_and_is_counted(self) -> None:
        self.login("anna")
        self.ask(0)
        (words,) = self.done(self.machines.pause(ANN, PauseServer("anna", ""))).words
        assert words == "build server anna is paused: by the operator; what runs there goes on (1)"
        assert self.attempt().server == "anna"

    def test_one_that_is_connected_or_may_bring_a_build_is_not_forgotten_and_what_to_do_is_said(self) -> None:
        self.login("anna")
        self.ask(0)
        said = self.refused(self.machines.forget(ANN, ForgetServer("anna")), StillThere)
        assert "is connected and would be known again at once: stop it there first, or" in said
        assert "(pause anna)" in said
        self.done(self.broker.send(Disconnected("anna", 1, "gone")))
        said = self.refused(self.machines.forget(ANN, ForgetServer("anna")), StillThere)
        assert "may still bring what it was building (1): wait until it is missed, or" in said
        assert "(abort BUILD)" in said
        self.login("bert")
        self.done(self.broker.send(Disconnected("bert", 1, "gone", clean=True)))
        assert self.done(self.machines.forget(ANN, ForgetServer("bert"))).changed
        assert self.events("server-forgotten") == [f"by {ANN.name}"]
        assert "known: anna" in self.refused(self.machines.forget(ANN, ForgetServer("bert")))

    def test_a_server_that_there_is_not_is_refused_with_those_that_there_are(self) -> None:
        self.login("bert")
        self.login("anna")
        said = self.refused(self.machines.pause(ANN, PauseServer("ana", "")))
        assert said == "there is no build server 'ana': did you mean anna? known: anna, bert"
        assert "known: anna, bert" in self.refused(self.machines.resume(ANN, ResumeServer("ana")))


class BuildTests(OperatorCase):
    def test_who_waits_for_an_aborted_build_is_mailed_the_reason_but_not_who_it_was(self) -> None:
        self.login("anna")
        self.ask(0)
        acted = self.done(self.service.abort(ANN, AbortBuild(1, "wrong branch")))
        assert acted.words == ("build 1 is aborted; 1 request is told",)
        (request,) = self.store.all(Request)
        assert (request.state, request.reason) == (
            RequestState.CANCELLED,
            "aborted by the operator: wrong branch",
        )
        assert [mail.email for mail in self.store.all(Mail)] == ["user@example.org"]
        assert self.events("build-aborted") == [f"aborted by the operator: wrong branch; by {ANN.name}"]

    def test_a_build_that_is_not_open_is_refused_with_how_it_ended(self) -> None:
        self.login("anna")
        self.built(0)
        assert self.refused(self.service.abort(ANN, AbortBuild(1, ""))) == "build 1 is not open: it succeeded"
        assert self.refused(self.service.abort(ANN, AbortBuild(9, ""))) == "there is no build 9"

    def test_a_build_is_built_again_with_the_recipe_as_it_is_now_and_nobody_is_mailed(self) -> None:
        self.login("anna")
        self.built(0)
        acted = self.done(self.service.rebuild(ANN, RebuildBuild(1, "", CLIENT)))
        assert acted.build_id == 2
        build = self.broker.state.builds[2]
        assert (build.spec.revision, build.spec.recipe_version, build.forced) == (REVISIONS[0], 4, True)
        (request,) = self.broker.state.requests.values()
        assert request.email == ""
        assert self.events("request-queued") == [f"by {ANN.name}"]

    def test_the_same_act_sent_again_is_done_once(self) -> None:
        self.login("anna")
        self.built(0)
        message = RebuildBuild(1, "ann@example.org", CLIENT)
        first = self.done(self.service.rebuild(ANN, message))
        assert self.done(self.service.rebuild(ANN, message)) == first
        assert [one.email for one in self.broker.state.requests.values()] == ["ann@example.org"]

    def test_what_cannot_be_built_again_is_refused_by_name(self) -> None:
        self.login("anna")
        self.built(0)
        assert "'no address'" in self.refused(
            self.service.rebuild(ANN, RebuildBuild(1, "no address", CLIENT)), UsageError
        )
        assert "there is no build 8" in self.refused(self.service.rebuild(ANN, RebuildBuild(8, "", CLIENT)))
        self.service.configuration.settings = settings()
        assert "'lua'" in self.refused(self.service.rebuild(ANN, RebuildBuild(1, "", CLIENT)), UnknownProject)

    def test_a_failure_is_forgotten_once(self) -> None:
        self.login("anna")
        asked = self.ask(0)
        assert isinstance(asked, Dispatched)
        self.done(self.broker.send(AttemptAccepted("anna", 1, 1, 1)))
        self.done(self.broker.send(AttemptEnded("anna", 1, 1, 1, AttemptEnd.FAILED, "make failed")))
        again = submitted("again", spec(0))
        assert isinstance(self.done(self.broker.send(again)), KnownFailure)
        assert self.done(self.service.forget(ANN, ForgetFailure(1))).build_id == 1
        assert self.events("failure-forgotten") == [f"by {ANN.name}"]
        assert isinstance(self.done(self.broker.send(submitted("once more", spec(0)))), Dispatched)
        said = self.refused(self.service.forget(ANN, ForgetFailure(1)))
        assert said.startswith("no failure of build 1 is remembered: it failed; a mistake of the project is never")


class PurgeTests(OperatorCase):
    def test_a_purged_artifact_is_given_out_no_more_and_its_file_goes(self) -> None:
        self.login("anna")
        artifact = self.built(0)
        acted = self.done(self.service.purge(ANN, PurgeArtifact(str(artifact.id), "it was infected")))
        assert acted.words == ("1 artifact is no longer given out; 1 file is deleted",)
        (row,) = self.store.all(Artifact)
        assert row.withdrawn == "purged by the operator: it was infected"
        assert self.files.removed == [artifact.digest]
        assert self.events("artifact-withdrawn") == [f"{row.withdrawn}; by {ANN.name}"]
        assert isinstance(self.done(self.broker.send(submitted("again", spec(0)))), Dispatched)

    def test_an_artifact_that_was_purged_before_is_said_to_have_been(self) -> None:
        self.login("anna")
        artifact = self.built(0)
        self.done(self.service.purge(ANN, PurgeArtifact(str(artifact.id), "it was infected")))
        (first, *_) = self.done(self.service.purge(ANN, PurgeArtifact(str(artifact.id), ""))).words
        before = "it was withdrawn before: purged by the operator: it was infected"
        assert first == f"artifact {artifact.id} is given out no more, since {before}"

    def test_a_file_stays_while_another_artifact_has_the_same_bytes(self) -> None:
        self.login("anna")
        first, second = self.built(0), self.built(1)
        same = evolve(second, digest=first.digest)
        self.store.rows[key_of(second)] = same
        acted = self.done(self.service.purge(ANN, PurgeArtifact(str(first.id), "")))
        assert acted.words == ("1 artifact is no longer given out; 0 files are deleted",)
        assert self.files.removed == []
        assert self.done(self.service.purge(ANN, PurgeArtifact(first.digest, ""))).count == 1
        assert self.files.removed == [first.digest]

    def test_everything_that_a_machine_made_goes_and_nothing_of_others(self) -> None:
        self.login("anna")
        made = [self.built(number) for number in range(3)]
        self.done(self.machines.pause(ANN, PauseServer("anna", "")))
        self.login("bert")
        other = self.built(3)
        acted = self.done(self.service.purge_built_by(ANN, PurgeBuiltBy("anna", "")))
        assert (acted.count, sorted(self.files.removed)) == (3, sorted(one.digest for one in made))
        assert [one.id for one in self.store.all(Artifact) if not one.withdrawn] == [other.id]
        assert "'anna'" in self.refused(self.service.purge_built_by(ANN, PurgeBuiltBy("anna", "")))

    def test_nothing_that_a_machine_made_goes_where_one_thing_of_it_may_not(self) -> None:
        self.patch(operations, "AT_ONCE", 1)
        self.login("anna")
        last = [self.built(number) for number in range(3)][-1]
        self.store.rows[key_of(last)] = evolve(last, shelf=last.shelf._replace(project="kept"))
        current = self.service.configuration
        current.settings = evolve(
            current.settings, rights=RIGHTS.with_changes({"operator": {"purge": "nothing"}}, "kept")
        )
        self.refused(self.service.purge_built_by(ANN, PurgeBuiltBy("anna", "")), Unauthorised)
        assert not [one for one in self.store.all(Artifact) if one.withdrawn]
        assert self.files.removed == []

    def test_what_is_no_artifact_is_refused(self) -> None:
        assert "64 hex digits" in self.refused(self.service.purge(ANN, PurgeArtifact("../key", "")), UsageError)
        for name in ("7", "a" * 64):
            assert self.refused(self.service.purge(ANN, PurgeArtifact(name, ""))) == f"no artifact {name} is given out"


class DrainTests(OperatorCase):
    def test_it_ends_once_nothing_runs_and_not_before(self) -> None:
        self.login("anna")
        self.ask(0)
        assert self.done(self.service.drain(ANN, Drain(on=True))).count == 1
        assert isinstance(self.ask(1), Queued)
        assert self.service.drained() == ""
        assert self.standing().draining
        deliver_all(self.broker)
        assert ANN.name in self.service.drained()
        assert len(self.broker.state.builds) == 1, "what waits is not begun"

    def test_it_can_be_taken_back(self) -> None:
        self.login("anna")
        self.done(self.service.drain(ANN, Drain(on=True)))
        assert isinstance(self.ask(0), Queued)
        self.done(self.service.drain(ANN, Drain(on=False)))
        assert self.service.drained() == ""
        assert self.attempt().server == "anna"
        assert self.events("dispatch-held") == self.events("dispatch-resumed") == [f"by {ANN.name}"]
        assert not self.done(self.service.drain(ANN, Drain(on=False))).changed


class OwnerTests(OperatorCase):
    """What the owner of build servers may do: to their own machines, and to nobody else's."""

    BEN = Principal(PrincipalRole.REQUESTER, "ben", owner="ben@example.org")
    BENS = Principal(PrincipalRole.BUILD_SERVER, "attic", owner="ben@example.org")

    def setUp(self) -> None:
        super().setUp()
        self.service.permissions.owner_of = {"attic": "ben@example.org", "cellar": "eve@example.com"}.get  # type: ignore[assignment]
        self.login("attic")

    def test_they_pause_and_resume_their_own_and_it_is_written_down_who(self) -> None:
        self.login("cellar")
        said = self.done(self.machines.pause(self.BEN, PauseServer("attic", ""))).words
        assert said == ("build server attic is paused: by its owner",)
        assert self.broker.state.servers["attic"].paused == "by its owner"
        self.done(self.machines.resume(self.BEN, ResumeServer("attic")))
        assert "is drained" in self.done(self.machines.drain(self.BEN, DrainServer("attic"))).words[0]
        self.done(self.machines.resume(self.BEN, ResumeServer("attic")))
        cellar = PauseServer("cellar", ""), ResumeServer("cellar")
        for act in (
            self.machines.pause(self.BEN, cellar[0]),
            self.machines.resume(self.BEN, cellar[1]),
            self.machines.drain(self.BEN, DrainServer("cellar")),
        ):
            said_no = self.refused(act, Unauthorised)
            assert said_no == (
                "ben (requester) may pause build servers that are their own, and this is not: whoever is operator may"
            )
        assert not self.broker.state.servers["cellar"].paused

    def test_a_key_that_is_called_as_a_machine_of_somebody_else_does_not_own_that(self) -> None:
        self.login("cellar")
        called = Principal(PrincipalRole.REQUESTER, "cellar", owner="ben@example.org")
        self.refused(self.machines.pause(called, PauseServer("cellar", "")), Unauthorised)
        self.refused(self.machines.drain(called, DrainServer("cellar")), Unauthorised)

    def test_they_rebuild_what_their_machines_built_and_are_told_themselves(self) -> None:
        mine = self.built(1)
        told = self.done(self.service.rebuild(self.BEN, RebuildBuild(mine.build_id, "", "a" * 32)))
        assert "ben@example.org is mailed" in told.words[0]
        deliver_all(self.broker)
        self.done(self.broker.send(Disconnected("attic", 1, "gone")))
        self.login("cellar")
        other = self.built(2)
        assert other.server == "cellar"
        self.refused(self.service.rebuild(self.BEN, RebuildBuild(other.build_id, "", "b" * 32)), Unauthorised)
        named = self.service.rebuild(self.BEN, RebuildBuild(mine.build_id, "eve@example.com", "c" * 32))
        self.refused(named, Unauthorised)

    def test_what_is_the_operator_s_alone_they_may_not(self) -> None:
        self.ask(3)
        (build,) = self.broker.state.builds
        for act in (
            self.service.abort(self.BEN, AbortBuild(build, "")),
            self.service.drain(self.BEN, Drain(on=True)),
            self.machines.forget(self.BEN, ForgetServer("attic")),
            self.service.forget(self.BEN, ForgetFailure(build)),
        ):
            self.refused(act, Unauthorised)

    def test_a_limited_operator_ends_what_is_within_and_leaves_the_farm_alone(self) -> None:
        limited = Principal(PrincipalRole.OPERATOR, "zoe", limits=Scope(projects=("other",)))
        self.ask(3)
        (build,) = self.broker.state.builds
        assert "no build" in self.refused(self.service.abort(limited, AbortBuild(build, "")))
        self.refused(self.service.drain(limited, Drain(on=True)), Unauthorised)
        self.refused(self.machines.pause(limited, PauseServer("attic", "")), Unauthorised)
        self.done(self.service.abort(evolve(limited, limits=Scope(projects=("lua",))), AbortBuild(build, "")))

    def test_the_status_leaves_out_what_somebody_may_not_know_of(self) -> None:
        lua = evolve(self.service.configuration.settings.projects[0], visible_to=["@example.org"])
        self.service.configuration.settings = evolve(settings(), projects=(lua,))
        self.ask(3)
        self.ask(4)
        stranger = Principal(PrincipalRole.REQUESTER, "eve", owner="eve@example.com")
        told = self.done(self.service.farm_status(stranger, AskFarmStatus()))
        assert (told.builds_running, told.builds_waiting) == (1, 1)
        assert "lua" not in str(told)
        assert "lua" in str(self.done(self.service.farm_status(self.BEN, AskFarmStatus())))
