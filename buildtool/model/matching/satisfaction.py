"""Which artifact satisfies which demand, and which Build will.

The test is tests/model/test_matching.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.model.binaries.judging import MEASURED
from buildtool.model.matching.acceptance import acceptable
from buildtool.model.matching.reasons import Cause, Reason, unmet
from buildtool.model.options import Canonical, canonical
from buildtool.model.platforms import Value
from buildtool.model.properties import Comparison, comparison_of, meets
from buildtool.model.records import Artifact, BuildSpec, Demand
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import Evidence


def satisfies(artifact: Artifact, demand: Demand, comparisons: Mapping[str, Comparison]) -> list[Reason]:
    """Return why ``artifact`` does not satisfy ``demand``; nothing when it does. That it may not is asked here too."""
    spec, shelf = demand.spec, artifact.shelf
    reasons = [
        Reason(cause, name, wanted, have)
        for cause, name, wanted, have in (
            (Cause.PROJECT, "project", spec.project, shelf.project),
            (Cause.SOURCE, "source", spec.source, shelf.source),
            (Cause.RECIPE, spec.project, spec.recipe_version, shelf.recipe_version),
        )
        if wanted != have
    ]
    if shelf.revision not in demand.acceptable:
        reasons.append(Reason(Cause.REVISION, "revision", spec.revision, shelf.revision))
    if shelf.options_digest != spec.shelf.options_digest:
        reasons.extend(_option_differences(spec.options, artifact.options))
    if spec.native and artifact.kind is not OfferKind.NATIVE:
        reasons.append(Reason(Cause.NATIVE, "kind", "native", artifact.kind.value))
    reasons += unmet(spec.platform, really_needed(artifact, comparisons), comparisons)
    return reasons + acceptable(artifact.evidence, spec.policy)


def really_needed(artifact: Artifact, comparisons: Mapping[str, Comparison]) -> dict[str, Value]:
    """Return the platform of an artifact, with what its files need where that is less.

    Its build server says what they need. That is believed no further than what it announced: only of ``MEASURED``, of
    what its platform has, and only downwards.
    """
    have = dict(artifact.platform)
    for name, value in artifact.need:
        comparison = comparisons.get(name) or comparison_of(name)
        if (
            name in MEASURED
            and name in have
            and comparison is Comparison.AT_MOST
            and meets(comparison, have[name], value)
        ):
            have[name] = value
    return have


def lesser_need(artifact: Artifact) -> Canonical:
    """Return what the files of an artifact need where that is less than it was made for, as far as it is believed."""
    made_for = dict(artifact.platform)
    return canonical({name: value for name, value in really_needed(artifact, {}).items() if made_for[name] != value})


def _option_differences(wanted: Canonical, have: Canonical) -> list[Reason]:
    there = dict(have)
    return [
        Reason(Cause.OPTION, name, value, there.get(name))
        for name, value in wanted
        if name not in there or _differ(there[name], value)
    ]


def _differ(left: Value, right: Value) -> bool:
    return type(left) is not type(right) or left != right


def making_satisfies(
    have: Canonical, kind: OfferKind, evidence: Evidence, spec: BuildSpec, comparisons: Mapping[str, Comparison]
) -> bool:
    """Return whether what is made for platform ``have``, in this way and with this evidence, is what ``spec`` requires.

    It is asked of running Attempts, and of failures: who would not take the artifact is not told the failure.
    """
    if (spec.native and kind is not OfferKind.NATIVE) or acceptable(evidence, spec.policy):
        return False
    return not unmet(spec.platform, dict(have), comparisons)


def implies(given: BuildSpec, wanted: BuildSpec, comparisons: Mapping[str, Comparison]) -> bool:
    """Return whether every artifact that meets ``given``'s platform requirement and policy meets ``wanted``'s too.

    A requirement is itself the loosest thing that meets it, so for each property the given bound must meet the
    wanted one; a property that ``given`` leaves open may turn out as anything.
    """
    if (wanted.native and not given.native) or acceptable(given.policy.least, wanted.policy):
        return False
    return not unmet(wanted.platform, dict(given.platform), comparisons)
