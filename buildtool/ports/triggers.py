"""What triggers need from outside: what a repository has now, and where they remember what they asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from buildtool.model.triggers.looking import Memory

TriggerKey = tuple[str, str]
"""A project, and the name of one of its triggers."""


class RefReader(Protocol):
    """The version control, as triggers look at a repository."""

    async def tips(self, url: str) -> Mapping[str, str]:
        """Return the commit of ``HEAD`` and of each branch and tag now, by full names; of Subversion only the first.

        Raises RepositoryUnreachable.
        """


class TriggerStore(Protocol):
    """The database, as triggers use it. Each call is one transaction; each raises StorageUnavailable."""

    async def memories(self) -> Mapping[TriggerKey, Memory]:
        """Return what all triggers remember."""

    async def remember(self, key: TriggerKey, memory: Memory) -> None:
        """Write what a trigger remembers, in place of what it did before."""
