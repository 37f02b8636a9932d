"""Logs and artifacts through the API, so that nothing but its address has to be reached.

Tested by tests/ports/test_downloads.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import define

from buildtool.errors import DecodeError
from buildtool.model.logs.index import Phase
from buildtool.model.text import one_line, quoted
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.logs.answers import LogIndexSummary

if TYPE_CHECKING:
    from buildtool.adapters.http.transfer_client import TransferClient
    from buildtool.client.connection import ApiConnection

PART = 4 * 1024 * 1024
"""Most bytes of a log that are taken in one answer."""


@define(eq=False)
class ApiDownloads:
    """The ``ports.Downloads`` of a farm that is asked over ``api``; ``transfers`` writes the files."""

    api: ApiConnection
    transfers: TransferClient

    async def fetch(
        self,
        url: str,
        path: str,
        size: int,
        digest: str,
        progress: Callable[[int], None],
        sandbox: SandboxLevel = SandboxLevel.NONE,
    ) -> None:
        """Fetch an artifact of so many bytes by its digest, as the port says; ``url`` is where others would.

        Raises NotFound where nothing of that digest was made in a ``sandbox`` of that level or a higher one.
        """
        del url
        there, headers = self.api.url.artifact(digest, sandbox), self.api.shown()
        await self.transfers.fetch(there, path, size, digest, progress, headers)

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        """Return bytes of a log and whether it is finished, as the port says. Raises NotFound, BadOffset."""
        build_id, attempt = self._attempt(url)
        seconds = max(int(wait), 0)
        values = {"build_id": build_id, "attempt": attempt, "from": offset, "wait": seconds}
        part = await self.api.part(values, PART, seconds)
        return part.data, part.finished

    async def phases(self, url: str) -> Sequence[Phase]:
        """Return the phases of a log. Raises Unavailable, NotFound, DecodeError."""
        build_id, attempt = self._attempt(url)
        told = await self.api.get(
            "/builds/{build_id}/log/index", LogIndexSummary, {"build_id": build_id, "attempt": attempt}
        )
        return tuple(
            Phase(one_line(one.name), one.start, one.line, one.began, one.end, one.ended, one_line(one.how), one.failed)
            for one in told.phases
        )

    def _attempt(self, url: str) -> tuple[int, int]:
        found = self.api.url.read_log(url)
        if found is None:
            raise DecodeError(f"{quoted(url, 80)} is no log of the farm at {self.api.url.where}")
        return found

    async def close(self) -> None:
        """Close the connections over which files come."""
        await self.transfers.close()
