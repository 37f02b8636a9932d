"""Which sources a project trusts: of its repository the refs that only its own people can move.

Whoever opens a pull request makes a ref in the repository (``refs/pull/7/head``), and a commit that is asked for by its
id may be anybody's. What is built of such a commit is kept apart from what is built of the project's own
(``model/matching/acceptance.py``).

The test is tests/model/trust/test_sources.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.text import quoted
from buildtool.model.triggers.trigger import BRANCHES, TAGS, is_ref_pattern

__all__ = ["EVERY_REF", "TrustedRefs", "is_listed", "read_trusted_refs", "read_trusted_sources"]

PATTERNS = 50
"""Most patterns of refs, or of sources, that a project names."""

ALL_BRANCHES, ALL_TAGS = BRANCHES + "*", TAGS + "*"


@frozen
class TrustedRefs:
    """The refs that a project trusts: ``patterns`` of full names of branches and tags, with ``*`` for any text.

    HEAD is one of the branches, whichever: it is trusted by its name where all of them are.
    """

    patterns: tuple[str, ...] = (ALL_BRANCHES, ALL_TAGS)

    def has(self, ref: str) -> bool:
        """Return whether a ref, by its full name, is trusted."""
        if ref == "HEAD":
            return ALL_BRANCHES in self.patterns
        return any(fnmatchcase(ref, pattern) for pattern in self.patterns)

    @property
    def all_of_them(self) -> bool:
        """Whether every branch and tag is trusted."""
        return {ALL_BRANCHES, ALL_TAGS} <= set(self.patterns)


EVERY_REF = TrustedRefs()
"""Every branch and tag of a repository, which is what a project trusts that says nothing else."""


def read_trusted_refs(said: object) -> TrustedRefs:
    """Return the refs that ``main``, ``release/*`` or ``refs/tags/v*`` name. Raises UsageError."""
    if isinstance(said, TrustedRefs):
        return said
    patterns = []
    for one in _listed(said, "trusted_refs"):
        ref = one if one.startswith("refs/") else BRANCHES + one
        if one == "HEAD":
            raise UsageError("trusted_refs names branches and tags, and not HEAD, which may be any of them")
        if not is_ref_pattern(one, ref):
            raise UsageError(f"trusted_refs: {quoted(one)} is no name of a ref, with * for any text")
        if not ref.startswith((BRANCHES, TAGS)):
            raise UsageError(f"trusted_refs: {quoted(one)} is neither a branch nor a tag, which alone can be trusted")
        patterns.append(ref)
    return TrustedRefs(tuple(dict.fromkeys(patterns)))


def read_trusted_sources(said: object) -> tuple[str, ...]:
    """Return what of ``--source`` is trusted beside the default: texts with ``*`` for any text. Raises UsageError."""
    return tuple(dict.fromkeys(_listed(said, "trusted_sources")))


def is_listed(source: str, patterns: Iterable[str]) -> bool:
    """Return whether a source is one of those that patterns of ``trusted_sources`` name.

    What * stands for leads nowhere else in a URL: ``forks/../../stranger`` is none of ``forks/*``.
    """
    return any(fnmatchcase(source, one) and (not one.strip("*") or _stays(source, one)) for one in patterns)


def _stays(source: str, pattern: str) -> bool:
    return not any(odd in source and odd not in pattern for odd in _ELSEWHERE)


_ELSEWHERE = ("..", "//", "\\", "%", "@", "?", "#")
"""What makes another place of a URL, or another host, of what comes before it."""


def _listed(said: object, what: str) -> tuple[str, ...]:
    if not isinstance(said, str | list | tuple):
        raise UsageError(f"{what} is a list of names, not {quoted(said)}")
    found = (said,) if isinstance(said, str) else tuple(said)
    if len(found) > PATTERNS:
        raise UsageError(f"{what} has {len(found)} names, which may be {PATTERNS}")
    for one in found:
        if not isinstance(one, str):
            raise UsageError(f"{what}: {quoted(one)} is no name")
    return found
