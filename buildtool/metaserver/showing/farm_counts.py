"""What is counted of each commit, for monitoring: some additions a commit, and nothing is read or kept for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field

from buildtool.metaserver.batches import QueuedEvent
from buildtool.model.metrics import table
from buildtool.model.metrics.counts import Counts
from buildtool.model.notices.notice import Notice
from buildtool.model.options import Canonical
from buildtool.model.records import Attempt, AttemptState, AuditEvent, Build, BuildState, Row
from buildtool.scheduling import answers
from buildtool.scheduling.decide import Decision
from buildtool.scheduling.effects import Dispatch

ANY_PLATFORM = "any"


@define(eq=False)
class FarmCounts:
    """The counters of a metaserver since its start."""

    counts: Counts = field(factory=Counts)

    def __attrs_post_init__(self) -> None:
        for metric in (table.EVENTS, table.COMMITS_FAILED, table.LEASES_ENDED, table.SAVED):
            self.counts.add(metric, by=0.0)  # what grows is seen to grow from the first on
        for end in table.ATTEMPTS.values:
            self.counts.add(table.ATTEMPTS, end, by=0.0)

    def committed(self, entries: Sequence[QueuedEvent], rows: Sequence[Row | Notice], took: float | None) -> None:
        """Count what was decided and committed; ``took`` are the seconds of the commit, None where none was needed."""
        counts = self.counts
        counts.add(table.EVENTS, by=len(entries))
        if took is not None:
            counts.observe(table.COMMIT, took=took)
        for entry in entries:
            if entry.decision is not None:
                self._decided(entry.decision)
        for row in rows:
            if isinstance(row, Build) and row.ended_at is not None:
                self._ended(row)
            elif isinstance(row, Attempt) and row.state is AttemptState.ENDED and row.end is not None:
                counts.add(table.ATTEMPTS, row.end.name.lower())

    def failed(self) -> None:
        """Count a commit that failed."""
        self.counts.add(table.COMMITS_FAILED)

    def _decided(self, decision: Decision) -> None:
        for answer in _single(decision.answer):
            request = answer.request
            self.counts.add(table.REQUESTS, request.demand.spec.project, request.answer or table.OTHER)
        for effect in decision.effects:
            if isinstance(effect, Dispatch):
                self._offered(effect)
            elif isinstance(effect, AuditEvent):
                self._happened(effect)

    def _offered(self, effect: Dispatch) -> None:
        attempt, build = effect.attempt, effect.build
        if attempt.epoch == 1:
            took = max(0.0, attempt.offered_at - build.created_at)
            self.counts.observe(table.DISPATCH, platform_word(build.spec.platform), took=took)

    def _happened(self, event: AuditEvent) -> None:
        if event.kind == "request-hit":
            self.counts.add(table.SAVED, by=max(0.0, event.seconds))
        elif event.kind == "attempt-missing":
            self.counts.add(table.LEASES_ENDED)

    def _ended(self, build: Build) -> None:
        self.counts.add(table.ENDED, build.spec.project, build.state.value)
        if build.state is BuildState.SUCCEEDED and build.started_at is not None and build.ended_at is not None:
            took = max(0.0, build.ended_at - build.started_at)
            self.counts.observe(table.DURATION, build.spec.project, took=took)


def _single(answer: object) -> Iterator[answers.Admitted | answers.Unconfirmed]:
    """Yield each answer to one who asked for a build."""
    if isinstance(answer, answers.AnsweredTogether):
        for one in answer.answers:
            yield from _single(one)
    elif isinstance(answer, answers.Admitted | answers.Unconfirmed):
        yield answer


def platform_word(platform: Canonical) -> str:
    """Return a platform in one word: ``linux-ppc``, what of the two there is, or that it is any."""
    said = dict(platform)
    parts = [str(said[name])[:40] for name in ("os", "arch") if said.get(name)]
    return "-".join(parts) or ANY_PLATFORM
