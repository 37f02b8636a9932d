"""Requests as people type them, over the machine they sit at: which binary will do, who builds it, and who does not."""

from collections.abc import Mapping

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.matching.reasons import Cause
from buildtool.model.matching.requiring import machine_required, platform_required
from buildtool.model.options import canonical, flag
from buildtool.model.platforms import ARCH_OSES, ARCHES, CPU_LEVELS, TRIPLES, Value, canonical_arch
from buildtool.model.policy import Policy
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import Attempt, BuildSpec
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill
from buildtool.scheduling.answers import Dispatched, Hit, JoinedBuild, Queued
from tests.scheduling import worlds
from tests.scheduling.farm import Farm

OPTIONS = ProjectOptions(standard(), (flag("jit"),))
SKILL = ProjectSkill("lua", 3, OPTIONS.digest())
POLICY = Policy(3, OPTIONS.digest(), tuple(sorted(OPTIONS.comparisons().items())))
RECIPE_NEEDS: dict[str, Value] = {"memory": 64, "tools": ("make",)}

DESK: dict[str, Value] = {
    "os": "linux", "arch": "x86_64", "bits": 64, "byteorder": "little", "libc": "glibc", "libc_version": "2.36",
    "cpu_level": "x86-64-v3",
}  # fmt: skip
"""The machine at which the requester sits."""

NATIVE, CROSS, EMULATED = OfferKind.NATIVE, OfferKind.CROSS, OfferKind.EMULATED


def typed(
    local: Mapping[str, Value] = DESK,
    *,
    native: bool = False,
    options: Mapping[str, Value] | None = None,
    **said: Value,
) -> BuildSpec:
    """What the metaserver makes of the options that were set on the command line."""
    said |= options or {}
    return evolve(
        worlds.spec(),
        options=OPTIONS.compile_values({}),
        platform=platform_required(OPTIONS, OPTIONS.system_values(said), local),
        machine=machine_required(OPTIONS, OPTIONS.system_values(said), RECIPE_NEEDS),
        native=native,
    )


def platform(arch: str, *, libc: str = "2.36", level: str = CPU_LEVELS[0]) -> dict[str, Value]:
    """All artifact properties of a platform, as a build server announces them."""
    found: dict[str, Value] = {
        "os": "linux", "arch": arch, "bits": ARCHES[arch].bits, "byteorder": ARCHES[arch].byteorder,
        "libc": "glibc", "libc_version": libc,
    }  # fmt: skip
    return found | ({"cpu_level": level} if arch == "x86_64" else {})


def offering(*offers: tuple[Mapping[str, Value], OfferKind], memory: int = 64, cpus: int = 1) -> Capability:
    machine = canonical({"memory": memory, "cpus": cpus, "tools": ("make",)})
    return Capability(tuple(Offer(canonical(of), kind) for of, kind in offers), machine, (SKILL,))


def new_farm(**servers: Capability) -> Farm:
    farm = Farm({"lua": POLICY})
    for name, capability in servers.items():
        farm.login(name, capability)
    return farm


def built(farm: Farm, spec: BuildSpec) -> Attempt:
    """Ask, let the server that got it deliver, and return the Attempt."""
    asked = farm.ask(spec)
    assert isinstance(asked, Dispatched)
    attempt = farm.attempt_on(asked.server)
    farm.deliver(asked.server, attempt)
    return attempt


# --- what is asked for ----------------------------------------------------------------------------------------


@given(st.sampled_from([arch for arch in ARCHES if arch != "x86_64"]), st.booleans())
def test_who_names_an_architecture_asks_for_that_machine_and_for_nothing_of_their_own(arch: str, alias: bool) -> None:
    names = [arch, *ARCHES[arch].aliases]
    said = names[-1] if alias else arch
    assert canonical_arch(said) == arch
    assert dict(typed(arch=said).platform) == {
        "os": ARCH_OSES.get(arch, "linux"), "arch": arch, "bits": ARCHES[arch].bits, "byteorder": ARCHES[arch].byteorder
    }  # fmt: skip


@given(
    st.fixed_dictionaries({}, optional={"memory": st.integers(1, 2**20), "cpus": st.integers(1, 512),
                                        "disk": st.integers(1, 2**20), "tools": st.just(("gcc", "ninja"))})
)  # fmt: skip
def test_the_requesters_own_machine_demands_nothing_of_a_donor(own: dict[str, Value]) -> None:
    """However large it is, a small machine that has what the recipe needs gets the build."""
    local = DESK | own
    assert typed(local) == typed(DESK)
    assert dict(typed(local).machine) == RECIPE_NEEDS
    farm = new_farm(small=offering((platform("x86_64"), NATIVE), memory=64, cpus=1))
    assert isinstance(farm.ask(typed(local)), Dispatched)


def test_what_the_requester_says_of_memory_is_demanded() -> None:
    farm = new_farm(small=offering((platform("x86_64"), NATIVE), memory=64))
    asked = farm.ask(typed(memory=65))
    assert isinstance(asked, Queued)
    farm.login("large", offering((platform("x86_64"), NATIVE), memory=65))
    assert farm.running_on(asked) == "large"


# --- what is kept, and for whom it will do --------------------------------------------------------------------


@pytest.mark.parametrize("arch", sorted(set(TRIPLES.values()) - {"x86_64"}))
def test_a_vague_request_never_caches_an_ambiguous_binary(arch: str) -> None:
    """Who asked for the arch alone gets a binary that is kept with its library: a stricter request looks at that."""
    farm = new_farm(anna=offering((platform("x86_64"), NATIVE), (platform(arch, libc="2.36"), CROSS)))
    built(farm, typed(arch=arch))
    (artifact,) = farm.artifacts()
    assert dict(artifact.platform) == platform(arch, libc="2.36")
    assert artifact.kind is CROSS
    assert isinstance(farm.ask(typed(arch=arch)), Hit)
    assert isinstance(farm.ask(typed(arch=arch, libc="glibc", libc_version="2.36")), Hit)
    assert isinstance(farm.ask(typed(arch=arch, libc="musl")), Queued)
    assert isinstance(farm.ask(typed(arch=arch, libc_version="2.35")), Queued)
    assert isinstance(farm.ask(typed()), Dispatched), "nor is it one for the requester's own machine"


offered = st.sampled_from(
    [platform("x86_64", libc=libc, level=level) for libc in ("2.9", "2.17", "2.36") for level in CPU_LEVELS]
    + [platform(arch, libc=libc) for arch in ("ppc", "aarch64") for libc in ("2.9", "2.36")]
)
said = st.fixed_dictionaries(
    {},
    optional={
        "arch": st.sampled_from(["x86_64", "ppc", "aarch64"]),
        "libc_version": st.sampled_from(["2.9", "2.17", "2.31", "2.36", "2.100"]),
    },
)


@given(offered, said, said)
def test_what_a_vague_request_left_behind_is_a_hit_exactly_for_whom_it_runs(
    has: dict[str, Value], first: dict[str, Value], second: dict[str, Value]
) -> None:
    farm = new_farm(anna=offering((has, CROSS)))
    asked = farm.ask(typed(options=first))
    assert isinstance(asked, Dispatched) == runs(has, first)
    if not isinstance(asked, Dispatched):
        return
    farm.deliver("anna")
    (artifact,) = farm.artifacts()
    assert dict(artifact.platform) == has
    assert isinstance(farm.ask(typed(options=second)), Hit) == runs(has, second)


def runs(binary: Mapping[str, Value], asked: Mapping[str, Value]) -> bool:
    """Whether a binary runs on the machine that is asked for, in plain numbers and without the product's help."""

    def number(version: Value) -> tuple[int, ...]:
        return tuple(int(part) for part in str(version).split("."))

    own = asked.get("arch", DESK["arch"]) == DESK["arch"]
    if binary["arch"] != asked.get("arch", DESK["arch"]):
        return False
    newest = asked.get("libc_version", DESK["libc_version"] if own else None)
    if newest is not None and number(binary["libc_version"]) > number(newest):
        return False
    return not own or int(str(binary["cpu_level"])[-1]) <= int(str(DESK["cpu_level"])[-1])


@given(st.sampled_from(CPU_LEVELS), st.sampled_from(CPU_LEVELS))
def test_a_binary_for_a_higher_processor_level_than_asked_is_no_hit(made: str, asked: str) -> None:
    farm = new_farm(anna=offering((platform("x86_64", level=made), NATIVE)))
    built(farm, typed(DESK | {"cpu_level": "x86-64-v4"}))
    answer = farm.ask(typed(cpu_level=asked))
    assert isinstance(answer, Hit) == (made[-1] <= asked[-1])


# --- who builds it --------------------------------------------------------------------------------------------


@given(st.permutations([NATIVE, CROSS, EMULATED]), st.integers(1, 64))
def test_when_all_else_is_equal_native_beats_cross_beats_emulated_whoever_came_first(
    kinds: list[OfferKind], cpus: int
) -> None:
    """More processors do not make up for it; only being busy does."""
    farm = Farm({"lua": POLICY})
    for place, kind in enumerate(kinds):
        farm.login(f"server{place}", offering((platform("ppc"), kind), cpus=cpus if kind is NATIVE else 64))
    chosen = []
    for revision in range(3):
        asked = farm.ask(evolve(typed(arch="ppc"), revision=worlds.REVISIONS[revision]))
        assert isinstance(asked, Dispatched)
        chosen.append(farm.attempt_on(asked.server).kind)
    assert chosen == [NATIVE, CROSS, EMULATED]


def test_one_machine_that_can_do_both_builds_natively() -> None:
    farm = new_farm(anna=offering((platform("ppc"), CROSS), (platform("ppc"), NATIVE)))
    assert built(farm, typed(arch="ppc")).kind is NATIVE


@pytest.mark.parametrize("kind", [CROSS, EMULATED])
def test_who_demands_native_takes_no_other_artifact_and_waits_for_a_native_machine(kind: OfferKind) -> None:
    farm = new_farm(anna=offering((platform("ppc"), kind)))
    built(farm, typed(arch="ppc"))
    asked = farm.ask(typed(arch="ppc", native=True))
    assert isinstance(asked, Queued)
    (group,) = farm.why(asked).groups
    (reason,) = group.reasons
    assert reason.cause is Cause.NATIVE
    assert reason.words() == f"builds this platform {kind.value}, not native"
    farm.login("bert", offering((platform("ppc"), NATIVE)))
    assert farm.running_on(asked) == "bert"
    farm.deliver("bert")
    assert isinstance(farm.ask(typed(arch="ppc", native=True)), Hit)
    assert isinstance(farm.ask(typed(arch="ppc")), Hit), "a native binary does for everybody"


def test_who_demands_native_joins_no_build_that_may_be_cross() -> None:
    farm = new_farm(anna=offering((platform("ppc"), CROSS)))
    vague = farm.ask(typed(arch="ppc"))
    assert farm.running_on(vague) == "anna"
    strict = farm.ask(typed(arch="ppc", native=True))
    assert isinstance(strict, Queued)
    farm.deliver("anna")
    assert farm.running_on(strict) == ""
    assert farm.ends_told(strict) == []


def test_who_does_not_care_joins_a_build_that_will_be_native() -> None:
    farm = new_farm()
    strict = farm.ask(typed(arch="ppc", native=True))
    joined = farm.ask(typed(arch="ppc"))
    assert isinstance(joined, JoinedBuild)
    assert joined.build.id == farm.build_of(strict).id


def test_a_failure_that_was_seen_cross_compiling_is_not_told_to_who_demands_native() -> None:
    farm = new_farm(anna=offering((platform("ppc"), CROSS)))
    farm.ask(typed(arch="ppc"))
    farm.fail("anna")
    farm.login("bert", offering((platform("ppc"), NATIVE)))
    assert isinstance(farm.ask(typed(arch="ppc", native=True)), Dispatched)
