"""What is known of how something was made, held against the least that is demanded."""

import itertools

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.matching.acceptance import acceptable, refusal
from buildtool.model.matching.reasons import Cause, nearer
from buildtool.model.matching.satisfaction import implies, making_satisfies, satisfies
from buildtool.model.matching.shelves import stocked
from buildtool.model.records import Artifact, BuildSpec, Demand, RememberedFailure
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill
from buildtool.model.trust.evidence import ANYTHING, NOTHING_KNOWN, Evidence, EvidencePolicy, SandboxLevel
from tests.strategies import artifacts, build_specs, evidence, failures, policies
from tests.support.matching import can_build

NONE, WEAK, STRICT = SandboxLevel


def test_levels_are_in_order_and_each_does_for_those_below_it() -> None:
    assert sorted((STRICT, NONE, WEAK)) == [NONE, WEAK, STRICT]
    for have, wanted in itertools.product(SandboxLevel, SandboxLevel):
        assert (acceptable(Evidence(have), EvidencePolicy(wanted)) == []) == (have >= wanted)


@given(evidence, policies)
def test_every_no_names_what_was_demanded_and_what_there_is(known: Evidence, policy: EvidencePolicy) -> None:
    for reason in acceptable(known, policy):
        assert reason.cause is Cause.SANDBOX
        assert (reason.wanted, reason.have) == (policy.sandbox.value, known.sandbox.value)


@given(evidence, evidence, policies)
def test_more_evidence_never_makes_a_yes_a_no(one: Evidence, other: Evidence, policy: EvidencePolicy) -> None:
    if not acceptable(one.at_most(other), policy):
        assert not acceptable(one, policy)
        assert not acceptable(other, policy)


@given(evidence, policies, policies)
def test_two_policies_together_accept_what_each_accepts(known: Evidence, a: EvidencePolicy, b: EvidencePolicy) -> None:
    both = acceptable(known, a) + acceptable(known, b)
    assert bool(acceptable(known, a.with_at_least(b))) == bool(both)


@given(policies)
def test_the_least_evidence_of_a_policy_meets_it_and_nothing_meets_more(policy: EvidencePolicy) -> None:
    assert acceptable(policy.least, policy) == []
    assert acceptable(NOTHING_KNOWN, ANYTHING) == []


@pytest.mark.parametrize(
    ("wanted", "have", "said"),
    [
        (STRICT, NONE, "needs a strict sandbox, has none"),
        (STRICT, WEAK, "needs a strict sandbox, has a weak one"),
        (WEAK, NONE, "needs a weak sandbox at least, has none"),
    ],
)
def test_a_no_is_said_in_words(wanted: SandboxLevel, have: SandboxLevel, said: str) -> None:
    (reason,) = acceptable(Evidence(have), EvidencePolicy(wanted))
    assert reason.words() == said


def test_of_two_that_lack_it_the_one_with_a_weak_sandbox_comes_nearer() -> None:
    weak, none = (acceptable(Evidence(have), EvidencePolicy(STRICT))[0] for have in (WEAK, NONE))
    assert nearer(weak, none)
    assert not nearer(none, weak)
    assert weak.nearest_words("anna") == "needs a strict sandbox; the best is a weak one on anna"


@given(build_specs, evidence)
def test_an_artifact_satisfies_only_whom_its_evidence_is_enough_for(spec: BuildSpec, known: Evidence) -> None:
    made = Artifact(
        1, spec.shelf, spec.options, spec.platform, OfferKind.NATIVE, 1, 1, "anna", "d" * 64, "c" * 64, 1, "a.zip",
        0.0, evidence=known,
    )  # fmt: skip
    reasons = satisfies(made, Demand(spec, "main", "", (spec.revision,)), {})
    assert reasons == acceptable(known, spec.policy)
    assert making_satisfies(spec.platform, made.kind, known, spec, {}) == (not reasons)


@given(build_specs, policies, policies)
def test_a_build_implies_another_only_where_it_demands_as_much(
    spec: BuildSpec, given_: EvidencePolicy, wanted: EvidencePolicy
) -> None:
    assert implies(evolve(spec, policy=given_), evolve(spec, policy=wanted), {}) == (given_.sandbox >= wanted.sandbox)


@given(build_specs, policies)
def test_another_policy_is_another_build_and_none_changes_no_key(spec: BuildSpec, policy: EvidencePolicy) -> None:
    one, other = evolve(spec, policy=ANYTHING), evolve(spec, policy=policy)
    assert (one.key() == other.key()) == (policy == ANYTHING)
    assert (one.demand_class == other.demand_class) == (policy == ANYTHING)


def test_a_machine_whose_sandbox_does_not_do_says_why_and_how_it_is_mended() -> None:
    spec = BuildSpec("lua", "", "a" * 40, 3, (), (), policy=EvidencePolicy(STRICT))
    skill = ProjectSkill("lua", 3, "0" * 64)
    weak = Capability((Offer(()),), (), (skill,), sandbox=WEAK, sandbox_notes=("it sees /home: have bwrap updated",))
    found = can_build(spec, weak, skill, {})
    assert isinstance(found, list)
    assert [it.words() for it in found] == [
        "needs a strict sandbox, has a weak one (it sees /home: have bwrap updated)"
    ]
    assert isinstance(can_build(spec, evolve(weak, sandbox=STRICT), skill, {}), Offer)


@given(artifacts, st.permutations(list(SandboxLevel)))
def test_a_newer_artifact_of_which_less_is_known_hides_none_of_which_more_is(
    made: Artifact, levels: list[SandboxLevel]
) -> None:
    newest_first = [evolve(made, id=9 - at, evidence=Evidence(level)) for at, level in enumerate(levels * 2)]
    shelf = stocked(newest_first, ())
    assert list(shelf.artifacts) == newest_first[: len(levels)]
    assert shelf.more


@given(failures)
def test_of_failures_too_each_evidence_is_kept(failure: RememberedFailure) -> None:
    all_of = [evolve(failure, evidence=Evidence(level)) for level in SandboxLevel]
    assert set(stocked((), all_of).failures) == set(all_of)


@given(st.lists(evidence, max_size=4), policies)
def test_bytes_do_for_a_policy_where_one_of_their_makings_does_and_else_the_best_is_named(
    makings: list[Evidence], policy: EvidencePolicy
) -> None:
    known = makings or [NOTHING_KNOWN]
    said = refusal(makings, policy)
    assert (said == "") == any(not acceptable(one, policy) for one in known)
    assert "\n" not in said
    if said:
        assert f"needs a {policy.sandbox.value} sandbox" in said or policy.sandbox is WEAK


def test_what_is_refused_is_told_in_one_line() -> None:
    assert refusal([Evidence(NONE), Evidence(WEAK)], EvidencePolicy(STRICT)) == (
        "what has that digest needs a strict sandbox, has a weak one"
    )
