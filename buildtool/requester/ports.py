"""What the requester's shell needs of a terminal, a pipe, or nobody at all."""

from __future__ import annotations

from typing import Protocol

from buildtool.protocol.messages import RequestStatus


class Console(Protocol):
    """A display of how the request goes."""

    def say(self, line: str) -> None:
        """Show one line."""

    def state(self, told: RequestStatus) -> None:
        """Show how the Request stands. Once it has ended, the rest of its log may still come."""

    def log(self, data: bytes) -> None:
        """Show more of the log: arbitrary bytes."""

    def downloading(self, name: str, received: int, size: int) -> None:
        """Show how many bytes of an artifact are here."""


class Destination(Protocol):
    """The place where an artifact goes."""

    async def choose(self, name: str) -> str:
        """Return the path for an artifact of this name. Raises UsageError when nothing can be written there."""

    async def occupied(self, path: str) -> bool:
        """Return whether there is a file at ``path``, which would be replaced."""

    async def holds(self, path: str, size: int, digest: str) -> bool:
        """Return whether the file at ``path`` has ``size`` bytes and this SHA-256 already."""
