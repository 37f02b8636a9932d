"""The newest revision of a branch that has a binary: found at once, and never built.

A branch is walked by first parents from where it is, newest first, and what stands on the shelves of each revision is
held against what is wanted by the very rule of a hit. Tested by tests/metaserver/latest/test_finding.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from attrs import define, evolve
from twisted.logger import Logger

from buildtool.concurrency.inbox import Gate
from buildtool.errors import BuildToolError
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.demands import DemandReader, Resolved, ref_and_range, source_url
from buildtool.metaserver.latest.branches import BranchTip, BranchTips
from buildtool.metaserver.request_status import RequestStatusReader
from buildtool.model.access.rights import Act, Subject, platform_names
from buildtool.model.matching.newest import fitting
from buildtool.model.principal import Principal
from buildtool.model.records import Artifact, BuildSpec, Demand
from buildtool.model.trust.evidence import SourceTrust
from buildtool.ports.common import Clock
from buildtool.ports.latest import BranchReader
from buildtool.ports.metaserver import ArtifactFiles, BrokerStore, Handlers
from buildtool.project.definition import Project
from buildtool.protocol.messages import AskExplain
from buildtool.protocol.projects.latest import AskLatest, LatestFound

SHORT, LONG = 1_000, 10_000
"""How many commits of a branch are looked at first, and at most."""

AT_ONCE = 64
"""Of how many revisions the shelves are read in one transaction."""

log = Logger()


@define(eq=False)
class LatestFinder:
    """A finder of the newest revisions that have binaries. What ``files`` do not have is passed over."""

    demands: DemandReader
    branches: BranchReader
    tips: BranchTips
    store: BrokerStore
    files: ArtifactFiles
    status_reader: RequestStatusReader
    permissions: Permissions
    admittance: Admittance
    clock: Clock
    gate: Gate
    """Of looks: what one reads from the database keeps a commit waiting at most once."""

    @property
    def handlers(self) -> Handlers:
        """What people may ask."""
        return {AskLatest: self.find}

    def notice(self, spec: BuildSpec, url: str) -> None:
        """Take note of what is asked for: of a newer commit there may soon be a binary."""
        self.tips.doubt(url, spec.revision)

    async def find(self, by: Principal, message: AskLatest) -> LatestFound:
        """Return the newest artifact of a branch that does. Nothing is built, and where there is none it says so.

        Raises UnknownProject, UsageError, Unauthorised, UnknownRef, RepositoryUnreachable, LimitReached,
        StorageUnavailable.
        """
        project = self.project(by, message.project)
        url = source_url(project, message.source)
        ref, _ = ref_and_range(self.demands.without_excess(_as_explained(message)))
        tip = await self.tips.read(url, ref)
        demand = await self.demand(by, project, url, message, tip.commit)
        looked = 0
        line: Sequence[str] = ()
        for most in (SHORT, LONG):
            line = await self.branches.line(url, tip.commit, most)
            for some in _stretches(line, looked):
                found = await self.gate.run(partial(self._first, evolve(demand, acceptable=some)))
                if found is not None:
                    behind = line.index(found.shelf.revision)
                    return await self.answer(project, url, tip, found, behind)
            looked = len(line)
            if looked < most:
                break
        return LatestFound(project.name, tip.name, tip.commit, None, 0, 0.0, tip.age, looked, more=looked >= LONG)

    def project(self, by: Principal, name: str) -> Project:
        """Return a project that a caller sees; the look at it counts. Raises UnknownProject, LimitReached."""
        self.admittance.explanation(by)
        return self.permissions.settings.project(name, by)

    async def demand(self, by: Principal, project: Project, url: str, message: AskLatest, commit: str) -> Demand:
        """Return what is wanted, as a demand of a commit. Raises UsageError, Unauthorised."""
        asked = self.demands.without_excess(_as_explained(message))
        ref, _ = ref_and_range(asked)
        # Whoever names a branch is pointed only at what was made of the project's own commits, whatever is on it now.
        known = Resolved({(url, ref): commit}, {(project.name, message.source, ref): SourceTrust.TRUSTED})
        demand = await self.demands.read(project, url, asked, known)
        subject = Subject(project=project.name, platforms=platform_names(demand.spec.platform))
        self.permissions.check(by, Act.SEE_ARTIFACT, subject)
        return demand

    async def there(self, demand: Demand) -> Sequence[Artifact]:
        """Return the artifacts that satisfy a demand and whose files are there. Raises StorageUnavailable."""
        return await self.gate.run(partial(self._there, demand))

    async def answer(self, project: Project, url: str, tip: BranchTip, found: Artifact, behind: int) -> LatestFound:
        """Return what is told of an artifact that was found, so many commits behind."""
        at = await self._made_at(url, found.shelf.revision)
        shown = self.status_reader.found(found)
        return LatestFound(project.name, tip.name, tip.commit, shown, behind, at, tip.age, behind + 1)

    async def _there(self, demand: Demand) -> Sequence[Artifact]:
        fit = await self._fitting(demand)
        absent = await self.files.absent({(one.digest, one.size) for one in fit}) if fit else frozenset()
        return [one for one in fit if (one.digest, one.size) not in absent]

    async def _fitting(self, demand: Demand) -> Sequence[Artifact]:
        keys = demand.shelves
        shelves, _ = await self.store.known(keys, (), self.clock.wall())
        compare = self.status_reader.state.projects.compare(demand.spec.project)
        return list(fitting(demand, (shelves[key] for key in keys), compare))

    async def _first(self, demand: Demand) -> Artifact | None:
        """Return the first artifact that satisfies a demand and whose file is there."""
        fit = await self._fitting(demand)
        absent = await self.files.absent({(one.digest, one.size) for one in fit[:1]}) if fit else frozenset()
        if absent:  # what was lost is rare, so that mostly one file is looked at
            absent = await self.files.absent({(one.digest, one.size) for one in fit})
        return next((one for one in fit if (one.digest, one.size) not in absent), None)

    async def _made_at(self, url: str, revision: str) -> float:
        """Return when a revision was made (wall time), 0 where that cannot be read."""
        try:
            note = await self.branches.about(url, revision)
        except BuildToolError as error:
            log.info("when {revision} was made is not known: {why}", revision=revision, why=error)
            return 0.0
        return note.at if note is not None else 0.0


def _as_explained(message: AskLatest) -> AskExplain:
    """Return a question as that for a build is asked, whose options are understood in the same way."""
    return AskExplain(
        message.project, message.source, message.branch, "", message.compile, message.system, message.local,
        native=message.native, sandbox=message.sandbox,
    )  # fmt: skip


def _stretches(line: Sequence[str], start: int) -> Iterator[tuple[str, ...]]:
    for at in range(start, len(line), AT_ONCE):
        yield tuple(line[at : at + AT_ONCE])
