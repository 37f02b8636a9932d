"""The files of artifacts that are given out no more, and artifacts that expire.

Tested by tests/metaserver/test_operations.py, tests/metaserver/keeping/test_forgetting.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults

from buildtool.metaserver.broker import Broker
from buildtool.model.records import Artifact
from buildtool.ports.metaserver import ArtifactRemover, BrokerStore
from buildtool.scheduling import answers, events


async def remove_unnamed(broker: Broker, store: BrokerStore, files: ArtifactRemover, digest: str) -> bool:
    """Delete a file unless an artifact that is given out has its bytes; return whether one went.

    Raises StorageUnavailable.
    """

    async def named() -> bool:
        # What was published before this file was locked has been told to the broker by the time that it has taken
        # in the first of these, and is decided before it has taken in the second.
        await broker.send(events.Tick())
        await broker.send(events.Tick())
        return bool(await store.artifacts_of(digest))

    return await files.remove_unless(digest, named)


@frozen
class ArtifactExpiry:
    """The ``Withdrawing`` over a broker, where what expires is decided like everything else, and in turn with it."""

    broker: Broker
    store: BrokerStore
    files: ArtifactRemover

    async def begin(self) -> None:
        """Record from now on what is promised. Raises StorageUnavailable."""
        await self.broker.send(events.ExpiryBegun())

    async def expire(self, artifacts: Mapping[Artifact, str]) -> Sequence[Artifact]:
        """Expire artifacts, together if that can be; return those that did. Raises StorageUnavailable."""
        sent = [self.broker.send(events.ArtifactExpired(one, reason)) for one, reason in artifacts.items()]
        told: list[answers.Answer] = await gatherResults(map(Deferred.fromCoroutine, sent), consumeErrors=True)
        return [
            one
            for one, answer in zip(artifacts, told, strict=True)
            if isinstance(answer, answers.Acknowledged) and not answer.stale
        ]

    async def remove(self, digest: str) -> bool:
        """Delete a file unless an artifact that is given out has its bytes. Raises StorageUnavailable."""
        return await remove_unnamed(self.broker, self.store, self.files, digest)
