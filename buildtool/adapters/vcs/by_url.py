"""Which version control a URL means: Subversion where its scheme says so, git everywhere else.

``svn://``, ``svn+ssh://``, ``svn+file:///``, ``svn+http://`` and ``svn+https://`` are Subversion's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from buildtool.adapters.vcs.svn.refs import is_svn
from buildtool.model.search.commits import CommitNote
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.ports.buildserver import SourceCopy, Sources
from buildtool.ports.latest import BranchReader
from buildtool.ports.metaserver import SourceResolver


class VersionControl(SourceResolver, BranchReader, Protocol):
    """A version control, asked for revisions and for what they are about."""


@frozen
class Resolvers:
    """The ``SourceResolver`` and ``BranchReader`` that ask the one to which the URL belongs."""

    git: VersionControl
    svn: VersionControl

    async def resolve(self, url: str, ref: str) -> str:
        return await self._of(url).resolve(url, ref)

    async def acceptable(self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF) -> tuple[str, ...]:
        return await self._of(url).acceptable(url, commit, revrange, refs)

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        return await self._of(url).trusted(url, commit, refs)

    async def pin(self, url: str, commit: str) -> None:
        await self._of(url).pin(url, commit)

    async def older(
        self, url: str, ref: str, commit: str, among: Collection[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        return await self._of(url).older(url, ref, commit, among)

    async def line(self, url: str, commit: str, most: int) -> Sequence[str]:
        return await self._of(url).line(url, commit, most)

    async def refs(self, url: str) -> Sequence[str]:
        return await self._of(url).refs(url)

    async def tips(self, url: str) -> Mapping[str, str]:
        return await self._of(url).tips(url)

    async def about(self, url: str, commit: str) -> CommitNote | None:
        return await self._of(url).about(url, commit)

    def _of(self, url: str) -> VersionControl:
        return self.svn if is_svn(url) else self.git


@frozen
class Checkouts:
    """The ``ports.Sources`` that ask the one to which the URL belongs."""

    git: Sources
    svn: Sources

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        return await (self.svn if is_svn(url) else self.git).checkout(url, commit, slot, copy)
