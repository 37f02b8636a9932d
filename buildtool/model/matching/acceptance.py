"""Whether what is known of an artifact, or of a build that may make it, is enough for a demand.

``satisfies()`` and ``implies()`` ask it of what an artifact is; a build server is asked before it is given a build.

The test is tests/model/test_acceptance.py.
"""

from __future__ import annotations

from buildtool.model.matching.reasons import Cause, Reason
from buildtool.model.trust.evidence import Evidence, EvidencePolicy


def acceptable(evidence: Evidence, policy: EvidencePolicy) -> list[Reason]:
    """Return why ``evidence`` is not enough for ``policy``; nothing when it is."""
    if policy.sandbox <= evidence.sandbox:
        return []
    return [Reason(Cause.SANDBOX, "sandbox", policy.sandbox.value, evidence.sandbox.value)]
