"""What is known of how something was made, held against the least that is demanded."""

import itertools

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.matching.acceptance import acceptable, made_for, refusal
from buildtool.model.matching.reasons import Cause, nearer
from buildtool.model.matching.satisfaction import implies, making_satisfies, satisfies
from buildtool.model.matching.shelves import stocked
from buildtool.model.options import digest_of
from buildtool.model.records import Artifact, BuildSpec, Demand, RememberedFailure
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill
from buildtool.model.trust.evidence import (
    ANYTHING,
    NOTHING_KNOWN,
    TRUSTED_ONLY,
    Evidence,
    EvidencePolicy,
    SandboxLevel,
    SourceTrust,
)
from tests.strategies import artifacts, build_specs, evidence, failures, policies
from tests.support.matching import can_build

NONE, WEAK, STRICT = SandboxLevel
UNTRUSTED, TRUSTED = SourceTrust


def test_levels_are_in_order_and_each_does_for_those_below_it() -> None:
    assert sorted((STRICT, NONE, WEAK)) == [NONE, WEAK, STRICT]
    for have, wanted in itertools.product(SandboxLevel, SandboxLevel):
        assert (acceptable(Evidence(have), EvidencePolicy(wanted)) == []) == (have >= wanted)


@given(evidence, policies)
def test_every_no_names_what_was_demanded_and_what_there_is(known: Evidence, policy: EvidencePolicy) -> None:
    for reason in acceptable(known, policy):
        fact = "sandbox" if reason.cause is Cause.SANDBOX else "source"
        assert (reason.wanted, reason.have) == (getattr(policy, fact).value, getattr(known, fact).value)


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
    enough = given_.sandbox >= wanted.sandbox and (given_.source is TRUSTED or wanted.source is UNTRUSTED)
    assert implies(evolve(spec, policy=given_), evolve(spec, policy=wanted), {}) == enough


@given(evidence, policies)
def test_who_wants_a_trusted_source_takes_nothing_else_and_who_wants_any_takes_both(
    known: Evidence, policy: EvidencePolicy
) -> None:
    causes = {reason.cause for reason in acceptable(known, policy)}
    assert (Cause.TRUST in causes) == (policy.source is TRUSTED and known.source is UNTRUSTED)
    assert (Cause.SANDBOX in causes) == (not policy.sandbox <= known.sandbox)


@given(evidence, policies)
def test_what_a_machine_makes_comes_from_where_its_build_does_whatever_else_is_known_of_it(
    announced: Evidence, policy: EvidencePolicy
) -> None:
    made = made_for(announced, policy)
    assert (made.sandbox, made.source) == (announced.sandbox, policy.source)
    assert Cause.TRUST not in {reason.cause for reason in acceptable(made, policy)}


@given(evidence, evidence)
def test_what_is_known_by_two_is_trusted_only_by_both(one: Evidence, other: Evidence) -> None:
    both = one.at_most(other)
    assert (both.source is TRUSTED) == (one.source is TRUSTED and other.source is TRUSTED)
    assert both == other.at_most(one)


@given(policies, policies)
def test_what_either_asks_for_is_asked_for(one: EvidencePolicy, other: EvidencePolicy) -> None:
    both = one.with_at_least(other)
    assert both == other.with_at_least(one)
    assert (both.source is TRUSTED) == (TRUSTED in (one.source, other.source))


@given(build_specs)
def test_a_build_of_an_untrusted_source_is_another_one_and_a_trusted_one_has_the_key_that_it_always_had(
    spec: BuildSpec,
) -> None:
    keys = [evolve(spec, policy=evolve(spec.policy, source=trust)).key() for trust in SourceTrust]
    own = [
        spec.project, spec.recipe_version, spec.source, spec.revision, spec.options, spec.platform, spec.native,
    ]  # fmt: skip
    assert keys[0] != keys[1]
    assert keys[1] == digest_of([*own, *spec.policy.demands()])


def test_an_untrusted_source_is_said_in_words() -> None:
    (reason,) = acceptable(Evidence(STRICT, UNTRUSTED), TRUSTED_ONLY)
    assert reason.words() == "comes from an untrusted ref"
    assert acceptable(Evidence(NONE, TRUSTED), TRUSTED_ONLY) == []


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
    if said and all(one.source is TRUSTED or policy.source is UNTRUSTED for one in known):
        assert f"needs a {policy.sandbox.value} sandbox" in said or policy.sandbox is WEAK


def test_what_is_refused_is_told_in_one_line() -> None:
    assert refusal([Evidence(NONE), Evidence(WEAK)], EvidencePolicy(STRICT)) == (
        "what has that digest needs a strict sandbox, has a weak one"
    )
