"""What a requester needs from outside: a metaserver to ask, and files to fetch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from buildtool.protocol.messages import (
    AskBuild,
    AskExplain,
    AskStatus,
    AskWhy,
    Cancel,
    Explanation,
    Follow,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
)

# --- the requester's shell and what it talks through ----------------------------------------------------


class MetaserverClient(Protocol):
    """What a requester asks. Every method raises Unavailable without a connection, or the error that was answered."""

    async def submit(self, message: Submit) -> RequestStatus:
        """Ask for a build."""

    async def submit_together(self, message: SubmitTogether) -> RequestStatuses:
        """Ask for several builds at once."""

    async def cancel(self, message: Cancel) -> RequestStatus:
        """End a Request."""

    async def status(self, message: AskStatus) -> RequestStatus:
        """Ask how a Request stands."""

    async def explain(self, message: AskExplain) -> Explanation:
        """Ask what a submission would be answered."""

    async def why(self, message: AskWhy) -> Explanation:
        """Ask why a Request waits."""

    async def build(self, message: AskBuild) -> Explanation:
        """Ask how an open Build stands."""

    async def follow(self, message: Follow, moved: Callable[[RequestStatus], None]) -> RequestStatus:
        """Hear of every change of a Request; returns how it stands now."""

    async def closed(self) -> str:
        """Return why the connection ended, once it has."""

    def close(self) -> None:
        """End the connection."""


class Downloads(Protocol):
    """Bytes from the transfer port to a requester."""

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        """Fetch to ``path`` (written beside it, verified, renamed). Raises Unavailable, BadUpload (wrong digest)."""

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        """Return log bytes from ``offset`` and whether the log is finished; waits up to ``wait`` seconds for more."""
