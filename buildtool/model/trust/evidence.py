"""What is known of how an artifact was made, or is being made, and the least of that which a demand accepts.

What there is to know grows: each fact is a field whose default is "nothing is known", each demand one whose default is
"anything will do". ``model/matching/acceptance.py`` holds the two against each other.

The test is tests/model/test_acceptance.py.
"""

from __future__ import annotations

import enum

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.text import meant, quoted


class SandboxLevel(enum.Enum):
    """A level of how far a build is kept apart from the machine that it runs on, the lowest first."""

    NONE = "none"
    WEAK = "weak"
    STRICT = "strict"

    __hash__ = object.__hash__  # as QuickEnum's: classes of builds are looked up by it

    @property
    def words(self) -> str:
        """In what something is made that is made at this level, for people."""
        return "without a sandbox" if self is SandboxLevel.NONE else f"in a {self.value} sandbox"

    def __lt__(self, other: SandboxLevel) -> bool:
        return _RANKS[self] < _RANKS[other]

    def __le__(self, other: SandboxLevel) -> bool:
        return _RANKS[self] <= _RANKS[other]


def read_level(said: object) -> SandboxLevel:
    """Return the level of a sandbox of this name. Raises UsageError for what names none."""
    try:
        return SandboxLevel(said)
    except ValueError:
        levels = [level.value for level in SandboxLevel]
        hint = meant(said, levels) if isinstance(said, str) else ""
        known = hint or f": there are {', '.join(levels)}"
        raise UsageError(f"{quoted(said)} is no level of a sandbox{known}") from None


_RANKS = {level: rank for rank, level in enumerate(SandboxLevel)}


@frozen
class Evidence:
    """The facts that are known of how an artifact, or a failure, came about: the ``sandbox`` that it was made in."""

    sandbox: SandboxLevel = SandboxLevel.NONE

    def at_most(self, other: Evidence) -> Evidence:
        """Return what holds by both: of each fact the weaker."""
        return Evidence(min(self.sandbox, other.sandbox))


@frozen
class EvidencePolicy:
    """The least evidence that a demand accepts: made in a ``sandbox`` of this level or a higher one."""

    sandbox: SandboxLevel = SandboxLevel.NONE

    @property
    def least(self) -> Evidence:
        """The weakest evidence that meets this: whatever meets the policy has at least that."""
        return Evidence(self.sandbox)

    def with_at_least(self, other: EvidencePolicy) -> EvidencePolicy:
        """Return the policy that asks for what either asks for: of each fact the stricter."""
        return EvidencePolicy(max(self.sandbox, other.sandbox))

    def demands(self) -> list[tuple[str, str]]:
        """Return what is demanded, by name; what anything meets is left out, so that it changes no BuildKey."""
        return [("sandbox", self.sandbox.value)] if self.sandbox is not SandboxLevel.NONE else []


NOTHING_KNOWN = Evidence()
"""The evidence of what was made before evidence was kept."""

ANYTHING = EvidencePolicy()
"""The policy that every artifact meets."""
