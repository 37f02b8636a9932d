"""How a Request stands, for people: the one place where rows become ``RequestStatus``.

Tested by tests/metaserver/test_requests.py.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, frozen

from buildtool.concurrency.bounded_cache import remembering, weight
from buildtool.configuration.current import CurrentConfiguration
from buildtool.model.incarnations import Keys
from buildtool.model.matching.satisfaction import lesser_need
from buildtool.model.options import Canonical
from buildtool.model.records import Artifact, Attempt, Build, BuildState, Request, RequestState
from buildtool.model.tickets import cancel_token
from buildtool.ports.metaserver import BrokerStore
from buildtool.protocol.codec import listed, size_of
from buildtool.protocol.limits import NEED_SENT, PLATFORM_SENT
from buildtool.protocol.messages import FoundArtifact, RequestStatus
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import lines, standstill_words, why

PLATFORMS_KEPT = 256 * 1024
"""In how many bytes it is remembered how much of a platform can be told: most artifacts are for a few of them."""


@define(eq=False)
class PublicUrls:
    """The URLs of builds, logs and artifacts, by the configuration that is valid now."""

    configuration: CurrentConfiguration

    def artifact(self, digest: str, name: str) -> str:
        """Return the URL of an artifact on the transfer port."""
        return f"{self.configuration.settings.transfer_url}/artifacts/{digest}/{name}"

    def log(self, build_id: int, epoch: int) -> str:
        """Return the URL of an Attempt's log on the transfer port, to append to and to read from."""
        return f"{self.configuration.settings.transfer_url}/logs/{build_id}/{epoch}"

    def page(self, build_id: int) -> str:
        """Return the URL of a Build's page."""
        return f"{self.configuration.settings.public_url}/build/{build_id}"


@frozen
class RequestStatusReader:
    """A maker of ``RequestStatus`` of a Request, with all that belongs to it. ``now`` returns wall time in seconds."""

    state: State
    store: BrokerStore
    addresses: PublicUrls
    keys: Keys
    now: Callable[[], float]

    async def read(self, request: Request, artifact: Artifact | None = None) -> RequestStatus:
        """Return the status of a Request. Raises StorageUnavailable."""
        build = self.state.builds.get(request.build_id) if request.build_id is not None else None
        if build is None and request.state is RequestState.WAITING:
            # Its build has just ended, and so has it, or it waits for another: one does not wait for what has ended.
            request = self.state.requests.get(request.id) or await self.store.request(request.id) or request
            build = self.state.builds.get(request.build_id) if request.build_id is not None else None
        if build is None and request.build_id is not None and artifact is None:
            build = await self.store.build(request.build_id)
        if artifact is None and request.artifact_id is not None:
            artifact = await self.store.artifact(request.artifact_id)
        return self.compose(request, build, artifact)

    def compose(self, request: Request, build: Build | None, artifact: Artifact | None) -> RequestStatus:
        """Return the status of a Request, from the rows at hand."""
        spec = request.demand.spec
        epoch = _epoch(build, artifact)
        attempt = self.state.running_attempt(build) if build is not None else None
        # Whoever was answered with an artifact waited for no Build of their own; the one that made it succeeded.
        state = build.state if build is not None else BuildState.SUCCEEDED if artifact is not None else None
        making = attempt if attempt is not None else artifact
        waits = build is not None and build.id in self.state.builds and build.state is BuildState.QUEUED
        return RequestStatus(
            request_id=request.id,
            token=cancel_token(request.id, self.keys.request(request.id)),
            answer=request.answer,
            state=request.state.value,
            project=spec.project,
            revision=artifact.shelf.revision if artifact is not None else spec.revision,
            build_id=request.build_id,
            build_state=state.value if state is not None else "",
            epoch=epoch,
            server=making.server if making is not None else "",
            reason=request.reason,
            why=self._why(build, attempt, waits=waits),
            artifact=self.found(artifact) if artifact is not None else None,
            log_url=self.addresses.log(request.build_id, epoch) if request.build_id is not None and epoch else "",
            page_url=self.addresses.page(request.build_id) if request.build_id is not None else "",
            asked_at=request.admitted_at,
            ref=request.demand.ref,
            since=_since(request, attempt),
            usual=self._usual(build, attempt),
            sandbox=spec.policy.sandbox,
            kind=making.kind.value if making is not None else "",
        )

    def _why(self, build: Build | None, attempt: Attempt | None, *, waits: bool) -> tuple[str, ...]:
        """Return why a Build waits, or stands still; nothing of one that goes on."""
        if waits and build is not None:
            return lines(why(self.state, build, self.now()))
        stands = standstill_words(self.state, attempt)
        return (stands,) if stands else ()

    def _usual(self, build: Build | None, attempt: Attempt | None) -> float | None:
        """Return how many seconds such a Build took on that build server, None where nobody knows."""
        if build is None or attempt is None:
            return None
        found = self.state.durations.expected(build.spec.shelf, attempt.platform, attempt.server)
        return found.seconds if found is not None else None

    def found(self, artifact: Artifact) -> FoundArtifact:
        """Return what a requester needs to fetch and verify an artifact."""
        return FoundArtifact(
            name=artifact.name,
            url=self.addresses.artifact(artifact.digest, artifact.name),
            size=artifact.size,
            digest=artifact.digest,
            content_digest=artifact.content_digest,
            revision=artifact.shelf.revision,
            platform=_fitted(artifact.platform),
            kind=artifact.kind,
            server=artifact.server,
            build_id=artifact.build_id,
            built_at=artifact.built_at,
            sandbox=artifact.evidence.sandbox,
            need=_told_need(artifact),
        )


def _since(request: Request, attempt: Attempt | None) -> float:
    """Return since when a Request waits, or its Build is built (wall time); 0 for one that has ended."""
    if request.state is not RequestState.WAITING:
        return 0.0
    if attempt is not None:
        return attempt.accepted_at or attempt.offered_at
    return request.admitted_at


def _told_need(artifact: Artifact) -> Canonical:
    """Return what files need, unless it is too long to be told: a build server may have said anything."""
    need = lesser_need(artifact)
    return need if size_of(listed(need)) <= NEED_SENT else ()


def _fitted(platform: Canonical) -> Canonical:
    """Return a platform without what is too long to be told: a build server may have offered anything."""
    return platform[: _fitting(platform)]


@remembering(PLATFORMS_KEPT, lambda _count, platform: weight(platform))
def _fitting(platform: Canonical) -> int:
    """Return how many of a platform's properties can be told, from its first on."""
    while size_of(listed(platform)) > PLATFORM_SENT:
        platform = platform[:-1]
    return len(platform)


def _epoch(build: Build | None, artifact: Artifact | None) -> int:
    if artifact is not None:
        return artifact.epoch
    if build is None:
        return 0
    return build.deciding_epoch or build.epoch
