"""What a submission demands of its source: a trusted one where its commit is, and where it is not, only that commit."""

from collections.abc import Callable
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import UsageError
from buildtool.metaserver.demands import DemandReader, Resolved, source_url
from buildtool.model.records import Demand
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel, SourceTrust
from buildtool.model.trust.sources import TrustedRefs
from buildtool.project.definition import Project
from buildtool.project.triggers import on_push
from buildtool.protocol.messages import Submit
from buildtool.scheduling.state.state import State
from tests.fakes_build import COMMIT, project
from tests.metaserver.test_build_servers import settings
from tests.metaserver.test_requests import Resolver

UNTRUSTED, TRUSTED = SourceTrust
URLS = {"": "https://git.example/paint.git", "fork": "https://git.example/fork.git"}


@define
class Counting(Resolver):
    """A resolver that counts how often it is asked whether something is trusted, and by which refs."""

    asked: int = 0
    by: TrustedRefs | None = None

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        self.asked, self.by = self.asked + 1, refs
        return await super().trusted(url, commit, refs)


class DemandsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.resolver = Counting()
        self.resolved = Resolved()

    def read(self, of: Project, source: str = "", revrange: str = "", **more: Any) -> Deferred[Demand]:
        reader = DemandReader(
            CurrentConfiguration(evolve(settings(), projects=(of,))), State({of.name: of.scheduling()}), self.resolver
        )
        message = Submit("1" * 32, of.name, "ann@example.org", source, "", revrange, {}, {}, {}, **more)
        return Deferred.fromCoroutine(reader.read(of, source_url(of, source), message, self.resolved))

    def trust(self, of: Project, source: str = "") -> SourceTrust:
        self.resolved = Resolved()
        return self.successResultOf(self.read(of, source)).spec.policy.source

    def known(self, path_to_url: Callable[[str], str] = URLS.__getitem__, **more: Any) -> Project:
        return project(path_to_url=path_to_url, **more)

    def test_a_commit_that_is_on_a_trusted_ref_is_demanded_of_a_trusted_source(self) -> None:
        demand = self.successResultOf(self.read(self.known(trusted_refs="main", sandbox="weak")))
        self.assertEqual(demand.spec.policy, EvidencePolicy(SandboxLevel.WEAK, TRUSTED))
        self.assertEqual(self.resolver.by, TrustedRefs(("refs/heads/main",)))

    def test_of_a_strangers_commit_only_itself_will_do_and_the_sandbox_that_the_project_demands(self) -> None:
        self.resolver.strange.add(COMMIT)
        demand = self.successResultOf(self.read(self.known(sandbox="strict"), revrange="5"))
        self.assertEqual(demand.acceptable, (COMMIT,))
        self.assertEqual(demand.spec.policy, EvidencePolicy(SandboxLevel.STRICT, UNTRUSTED))
        self.assertEqual(demand.revrange, "5", "as it was asked for")

    def test_a_range_that_ends_at_a_strangers_commit_is_refused_with_what_would_be_right(self) -> None:
        self.resolver.strange.add(COMMIT)
        self.resolved = Resolved()
        said = str(self.failureResultOf(self.read(self.known(), revrange="v1..main"), UsageError).value)
        self.assertIn("is on no trusted ref of paint", said)
        self.assertIn("leave --revrange out", said)

    def test_whether_a_ref_is_trusted_is_asked_once_for_all_that_is_asked_for_together(self) -> None:
        for number in range(5):
            self.successResultOf(self.read(self.known(), revrange=str(number)))
        self.assertEqual(self.resolver.asked, 1)

    def test_sources_that_the_project_looks_up_are_its_own(self) -> None:
        self.assertEqual([self.trust(self.known(), one) for one in ("", "fork")], [TRUSTED, TRUSTED])

    def test_a_source_that_is_pasted_into_a_url_is_anybodys_unless_the_project_lists_it(self) -> None:
        pasted = lambda source: f"https://git.example/{source or 'paint'}.git"  # noqa: E731
        self.assertEqual([self.trust(self.known(pasted), one) for one in ("", "fork")], [TRUSTED, UNTRUSTED])
        listed = self.known(pasted, trusted_sources=["f*"])
        self.assertEqual([self.trust(listed, one) for one in ("", "fork", "evil")], [TRUSTED, TRUSTED, UNTRUSTED])
        built = self.known(pasted, triggers=on_push("main", source="fork"))
        self.assertEqual([self.trust(built, one) for one in ("fork", "evil")], [TRUSTED, UNTRUSTED])

    def test_a_source_is_anybodys_though_only_such_as_look_right_are_made_a_url_of(self) -> None:
        hosts = {"gh": "https://github.example/"}
        formed = self.known(lambda source: hosts[source.split("/")[0]] + source.partition("/")[2])
        self.assertEqual(self.trust(formed, "gh/stranger/fork"), UNTRUSTED)

    def test_who_lists_sources_trusts_no_other_though_it_is_looked_up(self) -> None:
        own = self.known(trusted_sources="")
        self.assertEqual([self.trust(own, one) for one in ("", "fork")], [TRUSTED, UNTRUSTED])
