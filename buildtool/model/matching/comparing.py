"""How what is wanted compares with what there is, property by property.

Comparison has a direction (docs/integrator.rst): a requirement *libc at most 2.36* is met by a binary that needs
2.31; a requirement *memory at least 4096* by a machine that has 8192.

The test is tests/model/test_matching.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.model.matching.reasons import Cause, Reason
from buildtool.model.options import Canonical, Comparison
from buildtool.model.platforms import CPU_LEVELS, Value, compare_versions
from buildtool.model.project_options import STANDARD, ProjectOptions


def comparison_of(name: str) -> Comparison:
    """Return how the property of this name compares; a property that nobody knows compares exactly."""
    known = STANDARD.get(name)
    return known.comparison if known else Comparison.EXACT


def meets(comparison: Comparison, wanted: Value, have: Value | None) -> bool:
    """Return whether ``have`` meets what is ``wanted``. An absent value meets nothing.

    For ``SUBSET`` every wanted member must be had; versions and CPU levels compare by number.
    """
    if have is None:
        return False
    if comparison is Comparison.SUBSET:
        return isinstance(wanted, tuple) and isinstance(have, tuple) and set(wanted) <= set(have)
    if comparison is Comparison.EXACT:
        return type(wanted) is type(have) and wanted == have
    order = ordered(have, wanted)
    if order is None:
        return False
    return order <= 0 if comparison is Comparison.AT_MOST else order >= 0


def ordered(left: Value, right: Value) -> int | None:
    """Return -1, 0 or 1, or None where the two cannot be ordered."""
    if isinstance(left, int) and isinstance(right, int):
        return (left > right) - (left < right)
    if not (isinstance(left, str) and isinstance(right, str)):
        return None
    if left == right:
        return 0  # as mostly, and then nothing has to be taken apart
    if (left in CPU_LEVELS) != (right in CPU_LEVELS):
        return None
    return compare_versions(left, right)


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


def comparisons_of(options: ProjectOptions) -> dict[str, Comparison]:
    """Return how each system property of a project compares."""
    return {item.name: item.comparison for item in options.system}


def nearer(one: Reason, other: Reason) -> bool:
    """Return whether ``one``, about the same bound as ``other``, lacks less of it."""
    same = (one.cause, one.name, one.wanted, one.comparison) == (
        other.cause,
        other.name,
        other.wanted,
        other.comparison,
    )
    if not same or one.have is None or other.have is None:
        return False
    order = ordered(one.have, other.have)
    if order is None:
        return False
    return order < 0 if one.comparison is Comparison.AT_MOST else order > 0
