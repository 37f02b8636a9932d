"""What people are told when they ask why: made from what the scheduler explains and what the database has.

Tested by tests/e2e/test_explanations.py and tests/metaserver/test_requests.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buildtool.metaserver.request_status import RequestStatusReader
from buildtool.model.matching.reasons import Reason, group_words
from buildtool.model.matching.satisfaction import satisfies
from buildtool.model.records import Artifact, Build, Demand, Request
from buildtool.ports.metaserver import BrokerStore
from buildtool.protocol.messages import Explanation
from buildtool.protocol.pages.farm_view import WhyLine
from buildtool.scheduling.answers import ExplainedAnswer, ServerReasons, WaitReasons
from buildtool.scheduling.state.estimates import Estimate
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import NAMES_SHOWN, NOBODY_YET

SIMILAR = 60
"""How many artifacts of each kind are looked at for the one that comes nearest."""

DIFFERENCES_TOLD = 60
"""How many differences from the nearest artifact are told."""

GROUPS_TOLD = 60
"""How many groups of build servers an explanation tells the reasons of."""


@frozen
class Explainer:
    """A maker of ``Explanation`` for requesters and pages."""

    state: State
    store: BrokerStore
    status_reader: RequestStatusReader

    async def submission(self, demand: Demand, explained: ExplainedAnswer) -> Explanation:
        """Return what a submission would be answered; for a miss the nearest artifact. Raises StorageUnavailable."""
        nearest, differences = await self._nearest(demand) if explained.artifact is None else (None, ())
        return self._compose(
            explained,
            demand.spec.project,
            explained.artifact.shelf.revision if explained.artifact is not None else demand.spec.revision,
            nearest,
            differences,
        )

    async def request(self, request: Request, explained: ExplainedAnswer) -> Explanation:
        """Return how a waiting Request stands, and what comes nearest to it. Raises StorageUnavailable."""
        nearest, differences = await self._nearest(request.demand)
        spec = request.demand.spec
        return self._compose(explained, spec.project, spec.revision, nearest, differences)

    async def ended(self, request: Request) -> Explanation:
        """Return how a Request ended, or that its Build just did. Raises StorageUnavailable."""
        artifact = await self.store.artifact(request.artifact_id) if request.artifact_id is not None else None
        explained = ExplainedAnswer(
            request.state.value, artifact=artifact, build_id=request.build_id, reason=request.reason
        )
        spec = request.demand.spec
        return self._compose(explained, spec.project, spec.revision, None, ())

    def open_build(self, build: Build, explained: ExplainedAnswer) -> Explanation:
        """Return how an open Build stands."""
        return self._compose(explained, build.spec.project, build.spec.revision, None, ())

    async def _nearest(self, demand: Demand) -> tuple[Artifact | None, tuple[str, ...]]:
        comparisons = self.state.projects.compare(demand.spec.project)
        best: tuple[Artifact, list[Reason]] | None = None
        for artifact in await self.store.similar(demand.spec.shelf, SIMILAR):
            if not artifact.evidence.source.does_for(demand.spec.policy.source):
                continue  # nobody is pointed at what was made of a stranger's commit who did not ask for that
            reasons = satisfies(artifact, demand, comparisons)
            if reasons and (best is None or len(reasons) < len(best[1])):
                best = artifact, reasons
        if best is None:
            return None, ()
        return best[0], tuple(reason.words() for reason in best[1][:DIFFERENCES_TOLD])

    def _compose(
        self,
        explained: ExplainedAnswer,
        project: str,
        revision: str,
        nearest: Artifact | None,
        differences: tuple[str, ...],
    ) -> Explanation:
        why = explained.why or WaitReasons((), len(self.state.servers), 0)
        nobody = "; ".join(NOBODY_YET) if explained.why is not None and not why.servers else ""
        estimate = explained.estimate or why.estimate or Estimate(-1.0, "")
        build_id = explained.build.id if explained.build is not None else explained.build_id
        return Explanation(
            verdict=explained.verdict,
            project=project,
            revision=revision,
            steps=explained.steps,
            artifact=self.status_reader.found(explained.artifact) if explained.artifact is not None else None,
            nearest_artifact=self.status_reader.found(nearest) if nearest is not None else None,
            differences=differences,
            build_id=build_id,
            server=explained.server,
            reason=explained.reason or why.halted or nobody,
            reasons=_reasons(why.groups),
            nearest_server=why.nearest,
            ahead=why.ahead,
            seconds=estimate.seconds if estimate.seconds >= 0 else None,
            basis=estimate.basis,
            page_url=self.status_reader.addresses.page(build_id) if build_id is not None else "",
            ahead_own=why.ahead_own,
            ahead_shares=why.ahead_shares,
        )


def _reasons(groups: Sequence[ServerReasons]) -> tuple[WhyLine, ...]:
    """Return a line for each group of build servers, and one for all of those for which there is no room."""
    told = [WhyLine(group_words(group.reasons), group.servers, group.count) for group in groups[:GROUPS_TOLD]]
    left = groups[GROUPS_TOLD:]
    if left:
        names = [name for group in left for name in group.servers][:NAMES_SHOWN]
        told.append(WhyLine("cannot take it either, for reasons of its own", tuple(names), sum(g.count for g in left)))
    return tuple(told)
