"""Slips of the finger are told at once; what nobody has yet may be waited for, and that is said."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.platforms import ARCHES, LIBCS, Value, contradiction
from buildtool.model.project_options import ProjectOptions, check_known
from buildtool.model.properties import ENUMERATED, TOOLS, standard
from buildtool.scheduling.waiting import lines
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import machine, spec

OPTIONS = ProjectOptions(standard(), ())


def refused(said: dict[str, Value], offered: dict[str, tuple[Value, ...]] | None = None) -> str:
    """What is said of it, or nothing when it is taken."""
    try:
        check_known(OPTIONS, OPTIONS.system_values(said), offered or {}, {*TOOLS, "frobnicate"})
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"arch": "pcc"}, "--arch: pcc is not known: did you mean ppc? (build servers have offered ppc, vax)"),
        ({"arch": "zzzz"}, "--arch: zzzz is not known; there are x86_64, i686,"),
        ({"libc": "glib"}, "--libc: glib is not known: did you mean glibc? (no build server has come yet)"),
        ({"bits": 48}, "--bits: 48 is not known"),
        ({"tools": ("gccc",)}, "--tools: no build server looks for gccc: did you mean gcc?"),
        (
            {"tools": ("gcc", "qqqqq")},
            "--tools: no build server looks for qqqqq; build servers look for common programs",
        ),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_the_nearest(said: dict[str, Value], told: str) -> None:
    assert refused(said, {"arch": ("vax", "ppc")}).startswith(told)


@given(st.sampled_from(sorted(ARCHES)), st.sampled_from(sorted(LIBCS)))
def test_what_is_known_may_be_waited_for_and_so_may_what_somebody_offered(arch: str, libc: str) -> None:
    assert refused({"arch": arch, "libc": libc, "bits": 64, "tools": ("gcc", "frobnicate")}) == ""
    assert refused({"arch": "vax", "libc": "newlib"}, {"arch": ("vax",), "libc": ("newlib",)}) == ""


def test_properties_of_names_are_those_that_are_offered_by_name() -> None:
    """Whoever adds a property whose values are names sees to it that a slip of the finger is told, too."""
    texts = {name for name in OPTIONS.artifact_names if OPTIONS.property(name).option.kind.value == "string"}  # type: ignore[union-attr] # each is there
    assert texts - {"libc_version"} <= set(ENUMERATED)


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"arch": "ppc", "cpu_level": "x86-64-v3"}, "cpu_level=x86-64-v3 contradicts arch=ppc"),
        ({"arch": "vax", "cpu_level": "x86-64-v3"}, "cpu_level=x86-64-v3 contradicts arch=vax"),
        ({"os": "darwin", "libc": "musl"}, "libc=musl contradicts os=darwin"),
        ({"os": "linux", "libc": "macos"}, "libc=macos contradicts os=linux"),
        ({"os": "darwin", "arch": "s390x"}, "arch=s390x contradicts os=darwin, which there is for x86_64, aarch64"),
        ({"arch": "ppc", "bits": 64}, "bits=64 contradicts arch=ppc"),
        ({"arch": "ppc", "byteorder": "little"}, "byteorder=little contradicts arch=ppc"),
    ],
)
def test_what_no_machine_can_be_is_refused(properties: dict[str, Value], told: str) -> None:
    assert (contradiction(properties) or "").startswith(told)


def test_what_nobody_has_offered_yet_waits_and_that_is_said_at_once() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask(spec(platform={"os": "linux", "arch": "riscv64"}))
    told = lines(farm.why(asked))
    assert (
        "nearest: no build server has offered arch riscv64 yet; needs arch riscv64; the best is x86_64 on anna" in told
    )
    farm.login("ruth", machine(arch="riscv64"))
    farm.deliver("ruth")
    farm.logout("ruth")
    again = farm.ask(spec(1, platform={"os": "linux", "arch": "riscv64"}))
    assert not any("has offered" in line for line in lines(farm.why(again)))
    assert set(farm.broker.state.groups.offered["arch"]) == {"x86_64", "riscv64"}


def test_what_is_offered_is_counted_by_those_that_are_known() -> None:
    """A build server that announces something else, and a decision that is taken back, leave no name behind."""
    farm = Farm()
    state = farm.broker.state
    farm.login("anna", machine(arch="ppc", cross=("s390x",)))
    farm.login("bert", machine(arch="ppc"))
    assert dict(state.groups.offered["arch"]) == {"ppc": 2, "s390x": 1}
    farm.login("anna", machine())
    assert dict(state.groups.offered["arch"]) == {"x86_64": 1, "ppc": 1}
    mark = state.journal.savepoint()
    state.put(evolve(state.servers["bert"], capability=machine(arch="mips")))
    assert set(state.groups.offered["arch"]) == {"x86_64", "mips"}
    state.journal.rollback(mark)
    assert dict(state.groups.offered["arch"]) == {"x86_64": 1, "ppc": 1}
