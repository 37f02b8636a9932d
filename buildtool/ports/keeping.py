"""What is kept, as what forgets it sees it: rows, and files of logs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from buildtool.model.keeping.choosing import KeptThing
from buildtool.model.keeping.gone import GoneKind, Tombstone
from buildtool.model.records import Artifact


@frozen
class KeptArtifact:
    """An artifact that is given out, and when it last was (wall time), ``size`` 0 where an older one has its bytes.

    ``spared`` says why it must not go, whatever the limits are, or is empty.
    """

    artifact: Artifact
    at: float
    size: int
    spared: str = ""

    @property
    def thing(self) -> KeptThing:
        """It as what is chosen from."""
        return KeptThing(self.at, self.artifact.id, self.size, self.spared)


class ExpiredArtifacts(Protocol):
    """The database, as who asks for an artifact that is gone is answered from it."""

    async def artifact_gone(self, digest: str) -> str:
        """Return why the artifacts with these bytes have expired; empty where one is given out, or none has."""


class KeptRows(ExpiredArtifacts, Protocol):
    """The database, as what forgets uses it. Each call is one short transaction, and raises StorageUnavailable."""

    async def artifacts(self, after: int, most: int) -> Sequence[KeptArtifact]:
        """Return at most ``most`` artifacts that are given out, with ids above ``after``, in the order of their ids."""

    async def artifacts_again(self, numbers: Collection[int]) -> Sequence[KeptArtifact]:
        """Return those of these artifacts that are still given out, as they are now."""

    async def given_out(self, digests: Mapping[str, float]) -> None:
        """Record when files were last given out (wall time)."""

    async def given_out_no_more(self, digests: Collection[str]) -> None:
        """Forget when files were last given out, but for those that an artifact which is given out has."""

    async def logs(self, builds: Collection[int], now: float) -> Mapping[int, KeptThing]:
        """Return when each of these builds ended, and why its logs must not go at wall time ``now``, for each there is.

        Sizes are 0.
        """

    async def logs_go(self, going: Mapping[int, str], there: Collection[int], now: float) -> frozenset[int]:
        """Record that the logs of builds go at wall time ``now``, each by its rule, and return of which.

        What is spared by now stays. ``there`` are the builds about them that have logs.
        """

    async def tombstone(self, kind: GoneKind, number: int) -> Tombstone | None:
        """Return what is known of something that is gone; None for what never was, or is not said to be gone."""


class KeptLogs(Protocol):
    """The files of logs, as what forgets them sees them. Every method raises StorageUnavailable."""

    async def kept(self) -> Sequence[int]:
        """Return the numbers of the builds that have logs, in their order."""

    def between(self, first: int, last: int) -> Sequence[int]:
        """Return those that ``kept`` returned from one number to another, both included."""

    async def sizes(self, builds: Collection[int]) -> Mapping[int, int]:
        """Return how many bytes the logs of builds take, with their indexes."""

    async def remove(self, build: int) -> bool:
        """Remove the logs of a build; return False where one is being read, so that it stays for now."""
