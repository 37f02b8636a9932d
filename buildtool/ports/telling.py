"""What is kept of who is mailed about what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from buildtool.model.records import Mail
from buildtool.model.telling.topics import Ended
from buildtool.model.telling.watch import BranchWatch


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


class WatchStore(Protocol):
    """The database, as watches use it. Each call is one transaction; each raises StorageUnavailable."""

    async def watches(self) -> Sequence[BranchWatch]:
        """Return all watches."""

    async def add(self, watch: BranchWatch) -> BranchWatch:
        """Write a new watch, and return it with its number: the one that it has, or a higher one that is free."""

    async def keep(self, watch: BranchWatch) -> None:
        """Write what a watch knows, if it is still there."""

    async def tell(self, watch: BranchWatch, mail: Mail, due: float | None) -> None:
        """Write what a watch knows together with the mail that tells it, unless that mail was written before.

        It goes out at once, or ``due`` (wall time), together with what the watch tells until then.
        """

    async def end(self, watch_id: int) -> None:
        """Remove a watch."""
