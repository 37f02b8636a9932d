"""The newest revision of a branch that has a binary: what would be a hit there, and nothing that would not."""

from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis.strategies as st
from attrs import define, evolve, field
from hypothesis import given, settings
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.concurrency.inbox import Gate
from buildtool.errors import RepositoryUnreachable, UnknownProject, UnknownRef
from buildtool.metaserver.demands import DemandReader
from buildtool.metaserver.latest.branches import FRESH, KEPT, BranchTips
from buildtool.metaserver.latest.finding import AT_ONCE, LONG, SHORT, LatestFinder
from buildtool.model.options import canonical, digest_of
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Artifact, BuildSpec, Request, ShelfKey
from buildtool.model.search.commits import CommitNote
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import Evidence, SandboxLevel, SourceTrust
from buildtool.protocol.messages import AskExplain
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from tests.fakes_build import project
from tests.metaserver.test_requests import ANN, World
from tests.support.lanes import examples
from tests.support.memory import MemoryFiles

URL = "https://git.example/paint.git"
LINUX = canonical({"os": "linux", "arch": "x86_64"})
BOXED = Evidence(SandboxLevel.STRICT, SourceTrust.TRUSTED)
VISITOR = Principal(PrincipalRole.VISITOR, address="192.0.2.9")


def commit(number: int) -> str:
    return f"{number:040x}"


@define(eq=False)
class Branches:
    """``ports.BranchReader``: a line of so many commits, of which HEAD and main are the newest; ``away`` or not."""

    length: int = 10
    refs: dict[str, str] = field(factory=dict)
    away: bool = False
    looks: int = 0
    walks: list[int] = field(factory=list)
    unread: bool = False

    async def tips(self, url: str) -> Mapping[str, str]:
        self.looks += 1
        if self.away:
            raise RepositoryUnreachable(f"cannot read {url}")
        return {"HEAD": commit(self.length), "refs/heads/main": commit(self.length), **self.refs}

    async def line(self, url: str, newest: str, most: int) -> Sequence[str]:
        self.walks.append(most)
        return [commit(number) for number in range(int(newest, 16), 0, -1)][:most]

    async def about(self, url: str, one: str) -> CommitNote | None:
        if self.unread:
            raise RepositoryUnreachable("it cannot be read")
        return CommitNote("a change", "Ann", float(int(one, 16)))


@define(eq=False)
class Finding:
    """A finder over the world of requests, with a branch."""

    branches: Branches = field(factory=Branches)
    world: World = field(factory=World)
    files: MemoryFiles = field(factory=MemoryFiles)
    clock: Clock = field(factory=Clock)
    finder: LatestFinder = field(init=False)

    def __attrs_post_init__(self) -> None:
        service = self.world.service
        self.finder = LatestFinder(
            DemandReader(service.configuration, service.broker.state, self.world.resolver),
            self.branches,
            BranchTips(self.branches, self.clock),
            self.world.store,
            self.files,
            service.status_reader,
            service.permissions,
            service.admittance,
            service.broker.clock,
            Gate(self.clock.seconds),
        )

    def there(self, number: int, **changes: Any) -> Artifact:
        """Put an artifact of the ``number``-th commit on its shelf."""
        options = (("colour", "red"),)
        key = ShelfKey("paint", "", 3, digest_of(options), commit(number))
        made = Artifact(
            number, key, options, LINUX, OfferKind.NATIVE, number, 1, "anna", f"{number:064x}", f"{number:064x}", 10,
            "paint.zip", 5.0, evidence=Evidence(source=SourceTrust.TRUSTED),
        )  # fmt: skip
        made = evolve(made, **changes)
        self.world.store.rows["artifact", made.id] = made
        return made

    def asked(self, branch: str = "", by: Principal = ANN, **more: Any) -> Deferred[LatestFound]:
        message = evolve(AskLatest("paint", "", branch, {"colour": "red"}, dict(LINUX), {}), **more)
        return Deferred.fromCoroutine(self.finder.find(by, message))


_states = st.sampled_from(
    ["none", "fits", "elsewhere", "withdrawn", "lost", "other options", "cross", "unboxed", "a stranger's"]
)


class FoundTests(SynchronousTestCase):
    @given(st.lists(_states, min_size=1, max_size=12), st.booleans(), st.booleans())
    @settings(max_examples=examples(40))
    def test_it_is_the_first_revision_back_from_the_tip_for_which_a_request_would_be_a_hit(
        self, states: list[str], native: bool, boxed: bool
    ) -> None:
        """Nothing withdrawn, lost, of a stranger's commit, or made otherwise than is wanted is ever pointed at."""
        one = Finding(Branches(len(states)))
        changes: Mapping[str, dict[str, Any]] = {
            "fits": {"evidence": BOXED},
            "elsewhere": {"platform": canonical({"os": "linux", "arch": "ppc"})},
            "withdrawn": {"withdrawn": "it expired"},
            "lost": {"evidence": BOXED},
            "cross": {"kind": OfferKind.CROSS, "evidence": BOXED},
            "unboxed": {},
            "a stranger's": {"evidence": Evidence(SandboxLevel.STRICT, SourceTrust.UNTRUSTED)},
        }
        for number, state in enumerate(states, 1):
            if state == "other options":
                one.there(
                    number, options=(("colour", "blue"),), shelf=ShelfKey("paint", "", 3, "0" * 64, commit(number))
                )
            elif state != "none":
                made = one.there(number, **changes[state])
                one.files.missing |= {made.digest} if state == "lost" else set()
        level = SandboxLevel.WEAK if boxed else SandboxLevel.NONE
        found = self.successResultOf(one.asked("main", native=native, sandbox=level))
        right = {"fits"} | (set() if native else {"cross"}) | (set() if boxed else {"unboxed"})
        newest = next((at for at, state in enumerate(reversed(states)) if state in right), None)
        assert (found.artifact is None) == (newest is None)
        assert (found.tip, found.more) == (commit(len(states)), False)
        if found.artifact is None or newest is None:
            assert found.looked == len(states)
            return
        assert (found.behind, found.artifact.revision) == (newest, commit(len(states) - newest))
        assert found.at == float(len(states) - newest)
        asked = AskExplain(
            "paint", "", found.artifact.revision, "", {"colour": "red"}, dict(LINUX), {}, native=native, sandbox=level
        )
        one.world.resolver.pushed = [found.artifact.revision]
        said = self.successResultOf(Deferred.fromCoroutine(one.world.service.explain(ANN, asked)))
        assert said.verdict == "hit"

    def test_what_is_far_back_is_found_and_what_is_too_far_is_not_looked_for(self) -> None:
        for length, number, walks in ((SHORT, 1, 1), (SHORT + AT_ONCE, 1, 2), (LONG, 1, 2), (LONG + 1, 1, 2)):
            one = Finding(Branches(length))
            one.there(number)
            found = self.successResultOf(one.asked())
            assert len(one.branches.walks) == walks
            assert (found.artifact is not None) == (length <= LONG)
            assert found.looked == min(length, LONG)
            assert found.more == (length > LONG)

    def test_nothing_is_built_and_nothing_asked_for(self) -> None:
        one = Finding()
        found = self.successResultOf(one.asked())
        assert (found.artifact, found.looked) == (None, 10)
        state = one.world.service.broker.state
        assert not [*state.requests, *state.builds, *one.world.store.all(Request)]

    def test_when_a_commit_was_made_need_not_be_known(self) -> None:
        one = Finding(Branches(unread=True))
        one.there(9)
        found = self.successResultOf(one.asked())
        assert (found.at, found.behind) == (0.0, 1)


class WhoMayTests(SynchronousTestCase):
    def test_visitors_are_told_of_a_project_that_they_see_and_of_no_other(self) -> None:
        one = Finding()
        one.there(10)
        assert self.successResultOf(one.asked(by=VISITOR)).artifact is not None
        configuration = one.world.service.configuration
        hidden = project(visible_to="requester")
        configuration.settings = evolve(configuration.settings, projects=(hidden,))
        self.failureResultOf(one.asked(by=VISITOR), UnknownProject)
        assert one.branches.looks == 1, "and the repository is not looked at for them"


class BranchesTests(SynchronousTestCase):
    def test_many_who_ask_cost_one_look_a_minute_also_for_branches_that_there_are_not(self) -> None:
        one = Finding()
        one.there(10)
        for branch in ("", "main", "HEAD", "refs/heads/main"):
            self.successResultOf(one.asked(branch))
        self.failureResultOf(one.asked("nowhere"), UnknownRef)
        assert one.branches.looks == 1
        one.clock.advance(FRESH)
        assert self.successResultOf(one.asked()).age == 0.0
        assert one.branches.looks == 2

    def test_what_is_built_of_a_newer_commit_is_found_at_once(self) -> None:
        one = Finding()
        one.there(10)
        self.successResultOf(one.asked())
        one.branches.length = 11
        newer = one.there(11)
        assert self.successResultOf(one.asked()).behind == 0, "a look would be too much, since nothing was asked for"
        one.world.resolver.pushed = [newer.shelf.revision]
        before = one.world.service.noticed

        def noticed(spec: BuildSpec, url: str) -> None:
            before(spec, url)
            one.finder.notice(spec, url)

        one.world.service.noticed = noticed
        self.successResultOf(one.world.submit(1))
        found = self.successResultOf(one.asked())
        assert (found.tip, found.behind) == (commit(11), 0)

    def test_where_the_origin_is_away_a_branch_is_where_it_was_and_it_is_said_since_when(self) -> None:
        one = Finding()
        one.there(9)
        one.branches.away = True
        self.failureResultOf(one.asked(), RepositoryUnreachable)
        one.branches.away = False
        self.successResultOf(one.asked())
        one.branches.away = True
        one.clock.advance(FRESH * 10)
        found = self.successResultOf(one.asked())
        assert (found.behind, found.age) == (1, FRESH * 10)

    def test_what_is_no_branch_is_refused_with_what_would_be_right(self) -> None:
        one = Finding(Branches(refs={"refs/tags/v1.0": commit(1), "refs/heads/feature/one": commit(2)}))
        one.there(2)
        for said, words in (
            ("v1.0", "--revision v1.0"),
            ("refs/tags/v1.0", "is a tag"),
            ("mian", "did you mean main?"),
        ):
            assert words in str(self.failureResultOf(one.asked(said), UnknownRef).value)
        assert "there are HEAD, feature/one, main" in str(self.failureResultOf(one.asked("zzz"), UnknownRef).value)
        assert self.successResultOf(one.asked("feature/one")).branch == "feature/one"

    def test_of_so_many_repositories_it_is_kept_where_their_branches_are(self) -> None:
        branches = Branches()
        tips = BranchTips(branches, Clock())
        for number in range(KEPT + 1):
            self.successResultOf(Deferred.fromCoroutine(tips.read(f"https://git.example/{number}", "")))
        self.successResultOf(Deferred.fromCoroutine(tips.read("https://git.example/0", "")))
        assert branches.looks == KEPT + 2
