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


class SourceTrust(enum.Enum):
    """A fact of the commit that something is made of: whether it was on a ref that the project trusts."""

    UNTRUSTED = "untrusted"
    TRUSTED = "trusted"

    __hash__ = object.__hash__  # as for SandboxLevel

    @property
    def words(self) -> str:
        """What of a source people are told; nothing of one that is trusted, as nearly all are."""
        return "" if self is SourceTrust.TRUSTED else "from an untrusted ref"

    @property
    def marks(self) -> list[tuple[str, str]]:
        """What a BuildKey says of it: nothing where it is trusted, as in every key before this was known."""
        return [] if self is SourceTrust.TRUSTED else [("source", self.value)]

    def does_for(self, wanted: SourceTrust) -> bool:
        """Return whether who wants a source that is trusted like that may have this one."""
        return self is SourceTrust.TRUSTED or wanted is SourceTrust.UNTRUSTED

    def both(self, other: SourceTrust) -> SourceTrust:
        """Return TRUSTED where both are."""
        return other if self is SourceTrust.TRUSTED else self


@frozen
class Evidence:
    """The facts that are known of how an artifact, or a failure, came about.

    These are the ``sandbox`` that it was made in, and whether its ``source`` was trusted.
    """

    sandbox: SandboxLevel = SandboxLevel.NONE
    source: SourceTrust = SourceTrust.UNTRUSTED

    def at_most(self, other: Evidence) -> Evidence:
        """Return what holds by both: of each fact the weaker."""
        return Evidence(min(self.sandbox, other.sandbox), self.source.both(other.source))


@frozen
class EvidencePolicy:
    """The least evidence that a demand accepts: made in a ``sandbox`` of this level or a higher one.

    With a ``source`` that is trusted, only of such. A demand for an untrusted commit takes either, and what is built
    for it comes from an untrusted source; one for a trusted commit takes nothing else.
    """

    sandbox: SandboxLevel = SandboxLevel.NONE
    source: SourceTrust = SourceTrust.UNTRUSTED

    @property
    def least(self) -> Evidence:
        """The weakest evidence that meets this: whatever meets the policy has at least that."""
        return Evidence(self.sandbox, self.source)

    def with_at_least(self, other: EvidencePolicy) -> EvidencePolicy:
        """Return the policy that asks for what either asks for: of each fact the stricter."""
        trusted = SourceTrust.TRUSTED in (self.source, other.source)
        source = SourceTrust.TRUSTED if trusted else SourceTrust.UNTRUSTED
        return EvidencePolicy(max(self.sandbox, other.sandbox), source)

    def demands(self) -> list[tuple[str, str]]:
        """Return what is demanded, by name; what anything meets is left out, so that it changes no BuildKey."""
        return [("sandbox", self.sandbox.value)] if self.sandbox is not SandboxLevel.NONE else []


TRUSTED_ONLY = EvidencePolicy(source=SourceTrust.TRUSTED)
"""The policy of whatever points people at an artifact whom nobody told which commit it is of."""

NOTHING_KNOWN = Evidence()
"""The evidence of what was made before evidence was kept."""

ANYTHING = EvidencePolicy()
"""The policy that every artifact meets."""
