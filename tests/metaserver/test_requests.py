"""What requesters ask for: what is taken is bounded, whoever asks."""

import weakref
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any

from attrs import define, evolve, field, frozen
from hypothesis import given
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.concurrency.bounded_cache import BoundedCache
from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import (
    BuildToolError,
    Conflict,
    NotFound,
    Overloaded,
    RecipeMistake,
    StorageUnavailable,
    Unauthorised,
    UnknownProject,
    UsageError,
)
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.demands import body_digest
from buildtool.metaserver.explanations import Explainer
from buildtool.metaserver.farm_status import VEILED
from buildtool.metaserver.request_status import PublicUrls, RequestStatusReader
from buildtool.metaserver.requests import PROBLEMS_TOLD, WANTED_TOGETHER, RequestService
from buildtool.model.access.rights import RIGHTS
from buildtool.model.farm.backups import LastBackup
from buildtool.model.incarnations import Keys
from buildtool.model.options import canonical, digest_of, text
from buildtool.model.platforms import Value
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.model.project_options import ProjectOptions
from buildtool.model.records import AnsweredRequest
from buildtool.model.servers import Capability, Offer, ProjectSkill
from buildtool.model.tickets import cancel_token
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.project.definition import Project
from buildtool.protocol.codec import decode, encode
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.messages import (
    AskBuild,
    AskExplain,
    AskHealth,
    AskStatus,
    AskWhy,
    Cancel,
    Explanation,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
)
from buildtool.scheduling.events import Registered
from buildtool.scheduling.state.state import State
from tests import messages
from tests.adapters.control.wires import turn
from tests.fakes_build import COMMIT, project
from tests.metaserver.test_build_servers import settings
from tests.support.memory import MemoryFiles, MemoryStore, Performed, WallClock, full_disk

ANN = Principal(PrincipalRole.REQUESTER, address="192.0.2.1", trusted=True)
ANY = Capability((Offer(canonical({"os": "linux", "arch": "x86_64"})),), (), ())


@define
class Resolver:
    """``ports.SourceResolver``: a ref is one commit, or at each look the next in ``pushed``; ranges accept so many.

    Of ``strange`` commits no trusted ref knows.
    """

    hold: Deferred[None] | None = None
    near: int = 10
    pushed: list[str] = field(factory=list)
    strange: set[str] = field(factory=set)

    async def resolve(self, url: str, ref: str) -> str:
        if self.hold is not None:
            await self.hold
        return self.pushed.pop(0) if self.pushed else COMMIT

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        return commit not in self.strange

    async def acceptable(self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF) -> tuple[str, ...]:
        return (commit, *(f"{number:040x}" for number in range(self.near - 1)))

    async def older(
        self, url: str, ref: str, commit: str, among: Collection[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        return frozenset(one for one in among if one[0] == ref and one[1] != commit)

    async def pin(self, url: str, commit: str) -> None:
        return None

    async def refs(self, url: str) -> tuple[str, ...]:
        return ("main", "v1.0")


@define
class World:
    """A service over a broker and in-memory stores."""

    store: MemoryStore = field(factory=MemoryStore)
    resolver: Resolver = field(factory=Resolver)
    service: RequestService = field(init=False)

    def __attrs_post_init__(self) -> None:
        one = project()
        state, wall = State({one.name: one.scheduling()}), WallClock()
        broker = Broker(state, self.store, wall, Clock(), MemoryFiles(), Performed())
        assert Deferred.fromCoroutine(broker.start()).called
        deployment = CurrentConfiguration(evolve(settings(), projects=(one,)))
        status_reader = RequestStatusReader(state, self.store, PublicUrls(deployment), Keys(b"k" * 32), wall.wall)
        explainer = Explainer(state, self.store, status_reader)
        self.service = RequestService(
            deployment,
            broker,
            self.store,
            self.resolver,
            status_reader,
            explainer,
            broker,
            open_limit=3,
            wanted_limit=25,
        )

    def submit(self, number: int, revrange: str = "") -> Deferred[RequestStatus]:
        message = Submit(f"{number:032x}", "paint", "ann@example.org", "", "", revrange, {}, {}, {})
        return Deferred.fromCoroutine(self.service.submit(ANN, message))


class RoomTests(SynchronousTestCase):
    def test_so_many_wait_and_no_more_until_one_has_gone(self) -> None:
        world = World()
        told = [self.successResultOf(world.submit(number)) for number in range(3)]
        assert "3 requests wait" in str(self.failureResultOf(world.submit(3), Overloaded).value)
        assert self.successResultOf(world.submit(2)) == told[2], "sent again it is no further one"
        self.successResultOf(
            Deferred.fromCoroutine(world.service.cancel(ANN, Cancel(told[0].request_id, told[0].token)))
        )
        self.successResultOf(world.submit(3))

    def test_a_range_takes_the_room_of_all_that_it_accepts(self) -> None:
        world = World()
        for number in range(2):
            self.successResultOf(world.submit(number, "9"))
        self.failureResultOf(world.submit(2, "9"), Overloaded)
        self.successResultOf(world.submit(3))

    def test_what_is_asked_for_at_once_accepts_a_bounded_number_of_revisions_in_all(self) -> None:
        """It is one event, decided without a pause: that many ask together for a thousand each would be a long one."""
        world = World()
        world.service.open_limit = world.service.wanted_limit = 1_000_000
        items = [
            Submit(f"{number:032x}", "paint", "ann@example.org", "", "", "9", {}, {}, {}) for number in range(TOGETHER)
        ]
        self.successResultOf(Deferred.fromCoroutine(world.service.submit_together(ANN, SubmitTogether(tuple(items)))))
        world.resolver.near = WANTED_TOGETHER // TOGETHER + 1
        again = tuple(evolve(item, client_id=f"{1_000 + number:032x}") for number, item in enumerate(items))
        asked = Deferred.fromCoroutine(world.service.submit_together(ANN, SubmitTogether(again)))
        assert "ask with a smaller --revrange" in str(self.failureResultOf(asked, UsageError).value)

    def test_builds_of_a_bounded_number_of_kinds_wait_and_more_of_the_same_may(self) -> None:
        world = World()
        world.service.open_limit, world.service.kinds_limit = 1_000, 2

        def ask(number: int, arch: str) -> Deferred[RequestStatus]:
            message = Submit(f"{number:032x}", "paint", "ann@example.org", "", "", "", {}, {}, {"arch": arch})
            return Deferred.fromCoroutine(world.service.submit(ANN, message))

        for number, arch in enumerate(("x86_64", "ppc", "x86_64")):
            self.successResultOf(ask(number, arch))
        assert "platforms and machines wait" in str(self.failureResultOf(ask(9, "aarch64"), Overloaded).value)
        self.successResultOf(ask(10, "ppc"))


class MemoryTests(SynchronousTestCase):
    """What a requester sends beside what the project looks at costs no memory for longer than it takes to read it."""

    def test_the_same_wish_is_remembered_once_whatever_is_sent_with_it(self) -> None:
        world = World()
        ask = AskExplain("paint", "", COMMIT, "", {}, {}, {"arch": "x86_64"})
        for number in range(300):
            local: dict[str, Value] = {"arch": "x86_64", f"p{number}": "x" * 4_000, "e": "\N{GRINNING FACE}"}
            self.successResultOf(Deferred.fromCoroutine(world.service.explain(ANN, evolve(ask, local=local))))
        assert len(world.service._demands.known) == 1

    def test_wishes_of_all_kinds_take_so_many_bytes_and_no_more(self) -> None:
        world = World()
        world.service._demands.known = BoundedCache(20_000)
        for number in range(200):
            ask = AskExplain("paint", "", COMMIT, "", {}, {}, {"arch": f"arch{number}"})
            self.successResultOf(Deferred.fromCoroutine(world.service.explain(ANN, ask)))
            assert 0 < world.service._demands.known.size <= 20_000

    def test_what_waits_for_a_repository_holds_nothing_that_the_project_does_not_look_at(self) -> None:
        world = World()
        world.resolver.hold = Deferred()

        message = Submit(f"{1:032x}", "paint", "ann@example.org", "", "", "", {}, {}, {"odd": "x" * 4_000})
        gone = weakref.ref(message)
        coroutine = world.service.submit(ANN, message)
        del message
        asked = Deferred.fromCoroutine(coroutine)
        del coroutine
        assert gone() is None
        world.resolver.hold.callback(None)
        self.successResultOf(asked)


class LiarsTests(SynchronousTestCase):
    """Build servers that announce as much as they may, each something else: what is accepted can be told of."""

    def setUp(self) -> None:
        self.world = World()
        self.world.service.open_limit = self.world.service.wanted_limit = 1_000
        (one,) = self.world.service.configuration.settings.projects
        skill = ProjectSkill(one.name, one.recipe.version, one.options.digest())
        for number in range(70):
            words = (("arch", f"{number:03d}{'2' * 380}"), ("os", "linux"))
            tools = tuple(sorted(f"{'x' * 300}{number}.{tool}" for tool in range(20)))
            name = f"s{number:03d}{'x' * 59}"
            announced = Capability((Offer(words),), (("cpus", 1), ("tools", tools)), (skill,), host_info="h" * 4000)
            login = self.world.service.broker.send(Registered(name, announced))
            self.successResultOf(Deferred.fromCoroutine(login))

    def test_as_many_builds_as_may_be_asked_for_at_once_are_told_in_one_answer(self) -> None:
        sparc: dict[str, Value] = {"os": "linux", "arch": "sparc"}
        items = tuple(
            Submit(f"{number:032x}", "paint", "ann@example.org", "", f"{number:040x}", "", {}, sparc, {})
            for number in range(TOGETHER)
        )
        told = self.successResultOf(
            Deferred.fromCoroutine(self.world.service.submit_together(ANN, SubmitTogether(items)))
        )
        plain = encode(told)
        assert decode(RequestStatuses, plain).items[-1].request_id == TOGETHER
        assert all(len(line.encode()) <= 201 for one in plain["items"] for line in one["why"])
        assert sum("more build servers" in line for line in told.items[0].why) == 1, "the others are counted"

    def test_of_what_is_asked_for_together_one_ref_is_one_commit_whatever_is_accepted_beside_it(self) -> None:
        """Also where somebody pushes between two looks at the origin."""
        self.world.resolver.pushed = [f"{number:x}" * 40 for number in range(1, 5)]
        items = [
            Submit(f"{number:032x}", "paint", "ann@example.org", "", "main", span, {"colour": "red"}, {}, {})
            for number, span in enumerate(("", "2", "5"), 7)
        ]
        told = self.successResultOf(
            Deferred.fromCoroutine(self.world.service.submit_together(ANN, SubmitTogether(tuple(items))))
        ).items
        found = [self.world.service.broker.state.requests[one.request_id].demand for one in told]
        assert [one.spec.revision for one in found] == ["1" * 40] * 3
        assert [len(one.acceptable) for one in found] == [1, 10, 10]

    def test_the_reactor_turns_while_many_builds_are_told(self) -> None:
        """Why each waits is looked for after the commit, which takes milliseconds a build on a large farm."""
        broker, read = self.world.service.broker, count(step=0.002)
        broker.turn.stopwatch = lambda: next(read)
        timers = broker.timers
        assert isinstance(timers, Clock)
        items = tuple(
            Submit(f"{number:032x}", "paint", "ann@example.org", "", f"{number:040x}", "", {}, {"arch": "sparc"}, {})
            for number in range(TOGETHER)
        )
        told = Deferred.fromCoroutine(self.world.service.submit_together(ANN, SubmitTogether(items)))
        turns = 0
        while not told.called:
            turn(timers)
            turns += 1
        assert len(self.successResultOf(told).items) == TOGETHER
        assert turns >= TOGETHER // 4

    def test_why_one_waits_is_told_with_a_line_for_most_and_one_for_the_rest(self) -> None:
        wanted = Submit("1" * 32, "paint", "ann@example.org", "", "", "", {}, {"arch": "sparc"}, {})
        told = self.successResultOf(Deferred.fromCoroutine(self.world.service.submit(ANN, wanted)))
        why = self.successResultOf(
            Deferred.fromCoroutine(self.world.service.why(ANN, AskWhy(told.request_id, told.token)))
        )
        assert decode(Explanation, encode(why)).verdict == "queued"
        assert sum(line.count for line in why.reasons) == 70


class OptionsTests(SynchronousTestCase):
    def test_options_that_no_order_could_carry_are_refused_before_anything_is_committed(self) -> None:
        world = World()
        one = project(options=ProjectOptions((), tuple(text(f"x{n}") for n in range(200))))
        world.service.configuration.settings = evolve(world.service.configuration.settings, projects=(one,))
        long: dict[str, Value] = {f"x{n}": "\N{GRINNING FACE}" * 200 for n in range(200)}
        asked = Submit("1" * 32, "paint", "ann@example.org", "", "", "", long, {}, {})
        refused = self.failureResultOf(Deferred.fromCoroutine(world.service.submit(ANN, asked)), UsageError)
        assert "at most 100000" in refused.getErrorMessage()
        assert world.service.broker.state.requests == {}


class ReconfiguredTests(SynchronousTestCase):
    """A configuration that is taken over while a repository is asked holds for what was asked for before, too."""

    def setUp(self) -> None:
        self.world = World()
        self.world.resolver.hold = Deferred()
        self.asked = self.world.submit(1)
        self.assertNoResult(self.asked)

    def take(self, *projects: Project) -> None:
        self.world.service.configuration.settings = evolve(self.world.service.configuration.settings, projects=projects)
        assert self.world.resolver.hold is not None
        self.world.resolver.hold.callback(None)

    def test_what_is_asked_for_is_understood_by_the_new_one(self) -> None:
        one = project()
        self.take(evolve(one, recipe=evolve(one.recipe, version=one.recipe.version + 1)))
        self.successResultOf(self.asked)
        (build,) = self.world.service.broker.state.builds.values()
        assert build.spec.recipe_version == one.recipe.version + 1

    def test_a_project_that_is_gone_is_refused(self) -> None:
        self.take()
        self.failureResultOf(self.asked, UnknownProject)
        assert self.world.service.broker.state.requests == {}


class SlipsOfTheFinger(SynchronousTestCase):
    """What nobody will ever offer is refused at once; what nobody offers yet is waited for."""

    def asked(self, world: World, **system: Value) -> Deferred[RequestStatus]:
        message = Submit("f" * 32, "paint", "a@b.org", "", "", "", {}, dict(system), {"os": "linux", "arch": "x86_64"})
        return Deferred.fromCoroutine(world.service.submit(ANN, message))

    def test_an_arch_that_nobody_knows(self) -> None:
        world = World()
        told = str(self.failureResultOf(self.asked(world, arch="pcc"), UsageError).value)
        assert told == "--arch: pcc is not known: did you mean ppc? (no build server has come yet)"
        capability = Capability((Offer(canonical({"os": "linux", "arch": "vax"})),), (), ())
        self.successResultOf(Deferred.fromCoroutine(world.service.broker.send(Registered("old", capability, ()))))
        told = str(self.failureResultOf(self.asked(world, arch="pcc"), UsageError).value)
        assert told.endswith("(build servers have offered vax)")
        assert world.service.broker.state.requests == {}
        assert self.successResultOf(self.asked(world, arch="vax")).answer == "queued"

    def test_an_arch_that_nobody_has_yet(self) -> None:
        world = World()
        self.successResultOf(Deferred.fromCoroutine(world.service.broker.send(Registered("old", ANY, ()))))
        told = self.successResultOf(self.asked(world, arch="riscv64"))
        assert told.answer == "queued"
        assert any("no build server has offered arch riscv64 yet" in line for line in told.why)

    def test_a_mapping_that_raises_is_the_integrators_and_said_with_its_line(self) -> None:
        def astray(source: str) -> str:
            return source.nothing  # type: ignore[attr-defined, no-any-return] # a mistake of theirs

        world = World()
        world.service.configuration.settings = evolve(
            world.service.configuration.settings, projects=(project(path_to_url=astray),)
        )
        told = str(self.failureResultOf(self.asked(world), RecipeMistake).value)
        assert told.startswith("path_to_url of paint raised AttributeError: ")
        assert told.endswith(f"({__file__}:{astray.__code__.co_firstlineno + 1})")


@given(messages.ALL["Submit"])
def test_the_digest_of_a_body_is_that_of_what_is_on_the_wire(message: Submit) -> None:
    """Earlier releases made it so, and the database has it."""
    plain = encode(message)
    del plain["client_id"]
    if message.sandbox is SandboxLevel.NONE:
        del plain["sandbox"]  # which earlier releases did not have
    if not message.nice:
        del plain["nice"]
    if not message.supersede:
        del plain["supersede"]
    assert body_digest(message) == digest_of(plain)


class AnswerTests(SynchronousTestCase):
    """What is asked about a Request, and what is refused before anything is decided."""

    def setUp(self) -> None:
        self.world = World()
        self.told = self.successResultOf(self.world.submit(1))

    def ask(self, what: str, message: object) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(getattr(self.world.service, what)(ANN, message)))

    def refused(self, kind: type[BuildToolError], what: str, message: object) -> str:
        failed = Deferred.fromCoroutine(getattr(self.world.service, what)(ANN, message))
        return str(self.failureResultOf(failed, kind).value)

    def test_a_request_is_told_to_whoever_has_its_token_and_ends_once(self) -> None:
        number, token = self.told.request_id, self.told.token
        assert self.ask("status", AskStatus(number, token)) == self.told
        first = self.ask("cancel", Cancel(number, token))
        assert first.state == "cancelled"
        assert self.ask("cancel", Cancel(number, token)) == first
        assert self.ask("why", AskWhy(number, token)).verdict == "cancelled"
        for what, kind in (("status", AskStatus), ("cancel", Cancel), ("why", AskWhy)):
            assert "is not the token" in self.refused(Unauthorised, what, kind(number, token[::-1]))
            unknown = Keys(b"k" * 32).request(99)
            assert "no request 99" in self.refused(NotFound, what, kind(99, cancel_token(99, unknown)))

    def test_a_branch_of_any_name_is_told_though_of_a_long_one_only_its_beginning(self) -> None:
        for number, ref in enumerate(("ветка-сборки-для-испытаний" * 3, "dependabot/" * 10 + "x"), 2):
            asked = Submit(f"{number:032x}", "paint", "ann@example.org", "", ref, "", {}, {}, {})
            told = self.ask("submit", asked)
            assert told.ref == ref
            begin = decode(RequestStatus, encode(told)).ref
            assert begin.endswith("…")
            assert ref.startswith(begin[:-1])
            assert len(begin) > 8

    def test_a_build_is_explained_while_it_is_open(self) -> None:
        assert self.told.build_id is not None
        assert self.ask("build", AskBuild(self.told.build_id)).verdict == "queued"
        assert "not open" in self.refused(NotFound, "build", AskBuild(99))

    def test_an_id_that_was_used_for_something_else_and_one_that_is_none_are_refused(self) -> None:
        message = Submit(f"{1:032x}", "paint", "bob@example.org", "", "", "", {}, {}, {})
        assert "was used for another request" in self.refused(Conflict, "submit", message)
        assert "32 hex digits" in self.refused(UsageError, "submit", evolve(message, client_id="x"))

    def test_while_the_database_cannot_be_read_nothing_is_accepted_and_that_is_said(self) -> None:
        self.world.service.store = Forgetful()
        message = Submit(f"{2:032x}", "paint", "ann@example.org", "", "", "", {}, {}, {})
        said = self.refused(StorageUnavailable, "submit", message)
        assert "nothing was accepted" in said
        assert str(full_disk()) in said

    def test_what_is_asked_for_together_is_some_for_one_address_each_with_its_own_id(self) -> None:
        items = [Submit(f"{number:032x}", "paint", "ann@example.org", "", "", "", {}, {}, {}) for number in (7, 8)]
        for wrong in ([], items * TOGETHER, [items[0]] * 2, [items[0], evolve(items[1], email="bob@example.org")]):
            self.refused(UsageError, "submit_together", SubmitTogether(tuple(wrong)))
        assert len(self.ask("submit_together", SubmitTogether(tuple(items))).items) == 2

    def test_health_tells_of_so_many_problems_and_how_many_more_there_are(self) -> None:
        for many in (0, 1, PROBLEMS_TOLD, PROBLEMS_TOLD + 2):
            self.world.service.conditions = Troubled(tuple(f"trouble {number}" for number in range(many)))
            told = self.ask("health", AskHealth())
            assert told.ok == (not many)
            assert told.problems[:PROBLEMS_TOLD] == tuple(f"trouble {n}" for n in range(min(many, PROBLEMS_TOLD)))
            assert told.problems[PROBLEMS_TOLD:] == (("and 2 more",) if many > PROBLEMS_TOLD else ())

    def test_health_tells_the_age_of_the_last_good_backup_at_the_moment(self) -> None:
        assert self.ask("health", AskHealth()).backup_age is None
        now = self.world.service.broker.clock.wall()
        for made, age in ((now - 5_400.0, 5_400.0), (now + 60.0, 0.0)):  # later than now where the clock was set back
            self.world.service.last_backup = partial(LastBackup, made)
            assert self.ask("health", AskHealth()).backup_age == age


class Forgetful(MemoryStore):
    """A store that does not say what was answered."""

    async def answered(self, client_ids: Iterable[str]) -> Mapping[str, AnsweredRequest]:
        raise full_disk()


@frozen
class Troubled:
    """``ports.Conditions`` that never change."""

    lines: tuple[str, ...]

    def problems(self) -> tuple[str, ...]:
        return self.lines


BEN = Principal(PrincipalRole.REQUESTER, "ben", owner="ben@example.org")
EVE = Principal(PrincipalRole.REQUESTER, "eve", owner="eve@example.com")
WATCHER = Principal(PrincipalRole.OBSERVER, "watcher")
ROOT = Principal(PrincipalRole.OPERATOR, "root (uid 0)")


class RightsTests(SynchronousTestCase):
    """What people with keys may ask for, see and end, of their own and of others'."""

    def setUp(self) -> None:
        self.world = World()

    def ask(self, by: Principal, what: str, message: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(getattr(self.world.service, what)(by, message)))

    def refused(self, by: Principal, what: str, message: Any, error: type[Exception] = Unauthorised) -> str:
        asked = Deferred.fromCoroutine(getattr(self.world.service, what)(by, message))
        return str(self.failureResultOf(asked, error).value)

    def submission(self, number: int = 1, email: str = "ben@example.org", **more: Any) -> Submit:
        return evolve(Submit(f"{number:032x}", "paint", email, "", "", "", {}, {}, {}), **more)

    def configure(self, **changes: Any) -> None:
        one = evolve(project(), **changes)
        rights = RIGHTS.with_changes(one.rights, one.name)
        self.world.service.configuration.settings = evolve(settings(), projects=(one,), rights=rights)

    def test_a_key_asks_in_its_owner_s_name_which_need_not_be_said(self) -> None:
        assert self.ask(BEN, "submit", self.submission(email="")).state == "waiting"
        (request,) = self.world.service.broker.state.requests.values()
        assert request.email == BEN.owner
        said = self.refused(BEN, "submit", self.submission(2, EVE.owner))
        assert said == "ben asks for builds in the name of ben@example.org only, not of eve@example.com"
        assert self.ask(ROOT, "submit", self.submission(3, EVE.owner)).state == "waiting"
        self.refused(WATCHER, "submit", self.submission(4, EVE.owner))
        nobody = self.refused(evolve(WATCHER, key="7"), "submit", self.submission(5, ""), UsageError)
        assert nobody == "the key of watcher has no e-mail address: say who is told"

    def test_who_asked_sees_and_cancels_by_their_key_and_nobody_else_does(self) -> None:
        told = self.ask(BEN, "submit", self.submission())
        number = told.request_id
        assert self.ask(BEN, "status", AskStatus(number, "")) == told
        for what, kind in (("status", AskStatus), ("why", AskWhy), ("cancel", Cancel)):
            message = kind(number, "")
            words = self.refused(EVE, what, message)
            assert words == f"request {number} is not yours, or there is none: use the id as it was told to you"
            unknown = evolve(message, request_id=99)
            assert self.refused(EVE, what, unknown) == words.replace(str(number), "99"), "nor that it is there"
        assert self.ask(EVE, "status", AskStatus(number, told.token)) == told, "a token is its bearer's"
        assert self.ask(BEN, "cancel", Cancel(number, "")).state == "cancelled"

    def test_an_observer_sees_everything_but_the_token_and_an_operator_may_end_it(self) -> None:
        told = self.ask(BEN, "submit", self.submission())
        number = told.request_id
        assert self.ask(WATCHER, "status", AskStatus(number, "")) == evolve(told, token="")
        self.refused(WATCHER, "cancel", Cancel(number, ""))
        assert "no request 99" in self.refused(ROOT, "status", AskStatus(99, ""), NotFound)
        assert self.ask(ROOT, "cancel", Cancel(number, "")).state == "cancelled"

    def test_who_may_end_what_others_asked_for_is_not_taken_for_them_also_without_a_name(self) -> None:
        self.configure(rights={"requester": {"cancel": "all"}})
        told = self.ask(BEN, "submit", self.submission())
        nobody = Principal(PrincipalRole.REQUESTER)
        ended = self.ask(nobody, "cancel", Cancel(told.request_id, ""))
        assert (ended.state, ended.reason) == ("cancelled", "cancelled by the operator")

    def test_a_private_project_is_not_there_for_others(self) -> None:
        self.configure(visible_to=["@example.org"])
        unknown = self.refused(EVE, "submit", self.submission(1, EVE.owner, project="other"), UnknownProject)
        said = self.refused(EVE, "submit", self.submission(1, EVE.owner), UnknownProject)
        assert said == unknown.replace("other", "paint"), "it is told as what is not there"
        assert said.endswith("there is none")
        question = AskExplain("paint", "", "", "", {}, {}, {})
        assert self.refused(EVE, "explain", question, UnknownProject) == said
        told = self.ask(BEN, "submit", self.submission())
        for by, error in ((EVE, NotFound), (Principal(PrincipalRole.VISITOR), NotFound)):
            self.refused(by, "build", AskBuild(told.build_id), error)
        assert self.ask(BEN, "build", AskBuild(told.build_id)).project == "paint"
        self.configure(may_request=["anna"])
        assert self.refused(BEN, "submit", self.submission(2)) == "ben may not ask for builds of paint"

    def test_problems_do_not_name_a_project_to_who_may_not_know_of_it(self) -> None:
        self.configure(visible_to=["@example.org"])
        self.world.service.conditions = Troubled(("the disk is full", "build 7 of paint was begun 9 times"))
        assert self.ask(EVE, "health", AskHealth()).problems == ("the disk is full", VEILED)
        assert "paint" in self.ask(BEN, "health", AskHealth()).problems[1]

    def test_a_configuration_and_a_key_limit_who_may_do_what_where(self) -> None:
        self.configure(rights={"requester": {"force": "nothing"}})
        said = self.refused(BEN, "submit", self.submission(force=True))
        assert said == "ben (requester) may not have builds made anew of paint: whoever is operator may"
        self.ask(BEN, "submit", self.submission())
        elsewhere = evolve(BEN, limits=Scope(projects=("other",)))
        self.refused(elsewhere, "submit", self.submission(2), UnknownProject)
        narrow = evolve(BEN, limits=Scope(platforms=("ppc",)))
        assert "for ppc only" in self.refused(narrow, "submit", self.submission(3))
