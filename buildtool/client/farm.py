"""A farm, for programs on Twisted: every route of the API as a coroutine, and artifacts fetched and verified.

Tested by tests/client/test_blocking.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, cast

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from buildtool.adapters.http.client import FarmTls
from buildtool.adapters.http.transfer_client import TransferClient
from buildtool.adapters.runtime.threads import Threads
from buildtool.client.connection import ApiConnection
from buildtool.client.farm_urls import read_farm_url
from buildtool.client.groups import BuildGroup, FarmGroup, MachineGroup, RequestGroup
from buildtool.client.limits import RateLeft
from buildtool.client.operating import OperatorGroup
from buildtool.client.transfers import ApiDownloads
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.api.answers import ArtifactSummary
from buildtool.protocol.messages import FoundArtifact


def unseen(_received: int) -> None:
    """Show no progress."""


class FarmClient:
    """A client of the farm whose pages are at a URL. It is closed at the end, or used with ``async with``."""

    def __init__(
        self, url: str, token: str = "", *, reactor: IReactorTime | None = None, farm: FarmTls | None = None
    ) -> None:
        """``token`` says who asks; ``farm`` how to speak TLS to the farm's own ports. Raises UsageError for no URL."""
        if reactor is None:
            from twisted.internet import reactor as usual  # noqa: PLC0415 - it is installed when it is imported first

            reactor = cast(IReactorTime, usual)
        self.api = ApiConnection.to(read_farm_url(url, "url"), reactor, token, farm)
        self.requests, self.builds = RequestGroup(self.api), BuildGroup(self.api)
        self.machines, self.farm = MachineGroup(self.api), FarmGroup(self.api)
        self.operator = OperatorGroup(self.api)
        self._files = Threads(cast(IReactorFromThreads, reactor), 1, "files")
        self._downloads = ApiDownloads(self.api, TransferClient(reactor, self._files, farm=farm))

    @property
    def limits(self) -> Mapping[str, RateLeft]:
        """What is left of what is limited, such as ``requests``, as the newest answer said that told of it."""
        return self.api.limits

    async def fetch(
        self,
        artifact: FoundArtifact | ArtifactSummary,
        path: str,
        progress: Callable[[int], None] = unseen,
        *,
        sandbox: SandboxLevel = SandboxLevel.NONE,
    ) -> None:
        """Fetch an artifact to a path: what is there is resumed, verified by its digest, and only then given its name.

        ``progress`` is called with how many bytes are here. Raises NotFound where it was not made in a ``sandbox`` of
        that level at least; Unavailable, BadUpload, StorageUnavailable.
        """
        await self._downloads.fetch(artifact.url, path, artifact.size, artifact.digest, progress, sandbox)

    async def close(self) -> None:
        """Close all connections, and end the thread that writes files."""
        await self.api.close()
        await self._downloads.close()
        self._files.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()
