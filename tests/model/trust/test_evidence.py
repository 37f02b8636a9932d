"""Levels of a sandbox have an order, and a policy takes the stricter of two."""

from itertools import pairwise

from buildtool.model.trust.evidence import Evidence, EvidencePolicy, SandboxLevel


def test_levels_are_ordered_from_none_to_strict() -> None:
    assert [level.value for level in sorted(SandboxLevel)] == ["none", "weak", "strict"]
    assert all(low < high and low <= high and not high <= low for low, high in pairwise(SandboxLevel))


def test_of_two_facts_the_weaker_holds_and_of_two_demands_the_stricter() -> None:
    weak, strict = SandboxLevel.WEAK, SandboxLevel.STRICT
    assert Evidence(weak).at_most(Evidence(strict)) == Evidence(strict).at_most(Evidence(weak)) == Evidence(weak)
    assert EvidencePolicy(weak).with_at_least(EvidencePolicy(strict)) == EvidencePolicy(strict)
