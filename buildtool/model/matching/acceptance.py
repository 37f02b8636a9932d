"""Whether what is known of an artifact, or of a build that may make it, is enough for a demand.

``satisfies()`` and ``implies()`` ask it of what an artifact is; a build server is asked before it is given a build, and
``refusal()`` of bytes that were made once or several times, wherever they are named by their digest.

The test is tests/model/test_acceptance.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from buildtool.model.matching.reasons import Cause, Reason
from buildtool.model.trust.evidence import NOTHING_KNOWN, Evidence, EvidencePolicy


def acceptable(evidence: Evidence, policy: EvidencePolicy) -> list[Reason]:
    """Return why ``evidence`` is not enough for ``policy``; nothing when it is."""
    if policy.sandbox <= evidence.sandbox:
        return []
    return [Reason(Cause.SANDBOX, "sandbox", policy.sandbox.value, evidence.sandbox.value)]


def refusal(makings: Iterable[Evidence], policy: EvidencePolicy) -> str:
    """Return in a line why bytes do not do for ``policy``, by what is known of each time that they were made.

    It is empty where once is enough: the same bytes are no worse for having been made elsewhere too.
    """
    known = list(makings) or [NOTHING_KNOWN]
    if any(not acceptable(one, policy) for one in known):
        return ""
    reasons = acceptable(max(known, key=lambda one: one.sandbox), policy)
    return f"what has that digest {'; '.join(one.words() for one in reasons)}"
