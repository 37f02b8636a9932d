"""Who satisfies whom, and the reason for every no: what the words of the design say, direction included."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import hypothesis.strategies as st
import pytest
from attrs import evolve
from hypothesis import assume, given

from buildtool.errors import UsageError
from buildtool.model.matching.ranges import bound_offer
from buildtool.model.matching.reasons import Cause, Reason, unmet
from buildtool.model.matching.requiring import machine_required, platform_required
from buildtool.model.matching.satisfaction import implies, making_satisfies, satisfies
from buildtool.model.options import Canonical, canonical, digest_of, flag, number, text
from buildtool.model.platforms import ARCH_OSES, ARCHES, CPU_LEVELS, FOLLOWS_FROM, Value, contradiction, derived
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import STANDARD, Comparison, Property, Role, comparison_of, meets, standard
from buildtool.model.records import Artifact, BuildSpec, Demand
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill
from buildtool.model.trust.evidence import NOTHING_KNOWN, SandboxLevel
from tests.strategies import build_specs, capabilities, evidence, machines, platforms, policies, word_sets
from tests.strategies import values as any_value
from tests.support.matching import can_build

STANDARD_COMPARISONS = {name: item.comparison for name, item in STANDARD.items()}
dotted = st.lists(st.integers(0, 40), min_size=1, max_size=3)


def version(parts: list[int]) -> str:
    return ".".join(map(str, parts))


# --- meets: one property --------------------------------------------------------------------------------


@given(st.sampled_from(Comparison), any_value)
def test_an_absent_value_meets_nothing(comparison: Comparison, wanted: Value) -> None:
    assert not meets(comparison, wanted, None)


@given(st.integers(), st.integers())
def test_numbers_at_most_and_at_least_point_in_opposite_directions(wanted: int, have: int) -> None:
    assert meets(Comparison.AT_MOST, wanted, have) == (have <= wanted)
    assert meets(Comparison.AT_LEAST, wanted, have) == (have >= wanted)


@given(dotted, dotted)
def test_a_binary_that_needs_an_older_libc_will_do_and_one_that_needs_a_newer_will_not(
    wanted: list[int], have: list[int]
) -> None:
    assert meets(Comparison.AT_MOST, version(wanted), version(have)) == (have <= wanted)
    assert meets(Comparison.AT_LEAST, version(wanted), version(have)) == (have >= wanted)


@given(st.sampled_from(CPU_LEVELS), st.sampled_from(CPU_LEVELS))
def test_a_binary_for_a_lower_cpu_level_will_do_and_for_a_higher_will_not(wanted: str, have: str) -> None:
    assert meets(Comparison.AT_MOST, wanted, have) == (CPU_LEVELS.index(have) <= CPU_LEVELS.index(wanted))


@given(st.sampled_from([Comparison.AT_MOST, Comparison.AT_LEAST]), st.sampled_from(CPU_LEVELS), dotted)
def test_a_cpu_level_and_a_version_do_not_compare(comparison: Comparison, level: str, other: list[int]) -> None:
    assert not meets(comparison, level, version(other))
    assert not meets(comparison, version(other), level)


@given(word_sets, word_sets)
def test_every_wanted_tool_has_to_be_there_and_more_do_no_harm(wanted: tuple[str, ...], have: tuple[str, ...]) -> None:
    assert meets(Comparison.SUBSET, wanted, have) == all(word in have for word in wanted)


@given(any_value, any_value)
def test_exact_is_equal_in_type_and_value(wanted: Value, have: Value) -> None:
    assert meets(Comparison.EXACT, wanted, have) == (type(wanted) is type(have) and wanted == have)
    assert meets(Comparison.EXACT, wanted, wanted)


@given(st.sampled_from(Comparison), any_value, any_value)
def test_values_of_any_types_compare_without_an_error(comparison: Comparison, wanted: Value, have: Value) -> None:
    assert meets(comparison, wanted, have) in (True, False)


def test_the_standard_properties_compare_as_the_design_says() -> None:
    artifact = {name for name, item in STANDARD.items() if item.role is Role.ARTIFACT}
    assert artifact == {"os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level"}
    assert {name: how for name, how in STANDARD_COMPARISONS.items() if how is not Comparison.EXACT} == {
        "libc_version": Comparison.AT_MOST,
        "cpu_level": Comparison.AT_MOST,
        "memory": Comparison.AT_LEAST,
        "cpus": Comparison.AT_LEAST,
        "disk": Comparison.AT_LEAST,
        "tools": Comparison.SUBSET,
    }
    assert comparison_of("libc_version") is Comparison.AT_MOST
    assert comparison_of("nobody knows it") is Comparison.EXACT


# --- unmet: a reason for every no -----------------------------------------------------------------------


def put_right(have: Canonical, reasons: list[Reason]) -> Canonical:
    """What there is, changed to what the reasons say is wanted."""
    return canonical(dict(have) | {reason.name: reason.wanted for reason in reasons if reason.wanted is not None})


@given(platforms, platforms)
def test_a_reason_names_a_property_that_really_differs_and_every_such_property_has_one(
    wanted: Canonical, have: Canonical
) -> None:
    reasons = unmet(wanted, dict(have), {})
    for reason in reasons:
        assert reason.cause is Cause.PROPERTY
        assert dict(wanted)[reason.name] == reason.wanted
        assert dict(have).get(reason.name) == reason.have
        assert reason.wanted != reason.have
        assert reason.comparison is comparison_of(reason.name)
    named = [reason.name for reason in reasons]
    assert named == [name for name, value in wanted if not meets(comparison_of(name), value, dict(have).get(name))]


@given(platforms, platforms)
def test_what_is_put_right_one_reason_at_a_time_ends_in_a_yes(wanted: Canonical, have: Canonical) -> None:
    reasons = unmet(wanted, dict(have), {})
    while reasons:
        have = put_right(have, reasons[:1])
        left = unmet(wanted, dict(have), {})
        assert left == reasons[1:]
        reasons = left


@given(machines)
def test_the_project_decides_how_its_properties_compare(wanted: Canonical) -> None:
    assume(wanted)
    name, value = wanted[0]
    other: Value = value + 1 if isinstance(value, int) else ("more",)
    assert unmet(((name, value),), {name: other}, {name: Comparison.EXACT})
    assert not unmet(((name, value),), {name: value}, {name: Comparison.EXACT})


# --- satisfies: an artifact and a demand ----------------------------------------------------------------


def artifact_for(spec: BuildSpec, platform: Canonical, kind: OfferKind = OfferKind.NATIVE) -> Artifact:
    return Artifact(
        id=1, shelf=spec.shelf, options=spec.options, platform=platform, kind=kind, build_id=1, epoch=1,
        server="anna", digest="d" * 64, content_digest="c" * 64, size=1, name="a.zip", built_at=0.0,
        evidence=spec.policy.least,
    )  # fmt: skip


def demand_for(spec: BuildSpec, *near: str) -> Demand:
    return Demand(spec, "main", "", (spec.revision, *near))


@given(build_specs)
def test_what_was_built_exactly_as_asked_satisfies(spec: BuildSpec) -> None:
    assert satisfies(artifact_for(spec, spec.platform), demand_for(spec), {}) == []


CHANGES = {
    "project": (Cause.PROJECT, "project"),
    "source": (Cause.SOURCE, "source"),
    "recipe_version": (Cause.RECIPE, None),
    "revision": (Cause.REVISION, "revision"),
}


@given(build_specs, st.sampled_from(sorted(CHANGES)))
def test_whatever_else_differs_is_named_alone(spec: BuildSpec, changed: str) -> None:
    value = getattr(spec, changed)
    change: dict[str, Any] = {changed: value + 1 if isinstance(value, int) else value + "x"}
    other = evolve(spec, **change)
    (reason,) = satisfies(artifact_for(other, spec.platform), demand_for(spec), {})
    cause, name = CHANGES[changed]
    assert reason.cause is cause
    assert reason.name == (name or spec.project)
    assert (reason.wanted, reason.have) == (value, getattr(other, changed))


@given(build_specs, build_specs)
def test_options_that_differ_are_named_and_only_those(spec: BuildSpec, other: BuildSpec) -> None:
    mixed = evolve(spec, options=other.options)
    reasons = satisfies(artifact_for(mixed, spec.platform), demand_for(spec), {})
    same = digest_of(spec.options) == digest_of(other.options)
    assert not reasons if same else all(reason.cause is Cause.OPTION for reason in reasons)
    there = dict(other.options)
    for reason in reasons:
        assert digest_of(dict(spec.options)[reason.name]) != digest_of(there.get(reason.name))
    if dict(spec.options).keys() == there.keys():
        assert bool(reasons) == (not same)


def test_an_acceptable_revision_satisfies_and_any_other_does_not() -> None:
    spec = BuildSpec("lua", "", "a" * 40, 3, (), ())
    near, far = evolve(spec, revision="b" * 40), evolve(spec, revision="c" * 40)
    demand = demand_for(spec, "b" * 40)
    assert satisfies(artifact_for(near, ()), demand, {}) == []
    assert [reason.cause for reason in satisfies(artifact_for(far, ()), demand, {})] == [Cause.REVISION]


@given(st.sampled_from(OfferKind), st.booleans())
def test_who_wants_a_native_binary_takes_no_other(kind: OfferKind, native: bool) -> None:
    spec = BuildSpec("lua", "", "a" * 40, 3, (), (), native=native)
    reasons = satisfies(artifact_for(spec, (), kind), demand_for(spec), {})
    assert [reason.cause for reason in reasons] == ([Cause.NATIVE] if native and kind is not OfferKind.NATIVE else [])
    assert making_satisfies((), kind, NOTHING_KNOWN, spec, {}) == (not reasons)


@given(build_specs, platforms)
def test_the_platform_of_an_artifact_satisfies_exactly_where_every_required_property_is_met(
    spec: BuildSpec, platform: Canonical
) -> None:
    reasons = satisfies(artifact_for(spec, platform), demand_for(spec), {})
    assert reasons == unmet(spec.platform, dict(platform), {})
    assert making_satisfies(platform, OfferKind.NATIVE, spec.policy.least, spec, {}) == (not reasons)


# --- implies: by exhausting a small universe ------------------------------------------------------------

UNIVERSE: Mapping[str, tuple[Value, ...]] = {
    "arch": ("ppc", "x86_64"),
    "libc_version": ("2.9", "2.31", "2.36"),
    "features": ((), ("a",), ("b",), ("a", "b")),
    "abi": (1, 2, 3),
}
UNIVERSE_COMPARISONS = {
    "arch": Comparison.EXACT,
    "libc_version": Comparison.AT_MOST,
    "features": Comparison.SUBSET,
    "abi": Comparison.AT_LEAST,
}


def all_of(*names: str) -> list[Canonical]:
    """Every way to say, or leave open, the properties of these names."""
    choices: list[list[tuple[str, Value] | None]] = [
        [None, *((name, value) for value in UNIVERSE[name])] for name in sorted(names)
    ]
    return [tuple(pair for pair in picked if pair is not None) for picked in itertools.product(*choices)]


def requirement(platform: Canonical, *, native: bool = False) -> BuildSpec:
    return BuildSpec("lua", "", "a" * 40, 3, (), platform, native=native)


@pytest.mark.parametrize("names", list(itertools.combinations(UNIVERSE, 2)))
def test_one_requirement_implies_another_exactly_where_whatever_meets_it_meets_the_other(
    names: tuple[str, str],
) -> None:
    """Both ways round: no join is promised too much, and none that is certain is missed."""
    everything = all_of(*names)
    for given_, wanted in itertools.product(everything, everything):
        one, two = requirement(given_), requirement(wanted)
        meeting = [have for have in everything if not unmet(given_, dict(have), UNIVERSE_COMPARISONS)]
        certain = all(not unmet(wanted, dict(have), UNIVERSE_COMPARISONS) for have in meeting)
        if implies(one, two, UNIVERSE_COMPARISONS):
            assert certain, (given_, wanted)
        else:
            assert not certain, (given_, wanted)


@given(platforms, platforms, st.data(), st.sampled_from(OfferKind), st.booleans(), st.booleans())
def test_an_artifact_for_what_implies_satisfies_what_is_implied(
    have: Canonical, given_: Canonical, data: st.DataObject, kind: OfferKind, one_native: bool, two_native: bool
) -> None:
    """What asks for less is drawn: of two that have nothing in common hardly ever one implies the other."""
    wanted = canonical({name: value for name, value in given_ if data.draw(st.booleans())})
    one, two = requirement(given_, native=one_native), requirement(wanted, native=two_native)
    one, two = evolve(one, policy=data.draw(policies)), evolve(two, policy=data.draw(policies))
    known = data.draw(evidence)
    assume(implies(one, two, {}))
    if making_satisfies(have, kind, known, one, {}):
        assert making_satisfies(have, kind, known, two, {})


@given(platforms, platforms, platforms)
def test_implication_is_reflexive_and_transitive(a: Canonical, b: Canonical, c: Canonical) -> None:
    one, two, three = map(requirement, (a, b, c))
    assert implies(one, one, {})
    if implies(one, two, {}) and implies(two, three, {}):
        assert implies(one, three, {})


@given(platforms, st.data())
def test_who_asks_for_less_is_implied(platform: Canonical, data: st.DataObject) -> None:
    fewer = canonical({name: value for name, value in platform if data.draw(st.booleans())})
    assert implies(requirement(platform), requirement(fewer), {})


def test_a_build_that_may_be_cross_does_not_imply_a_native_one() -> None:
    assert not implies(requirement(()), requirement((), native=True), {})
    assert implies(requirement((), native=True), requirement(()), {})


# --- can_build: machines --------------------------------------------------------------------------------


def skill_of(spec: BuildSpec) -> ProjectSkill:
    return ProjectSkill(spec.project, spec.recipe_version, "0" * 64)


@given(build_specs, capabilities)
def test_a_machine_can_build_or_the_reasons_why_not_really_stand_in_the_way(
    spec: BuildSpec, capability: Capability
) -> None:
    found = can_build(spec, capability, skill_of(spec), {})
    if isinstance(found, Offer):
        assert found in [bound_offer(offer, spec.platform) for offer in capability.offers]
        assert not unmet(spec.platform, dict(found.platform), {})
        assert not unmet(spec.machine, dict(capability.machine), {})
        assert found.kind is OfferKind.NATIVE or not spec.native
        assert capability.skill(spec.project) == skill_of(spec)
        return
    assert found
    required = dict(spec.platform) | dict(spec.machine)
    for reason in found:
        assert reason.words()
        if reason.cause is Cause.SANDBOX:
            assert capability.sandbox < spec.policy.sandbox
        if reason.cause is Cause.PROPERTY and reason.name != "platform":
            there = [dict(capability.machine), *(dict(offer.platform) for offer in capability.offers)]
            assert reason.wanted is not None
            assert not meets(reason.comparison, reason.wanted, reason.have)
            if reason.comparison is Comparison.SUBSET:
                check_lacking(reason, required, there)
                continue
            assert required[reason.name] == reason.wanted
            assert any(props.get(reason.name) == reason.have for props in there)


def check_lacking(reason: Reason, required: Mapping[str, Value], there: Iterable[Mapping[str, Value]]) -> None:
    """Of a set exactly those members are named that are wanted and not there, and never what else there is."""
    wanted = required[reason.name]
    assert isinstance(wanted, tuple)
    assert isinstance(reason.wanted, tuple)
    had = [props.get(reason.name, ()) for props in there]
    left = [tuple(one for one in wanted if not isinstance(have, tuple) or one not in have) for have in had]
    assert reason.wanted in left
    assert reason.have is None


@given(build_specs, st.lists(platforms, max_size=3))
def test_a_machine_with_what_is_missing_put_right_can_build_it(spec: BuildSpec, offered: list[Canonical]) -> None:
    """Step by step: every round of reasons, taken at its word, leads to the next or to a yes."""
    capability = Capability(tuple(Offer(platform) for platform in offered), (), ())
    for _ in range(4):
        found = can_build(spec, capability, skill_of(spec), {})
        if isinstance(found, Offer):
            return
        capability = remedied(spec, capability, found)
    pytest.fail(f"never good enough: {found}")


def remedied(spec: BuildSpec, capability: Capability, reasons: list[Reason]) -> Capability:
    """The machine with all that the reasons name put right."""
    offers, machine, skills = list(capability.offers), dict(capability.machine), capability.skills
    platform: dict[str, Value] = {}
    for reason in reasons:
        if reason.cause in (Cause.PROJECT, Cause.RECIPE, Cause.DESCRIPTIONS):
            skills = (skill_of(spec),)
        elif reason.cause is Cause.SANDBOX:
            capability = evolve(capability, sandbox=SandboxLevel(reason.wanted))
        elif reason.name in dict(spec.machine) and reason.wanted is not None:
            machine[reason.name] = reason.wanted
        elif reason.wanted is not None and reason.name != "platform":
            platform[reason.name] = reason.wanted
    nearest = min(offers or [Offer(())], key=lambda offer: len(unmet(spec.platform, dict(offer.platform), {})))
    better = Offer(canonical(dict(nearest.platform) | platform))
    return evolve(capability, offers=(better,), machine=canonical(machine), skills=skills)


def test_reasons_are_those_of_the_offer_that_comes_nearest() -> None:
    spec = requirement((("arch", "ppc"), ("libc", "glibc"), ("os", "linux")))
    far, near = Offer((("os", "darwin"),)), Offer((("arch", "ppc"), ("libc", "musl"), ("os", "linux")), OfferKind.CROSS)
    for offers in ((far, near), (near, far)):
        found = can_build(spec, Capability(offers, (), (skill_of(spec),)), skill_of(spec), {})
        assert isinstance(found, list)
        assert [(reason.name, reason.have) for reason in found] == [("libc", "musl")]


@given(st.permutations(list(OfferKind)), st.booleans())
def test_the_best_offer_is_native_before_cross_before_emulated(kinds: list[OfferKind], has_native: bool) -> None:
    spec = requirement((("os", "linux"),))
    offers = tuple(Offer((("os", "linux"),), kind) for kind in kinds if has_native or kind is not OfferKind.NATIVE)
    found = can_build(spec, Capability(offers, (), (skill_of(spec),)), skill_of(spec), {})
    assert isinstance(found, Offer)
    assert found.kind is (OfferKind.NATIVE if has_native else OfferKind.CROSS)


@pytest.mark.parametrize(
    ("skill", "said"),
    [
        (ProjectSkill("zlib", 3, "0" * 64), "is not configured for project lua"),
        (ProjectSkill("lua", 2, "0" * 64), "has recipe 2 of lua, needs 3: update config.py"),
        (
            ProjectSkill("lua", 3, "1" * 64),
            "describes the options of lua differently: update config.py or buildtool itself",
        ),
    ],
)
def test_a_server_with_another_configuration_is_told_what_to_update(skill: ProjectSkill, said: str) -> None:
    spec = requirement(())
    found = can_build(spec, Capability((Offer(()),), (), (skill,)), skill_of(spec), {})
    assert isinstance(found, list)
    assert [reason.words() for reason in found] == [said]


def test_a_machine_that_offers_nothing_is_given_a_reason() -> None:
    spec = requirement(())
    found = can_build(spec, Capability((), (), (skill_of(spec),)), skill_of(spec), {})
    assert isinstance(found, list)
    assert found[0].words() == "needs platform any, has none"


# --- requirements ---------------------------------------------------------------------------------------

OPTIONS = ProjectOptions(standard(), (flag("jit"),))
LOCAL: dict[str, Value] = {
    "os": "linux", "arch": "x86_64", "bits": 64, "byteorder": "little", "libc": "glibc", "libc_version": "2.36",
    "cpu_level": "x86-64-v3",
}  # fmt: skip


def test_a_requirement_defaults_to_the_requesters_own_machine() -> None:
    assert platform_required(OPTIONS, {}, LOCAL) == canonical(LOCAL)


@given(st.sampled_from(sorted(ARCHES)))
def test_another_arch_replaces_everything_that_follows_from_the_arch(arch: str) -> None:
    wanted = dict(platform_required(OPTIONS, {"arch": arch}, LOCAL))
    if arch == LOCAL["arch"]:
        assert wanted == LOCAL
        return
    assert wanted == {"os": ARCH_OSES.get(arch, "linux"), "arch": arch, **derived({"arch": arch})}


def test_a_system_for_one_architecture_only_is_asked_for_without_naming_that() -> None:
    wasi = {"os": "wasi", "arch": "wasm32", "bits": 32, "byteorder": "little"}
    assert dict(platform_required(OPTIONS, {"os": "wasi"}, LOCAL)) == wasi
    assert dict(platform_required(OPTIONS, {"arch": "wasm32"}, LOCAL)) == wasi
    with pytest.raises(UsageError, match="arch=ppc contradicts os=wasi, which there is for wasm32"):
        platform_required(OPTIONS, {"os": "wasi", "arch": "ppc"}, LOCAL)


@given(platforms, platforms)
def test_what_was_asked_for_is_required_and_nothing_local_that_it_silences(
    explicit: Canonical, local: Canonical
) -> None:
    said, mine = dict(explicit), dict(local)
    asked = {name: value for name, value in derived(said).items() if name in ("os", "arch")} | said
    silenced = {
        follower
        for name, followers in FOLLOWS_FROM.items()
        if name in asked and asked[name] != mine.get(name)
        for follower in followers
    }
    together = {name: value for name, value in mine.items() if name not in silenced} | asked
    together |= derived(together)  # such as the arch of a machine of which only an os for one arch is known
    if contradiction(together) not in (None, contradiction(mine)):
        with pytest.raises(UsageError, match="contradicts"):
            platform_required(OPTIONS, said, mine)
        return
    wanted = dict(platform_required(OPTIONS, said, mine))
    assert asked.items() <= wanted.items()
    for name, value in wanted.items():
        assert together[name] == value
    assert mine.keys() - silenced <= wanted.keys()


def test_a_platform_that_cannot_be_is_an_error_that_says_why() -> None:
    with pytest.raises(UsageError, match="bits=64 contradicts arch=ppc, whose bits is 32"):
        platform_required(OPTIONS, {"arch": "ppc", "bits": 64}, LOCAL)


def test_properties_that_the_project_does_not_declare_are_left_out() -> None:
    few = ProjectOptions(standard("os", "memory"), ())
    assert platform_required(few, {}, LOCAL) == (("os", "linux"),)


def test_what_a_machine_must_have_never_comes_from_the_requesters_machine() -> None:
    local: dict[str, Value] = LOCAL | {"memory": 65_536, "cpus": 64, "tools": ("gcc",)}
    assert platform_required(OPTIONS, {}, local) == canonical(LOCAL)
    assert machine_required(OPTIONS, {}, {}) == ()


@given(machines, machines, machines)
def test_a_machine_that_is_good_enough_meets_both_what_the_recipe_declares_and_what_was_asked(
    asked: Canonical, declared: Canonical, have: Canonical
) -> None:
    wanted = machine_required(OPTIONS, dict(asked), dict(declared))
    both = not unmet(asked, dict(have), {}) and not unmet(declared, dict(have), {})
    assert (not unmet(wanted, dict(have), {})) == both


KERNEL = ProjectOptions(
    (
        Property(text("kernel", default="0"), Role.MACHINE, Comparison.AT_LEAST, "kernel"),
        Property(number("noise", default=9), Role.MACHINE, Comparison.AT_MOST, "noise"),
    ),
    (),
)


@given(dotted, dotted, dotted, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_the_stricter_bound_is_the_one_that_the_propertys_own_direction_makes_so(
    asked: list[int], declared: list[int], have: list[int], loud: int, louder: int, is_: int
) -> None:
    wanted = machine_required(
        KERNEL,
        {"kernel": version(asked), "noise": loud},
        {"kernel": version(declared), "noise": louder},
    )
    met = not unmet(wanted, {"kernel": version(have), "noise": is_}, KERNEL.comparisons())
    assert met == (have >= max(asked, declared) and is_ <= min(loud, louder))


def test_artifact_properties_are_no_business_of_the_machines_requirement() -> None:
    asked: dict[str, Value] = {"arch": "ppc", "memory": 64}
    assert machine_required(OPTIONS, asked, {}) == (("memory", 64),)


# --- BuildKey and shelves -------------------------------------------------------------------------------


def inputs(spec: BuildSpec) -> str:
    """The canonical inputs of a BuildKey, spelled out without the product's own help."""

    def plain(pairs: Canonical) -> list[str]:
        return [f"{name}={type(value).__name__}:{value!r}" for name, value in pairs]

    said = [
        spec.project, spec.source, spec.revision, spec.recipe_version, plain(spec.options), plain(spec.platform),
        spec.native, spec.policy,
    ]  # fmt: skip
    return repr(said)


@given(build_specs, build_specs)
def test_two_builds_have_one_key_exactly_where_their_canonical_inputs_are_equal(one: BuildSpec, two: BuildSpec) -> None:
    assert (one.key() == two.key()) == (inputs(one) == inputs(two))


@given(build_specs, build_specs, st.sets(st.sampled_from([
    "project", "source", "revision", "recipe_version", "options", "platform", "machine", "native"
])))  # fmt: skip
def test_any_mixture_of_two_builds_keeps_the_key_exactly_where_the_inputs_stay(
    one: BuildSpec, two: BuildSpec, taken: set[str]
) -> None:
    mixed = evolve(one, **{name: getattr(two, name) for name in taken})
    assert (mixed.key() == one.key()) == (inputs(mixed) == inputs(one))
    shelf = {"project", "source", "revision", "recipe_version", "options"}
    assert (mixed.shelf == one.shelf) == (
        inputs(evolve(mixed, platform=(), native=False)) == inputs(evolve(one, platform=(), native=False))
    )
    if not taken & shelf:
        assert mixed.shelf == one.shelf


@given(build_specs, machines)
def test_what_the_machine_must_have_is_not_in_the_key(spec: BuildSpec, machine: Canonical) -> None:
    assert evolve(spec, machine=machine).key() == spec.key()


@pytest.mark.parametrize("values", [(True, 1), (1, "1"), (True, "True"), ((), ""), (("a", "b"), "a,b")])
def test_values_that_look_alike_are_different_inputs(values: tuple[Value, Value]) -> None:
    one, two = (BuildSpec("lua", "", "a" * 40, 3, (("x", value),), ()) for value in values)
    assert one.key() != two.key()
    assert one.shelf != two.shelf


def test_a_value_cannot_pass_for_a_neighbouring_one() -> None:
    one = BuildSpec("lua", "", "a" * 40, 3, (("x", "1"),), ())
    two = BuildSpec("lua", "", "a" * 40, 3, (), (("x", "1"),))
    assert one.key() != two.key()
