"""Why not: what is wanted held against what there is, the reasons for every no, and their words.

The test is tests/model/test_matching.py.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from buildtool.model.options import Canonical, written
from buildtool.model.platforms import Value
from buildtool.model.properties import Comparison, comparison_of, meets, ordered
from buildtool.model.text import one_line
from buildtool.model.trust.evidence import SandboxLevel

MEMBERS_SAID = 8
"""How many members of a set a reason names; the others are counted."""

VALUE_SAID = 80
"""Most characters of a value in a reason."""

CLOSED_SAID = 160
"""Most characters of what an owner's machine says of why it builds nothing now."""

REASONS_SAID = 6
"""How many reasons a phrase has; the others are counted."""


class Cause(enum.Enum):
    """The kind of thing that stands in the way."""

    PROPERTY = "property"
    OPTION = "option"
    SOURCE = "source"
    REVISION = "revision"
    PROJECT = "project"
    FORBIDDEN = "forbidden"
    RECIPE = "recipe"
    DESCRIPTIONS = "descriptions"
    NATIVE = "native"
    OFFLINE = "offline"
    BUSY = "busy"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    PAUSED = "paused"
    CLOSED = "closed"
    DELAYED = "delayed"
    UNSEEN = "unseen"
    SANDBOX = "sandbox"
    TRUST = "trust"


@frozen
class Reason:
    """One no: its cause, the property or option it is about, what was wanted and what there is."""

    cause: Cause
    name: str = ""
    wanted: Value | None = None
    have: Value | None = None
    comparison: Comparison = Comparison.EXACT
    note: str = ""

    def words(self) -> str:
        """Return the reason for people, with the note if there is one."""
        return f"{self._words()}{self._noted()}"

    def _noted(self) -> str:
        return f" ({self.note})" if self.note else ""

    def nearest_words(self, who: str) -> str:
        """Return the reason for people, as what the best there is lacks."""
        if self.cause is Cause.PROPERTY and self.comparison is not Comparison.SUBSET:
            wanted = bound(self.name, self.wanted, self.comparison)
            return f"needs {wanted}; the best is {_text(self.have)} on {who}"
        if self.cause is Cause.SANDBOX:
            best = _LEVELS.get(self.have, _text(self.have))
            return f"needs {_needed(self.wanted)}; the best is {best} on {who}{self._noted()}"
        return f"{who} {self.words()}"

    def _words(self) -> str:  # noqa: C901, PLR0911, PLR0912 - one line for each cause
        wanted, have = _text(self.wanted), _text(self.have)
        match self.cause:
            case Cause.PROPERTY:
                lacks = self.comparison is Comparison.SUBSET
                needs = f"needs {bound(self.name, self.wanted, self.comparison)}, has {have}"
                return f"lacks {self.name} {wanted}" if lacks else needs
            case Cause.OPTION | Cause.SOURCE | Cause.REVISION:
                return f"{self.name} is {have}, not {wanted}"
            case Cause.PROJECT:
                return f"is not configured for project {wanted}"
            case Cause.FORBIDDEN:
                return f"may not build {wanted}: its may_build names neither this machine nor its owner"
            case Cause.RECIPE:
                return f"has recipe {have} of {self.name}, needs {wanted}: update config.py"
            case Cause.DESCRIPTIONS:
                return f"describes the options of {self.name} differently: update config.py or buildtool itself"
            case Cause.NATIVE:
                return f"builds this platform {have}, not native"
            case Cause.OFFLINE:
                return "is not connected"
            case Cause.BUSY:
                return f"is busy ({have} of {wanted} builds)"
            case Cause.REFUSED:
                return have
            case Cause.QUARANTINED:
                return f"is quarantined: {have}"
            case Cause.CLOSED:
                return f"takes nothing now: {one_line(str(self.have), CLOSED_SAID)}"
            case Cause.PAUSED:
                return f"takes nothing now: {have}"
            case Cause.DELAYED:
                return "waits before it is tried again"
            case Cause.UNSEEN:
                return "was not looked at: so many that cannot build it are different"
            case Cause.SANDBOX:
                return f"needs {_needed(self.wanted)}, has {_LEVELS.get(self.have, have)}"
            case Cause.TRUST:
                return "comes from an untrusted ref"


_LEVELS: dict[Value | None, str] = {"none": "none", "weak": "a weak one", "strict": "a strict one"}
"""What is there, by the level of the sandbox, in words."""


def _needed(level: Value | None) -> str:
    return f"a {_text(level)} sandbox" + (" at least" if level == SandboxLevel.WEAK.value else "")


_SIGN = {Comparison.EXACT: "", Comparison.AT_MOST: "≤ ", Comparison.AT_LEAST: "≥ ", Comparison.SUBSET: "with "}


def bound(name: str, value: Value | None, comparison: Comparison) -> str:
    """Return a requirement with its direction: ``libc_version ≤ 2.36``, ``arch ppc``."""
    return f"{name} {_SIGN[comparison]}{_text(value)}"


def _text(value: Value | None) -> str:
    """Return a value, which a peer may have made up, in a few words."""
    if isinstance(value, tuple) and len(value) > MEMBERS_SAID:
        return f"{_text(value[:MEMBERS_SAID])} and {len(value) - MEMBERS_SAID} more"
    return "none" if value is None else one_line(written(value), VALUE_SAID) or "none"


def group_words(reasons: Iterable[Reason]) -> str:
    """Return several reasons as one phrase."""
    told = tuple(reasons)
    more = f"; and {len(told) - REASONS_SAID} more" if len(told) > REASONS_SAID else ""
    return "; ".join(reason.words() for reason in told[:REASONS_SAID]) + more


def unmet(wanted: Canonical, have: Mapping[str, Value], comparisons: Mapping[str, Comparison]) -> list[Reason]:
    """Return one reason for every wanted property that ``have`` does not meet; of a set, only the members it lacks."""
    reasons = []
    for name, value in wanted:
        comparison, there = comparisons.get(name) or comparison_of(name), have.get(name)
        if meets(comparison, value, there):
            continue
        if comparison is Comparison.SUBSET and isinstance(value, tuple):
            known = there if isinstance(there, tuple) else ()
            lacking = tuple(member for member in value if member not in known)
            reasons.append(Reason(Cause.PROPERTY, name, lacking, None, comparison))
        else:
            reasons.append(Reason(Cause.PROPERTY, name, value, there, comparison))
    return reasons


def nearer(one: Reason, other: Reason) -> bool:
    """Return whether ``one``, about the same bound as ``other``, lacks less of it."""
    if evolve(one, have=None, note="") != evolve(other, have=None, note="") or one.have is None or other.have is None:
        return False
    if one.cause is Cause.SANDBOX:
        return SandboxLevel(other.have) < SandboxLevel(one.have)
    order = ordered(one.have, other.have)
    if order is None:
        return False
    return order < 0 if one.comparison is Comparison.AT_MOST else order > 0
