"""What is kept of who is mailed about what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from buildtool.model.telling.topics import Ended


class SubscriptionStore(Protocol):
    """The database, as it keeps which mails people have ended. Each call is one transaction.

    Each raises StorageUnavailable.
    """

    async def ended(self) -> Ended:
        """Return who has ended mails about what, and since when."""

    async def end(self, email: str, topics: Sequence[str], now: float) -> None:
        """Write that an address has no more mails about topics from ``now`` on, in seconds of wall time."""

    async def resume(self, email: str, topics: Sequence[str]) -> None:
        """Write that an address has mails about topics again."""
