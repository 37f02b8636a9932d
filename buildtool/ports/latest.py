"""What is needed to find the newest revision of a branch that has a binary: what a repository says of its branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from buildtool.ports.metaserver import CommitReader
from buildtool.ports.triggers import RefReader


class BranchReader(RefReader, CommitReader, Protocol):
    """The version control, as branches are walked there."""

    async def line(self, url: str, commit: str, most: int) -> Sequence[str]:
        """Return ``commit``, a full id, and what it follows by first parents, newest first: ``most`` at most.

        Raises UnknownRef, RepositoryUnreachable.
        """
