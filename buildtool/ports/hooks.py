"""What deliveries of forges need from outside: where they are written down before they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from buildtool.model.hooks.delivery import HookDelivery


class HookStore(Protocol):
    """The database, as deliveries use it. Each call is one transaction; each raises StorageUnavailable."""

    async def take(self, delivery: HookDelivery) -> int:
        """Write a delivery down and return its number, which is above all before; 0 for one that was taken before.

        It is open, and of its project's only the newest stay.
        """

    async def open(self) -> Mapping[str, int]:
        """Return the number of the newest delivery of each project after which no look was made."""

    async def looked(self, project: str, number: int) -> None:
        """Record that a look was made after the deliveries of a project up to a number."""

    async def newest(self) -> Mapping[str, HookDelivery]:
        """Return the newest delivery of each project."""
