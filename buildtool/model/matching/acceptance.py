"""Whether what is known of an artifact, or of a build that may make it, is enough for a demand.

``satisfies()`` and ``implies()`` ask it of what an artifact is; a build server is asked before it is given a build, and
``refusal()`` of bytes that were made once or several times, wherever they are named by their digest.

The test is tests/model/test_acceptance.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from buildtool.model.matching.reasons import Cause, Reason
from buildtool.model.trust.evidence import NOTHING_KNOWN, Evidence, EvidencePolicy


def acceptable(evidence: Evidence, policy: EvidencePolicy) -> list[Reason]:
    """Return why ``evidence`` is not enough for ``policy``; nothing when it is."""
    trusted = evidence.source.does_for(policy.source)
    if trusted and policy.sandbox <= evidence.sandbox:
        return []
    reasons = [] if trusted else [Reason(Cause.TRUST, "source", policy.source.value, evidence.source.value)]
    if not policy.sandbox <= evidence.sandbox:
        reasons.append(Reason(Cause.SANDBOX, "sandbox", policy.sandbox.value, evidence.sandbox.value))
    return reasons


def made_for(announced: Evidence, policy: EvidencePolicy) -> Evidence:
    """Return what is known of what a machine makes for a demand: its own evidence, and where the source comes from.

    Who demands a trusted source was resolved to one; all others name a commit of which that is not known.
    """
    return evolve(announced, source=policy.source)


def refusal(makings: Iterable[Evidence], policy: EvidencePolicy) -> str:
    """Return in a line why bytes do not do for ``policy``, by what is known of each time that they were made.

    It is empty where once is enough: the same bytes are no worse for having been made elsewhere too.
    """
    known = list(makings) or [NOTHING_KNOWN]
    if any(not acceptable(one, policy) for one in known):
        return ""
    reasons = acceptable(max(known, key=lambda one: (one.source.does_for(policy.source), one.sandbox)), policy)
    return f"what has that digest {'; '.join(one.words() for one in reasons)}"
