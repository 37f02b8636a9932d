"""Commits packed into files, which build servers fetch where the origin does not give them out any more.

Tested by tests/adapters/vcs/git_mirrors/test_bundles.py.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from buildtool.errors import BuildToolError


@frozen
class Bundle:
    """A bundle on disk: its size in bytes and the SHA-256 of its content."""

    path: Path
    size: int
    digest: str


class BeingMade(BuildToolError):
    """A bundle is not ready yet."""

    code = "being-made"
