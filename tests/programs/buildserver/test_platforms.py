"""What a donor's machine offers besides itself, and how they restrict or add to it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.host.detectors import Detected
from buildtool.adapters.host.toolchain_file import ToolchainFile
from buildtool.adapters.host.toolchains import RejectedToolchain, Toolchain, ToolchainSurvey
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import canonical
from buildtool.model.platforms import ARCHES, CPU_LEVELS
from buildtool.model.servers import Offer, OfferKind
from buildtool.programs.buildserver.capability import announced, restricted
from buildtool.programs.buildserver.main import main
from buildtool.programs.buildserver.platforms import PlatformChoice, choice_of, survey_platforms
from tests.fakes_build import project
from tests.support.packages import require

DETECTED: dict[str, Detected] = {
    "os": "linux", "arch": "x86_64", "bits": 64, "byteorder": "little", "libc": "glibc", "libc_version": "2.36",
    "cpu_level": "x86-64-v4", "tools": ("cc", "gcc"), "cc_version": "gcc-12.2.0",
    "tool_versions": ("cc=12.2.0", "gcc=12.2.0"),
}  # fmt: skip
PPC = Toolchain(
    "ppc", OfferKind.CROSS, "glibc", "2.31",
    {"CC": "powerpc-linux-gnu-gcc", "HOST": "powerpc-linux-gnu", "RUN": "qemu-ppc-static", "CC_VERSION": "gcc-10.1.0"},
)  # fmt: skip


def offers(*toolchains: Toolchain) -> tuple[Offer, ...]:
    found = announced([project()], DETECTED, max_builds=1, admin="", software="", found=ToolchainSurvey(toolchains))
    return found.offers


# --- what is offered --------------------------------------------------------------------------------------------


def test_a_cross_toolchain_is_offered_as_a_platform_of_its_own_and_says_nothing_of_this_machines() -> None:
    native, cross = offers(PPC)
    assert native.kind is OfferKind.NATIVE
    assert dict(native.tools)["CC_VERSION"] == "gcc-12.2.0"
    assert (cross.kind, dict(cross.platform)) == (
        OfferKind.CROSS,
        {"os": "linux", "arch": "ppc", "bits": 32, "byteorder": "big", "libc": "glibc", "libc_version": "2.31"},
    )
    assert dict(cross.tools) == PPC.tools


@given(st.sampled_from(sorted(ARCHES)), st.sampled_from(OfferKind))
def test_an_offer_is_of_its_architecture_and_targets_the_lowest_level_where_there_are_levels(
    arch: str, kind: OfferKind
) -> None:
    platform = dict(offers(Toolchain(arch, kind, None, None, {}))[-1].platform)
    assert (platform["arch"], platform["bits"], platform["byteorder"]) == (
        arch, ARCHES[arch].bits, ARCHES[arch].byteorder
    )  # fmt: skip
    assert platform.get("cpu_level") == (CPU_LEVELS[0] if arch == "x86_64" else None)
    assert "libc" not in platform


def test_of_two_toolchains_for_one_platform_the_later_stands() -> None:
    own = Toolchain("ppc", OfferKind.CROSS, "glibc", "2.31", {"CC": "mine"})
    assert [dict(one.tools)["CC"] for one in offers(PPC, own)] == ["gcc", "mine"]
    other = Toolchain("ppc", OfferKind.CROSS, "glibc", "2.17", {"CC": "old"})
    assert len(offers(PPC, other)) == 3, "another C library is another platform"


@pytest.mark.parametrize(
    ("detected", "compiler"),
    [
        ({}, "gcc-12.2.0"),
        ({"cc_version": "clang-15.0.7", "tool_versions": ("cc=15.0.7", "gcc=12.2.0")}, "gcc-12.2.0"),
        ({"cc_version": "clang-15.0.0", "tool_versions": ("cc=15.0.0", "gcc=15.0.0")}, "clang-15.0.0"),
        ({"cc_version": None}, None),
        ({"tools": ()}, None),
    ],
)
def test_the_version_told_is_that_of_the_compiler_named(detected: dict[str, Detected], compiler: str | None) -> None:
    found = announced([], DETECTED | detected, max_builds=1, admin="", software="")
    assert dict(found.offers[0].tools).get("CC_VERSION") == compiler


# --- what is chosen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (None, ["x86_64", "ppc"]), (("native",), ["x86_64"]), (("amd64",), ["x86_64"]), (("cross",), ["ppc"]),
        (("powerpc",), ["ppc"]), (("powerpc-linux-gnu",), ["ppc"]), (("ppc", "native"), ["x86_64", "ppc"]),
    ],
)  # fmt: skip
def test_platforms_are_chosen_by_kind_architecture_or_triple(names: tuple[str, ...] | None, kept: list[str]) -> None:
    assert [dict(one.platform)["arch"] for one in PlatformChoice(names).chosen(offers(PPC))] == kept


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            PlatformChoice(("native", "pcc")),
            "--platforms: 'pcc' is no platform: say native, cross, emulated, linux, ",
        ),
        (
            PlatformChoice(("s390x",)),
            "--platforms: this machine cannot build for 's390x': no compiler for it was found in PATH",
        ),
        (PlatformChoice(("cross",), cross=False), "--platforms: nothing is left of 'cross' with --no-cross"),
        (
            PlatformChoice(("mips",), where="f.toml: platforms"),
            "f.toml: platforms: this machine cannot build for 'mips'",
        ),
    ],
)
def test_a_name_that_chooses_nothing_is_an_error(choice: PlatformChoice, said: str) -> None:
    with pytest.raises(UsageError) as error:
        choice.chosen(offers(PPC))
    assert str(error.value).startswith(said)


def test_a_compiler_that_is_there_and_does_not_work_is_named_to_who_wanted_it() -> None:
    found = announced(
        [], DETECTED, max_builds=1, admin="", software="",
        found=ToolchainSurvey((), (RejectedToolchain("powerpc-linux-gnu", "makes no program: stdio.h"),)),
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"cannot build for 'ppc'.*; powerpc-linux-gnu: makes no program: stdio\.h"):
        restricted(found, PlatformChoice(("ppc",)))


def test_without_cross_nothing_of_that_kind_is_left() -> None:
    assert [one.kind for one in PlatformChoice(cross=False).chosen(offers(PPC))] == [OfferKind.NATIVE]


@given(st.lists(st.sampled_from(["native", "cross", "emulated", *ARCHES]), min_size=1), st.sampled_from(sorted(ARCHES)))
def test_what_is_chosen_fits_a_name_and_what_is_left_out_fits_none(names: list[str], arch: str) -> None:
    choice = PlatformChoice(tuple(names))
    for kind in OfferKind:
        offer = Offer(canonical({"arch": arch}), kind)
        assert choice.takes(kind, arch) == (kind.value in names or arch in names)
        if choice.takes(kind, arch) and set(names) <= {kind.value, arch}:
            assert choice.chosen([offer]) == (offer,)


def test_the_command_line_goes_before_the_file() -> None:
    file, path = ToolchainFile(("ppc",)), Path("f.toml")
    assert choice_of(None, cross=True, file=file, path=path).names == ("ppc",)
    assert choice_of(" native, ppc ,", cross=True, file=file, path=path).names == ("native", "ppc")
    with pytest.raises(UsageError, match="--platforms is empty"):
        choice_of(",", cross=True, file=file, path=path)


# --- all together ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILDTOOL_BUILD_DIR", str(tmp_path / "builds"))


def test_only_what_may_be_offered_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that would leave a trace is not run when its platform was not chosen."""
    trace = tmp_path / "ran"
    compiler = tmp_path / "powerpc-linux-gnu-gcc"
    compiler.write_text(f"#!/bin/sh\n: > '{trace}'\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for platforms, cross in (("native", True), (None, False)):
        found, _ = survey_platforms(platforms, DETECTED, cross=cross, path=None)
        assert found == ToolchainSurvey()
    assert not trace.exists()
    found, _ = survey_platforms("ppc", DETECTED, cross=True, path=None)
    assert [one.triple for one in found.rejected] == ["powerpc-linux-gnu"]
    assert trace.exists()


def test_a_toolchain_of_the_owners_file_stands_in_the_place_of_the_found_one(tmp_path: Path) -> None:
    require("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross")
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[toolchain]]\ntriple = "powerpc-linux-gnu"\ncc = "powerpc-linux-gnu-gcc -Os"\nlibc_version = "2.20"\n'
    )
    found, _ = survey_platforms("ppc", DETECTED, cross=True, path=path)
    (one,) = found.toolchains
    assert (one.tools["CC"], one.libc_version) == ("powerpc-linux-gnu-gcc -Os", "2.20")
    path.write_text('[[toolchain]]\ntriple = "powerpc-linux-gnu"\ncc = "no-such-gcc"\n')
    with pytest.raises(
        ConfigurationError, match=r"mine.toml: toolchain 1 \(powerpc-linux-gnu\): there is no no-such-gcc"
    ):
        survey_platforms(None, DETECTED, cross=True, path=path)
    assert survey_platforms(None, DETECTED, cross=False, path=path)[0] == ToolchainSurvey(), (
        "what is not offered is not tried"
    )


@pytest.mark.usefixtures("_own_surroundings")
def test_the_owner_is_shown_platform_kind_library_compiler_and_emulator(capsys: pytest.CaptureFixture[str]) -> None:
    require("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross")
    require("qemu-ppc-static", "qemu-user-static")
    assert main(["--show-info", "--json", "--platforms", "ppc"]) == 0
    (offer,) = json.loads(capsys.readouterr().out)["offers"]
    assert (offer["kind"], offer["platform"]["arch"], offer["platform"]["libc"]) == ("cross", "ppc", "glibc")
    assert offer["platform"]["libc_version"][0] == "2"
    assert offer["compiler"].startswith("gcc-")
    assert offer["emulator"] == "qemu-ppc-static -L /usr/powerpc-linux-gnu"
    assert main(["--show-info", "--platforms", "ppc"]) == 0
    text = capsys.readouterr().out
    rows = dict(line.strip().split(maxsplit=1) for line in text.splitlines())
    assert (rows["compiler"], rows["emulator"]) == (offer["compiler"], offer["emulator"])
    assert "builds native" not in text


@pytest.mark.usefixtures("_own_surroundings")
def test_a_wrong_choice_or_file_ends_the_start_with_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments, code, said in (
        (["--platforms", "vax"], 2, "buildserver.py: --platforms: 'vax' is no platform"),
        (["--toolchains", str(tmp_path / "none")], 2, f"buildserver.py: {tmp_path}/none: cannot be read"),
    ):
        assert main([*arguments, "--show-info"]) == code
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
        assert told.err.startswith(said)
