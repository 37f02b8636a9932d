"""Toolchains are believed by what they make: programs for the right machine, run where an emulator can."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.host import toolchains
from buildtool.adapters.host.toolchains import (
    NamedToolchain,
    ToolchainSurvey,
    known_toolchains,
    last_words,
    parse_answer,
    survey,
)
from buildtool.errors import ConfigurationError
from buildtool.model.binaries.recognition import HEAD, targets_of
from buildtool.model.platforms import ARCHES, TRIPLES
from buildtool.model.servers import OfferKind
from tests.model.binaries.heads import START, WASI_IMPORT, macho, pe, universal, wasm
from tests.support.packages import require

CROSS = {
    "powerpc-linux-gnu": "libc6-dev-powerpc-cross",
    "powerpc64le-linux-gnu": "libc6-dev-ppc64el-cross",
    "aarch64-linux-gnu": "libc6-dev-arm64-cross",
    "riscv64-linux-gnu": "libc6-dev-riscv64-cross",
    "s390x-linux-gnu": "libc6-dev-s390x-cross",
}
PPC = NamedToolchain("powerpc-linux-gnu", "ppc")


def program(directory: Path, name: str, text: str) -> Path:
    """Put a shell script into ``directory``, which a test has as its PATH."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- what programs say --------------------------------------------------------------------------------------


def test_the_preprocessors_answer_tells_library_and_compiler() -> None:
    said = "typedef int unrelated;\nbuildtool libc glibc 2 36\n\n buildtool cc gcc 12 2 0\n"
    assert parse_answer(said) == {"libc": ("glibc", "2.36"), "cc": ("gcc", "12.2.0")}
    assert parse_answer("buildtool cc clang 15 0 7\n") == {"cc": ("clang", "15.0.7")}
    assert parse_answer("buildtool libc glibc __GLIBC__ __GLIBC_MINOR__\n") == {}
    assert parse_answer("") == {}
    assert parse_answer(f"buildtool cc gcc {'9' * 9_000}\nbuildtool libc glibc{' 2' * 9_000}\n") == {}


@given(st.text(max_size=300))
def test_whatever_a_compiler_says_its_last_words_are_one_short_printable_line(said: str) -> None:
    words = last_words(said)
    assert words.isprintable()
    assert 0 < len(words) <= 200


def test_the_line_with_the_error_is_told_before_the_one_that_only_sums_up() -> None:
    said = (
        "t.c:1:10: fatal error: stdio.h: No such file or directory\n    1 | #include <stdio.h>\ncompilation terminated."
    )
    assert last_words(said) == "t.c:1:10: fatal error: stdio.h: No such file or directory"
    assert last_words("/usr/bin/ld: cannot find crt1.o: No such file\ncollect2: ld returned 1") == (
        "/usr/bin/ld: cannot find crt1.o: No such file"
    )


# --- looking --------------------------------------------------------------------------------------------------


def test_every_triple_leads_to_a_known_architecture_and_the_machines_own_is_not_looked_for() -> None:
    assert set(TRIPLES.values()) <= set(ARCHES)
    assert {one.arch for one in known_toolchains("linux", "x86_64")} == set(TRIPLES.values()) - {"x86_64"}
    assert {one.triple for one in known_toolchains("darwin", "x86_64")} == set(TRIPLES)


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    assert survey(known_toolchains("linux", "x86_64"), str(tmp_path)) == ToolchainSurvey()


@pytest.mark.parametrize("triple", CROSS)
def test_debians_cross_compilers_are_found_with_library_compiler_and_emulator(triple: str) -> None:
    require(f"{triple}-gcc", f"gcc-{triple} {CROSS[triple]}")
    qemu = f"qemu-{TRIPLES[triple]}-static"
    require(qemu, "qemu-user-static")
    found = survey([NamedToolchain(triple, TRIPLES[triple])])
    assert found.rejected == ()
    (one,) = found.toolchains
    assert (one.arch, one.kind, one.libc) == (TRIPLES[triple], OfferKind.CROSS, "glibc")
    assert one.libc_version is not None
    assert one.libc_version.split(".")[0] == "2"
    for role, name in (("CC", "gcc"), ("AR", "ar"), ("STRIP", "strip"), ("RANLIB", "ranlib")):
        assert one.tools[role] == f"{triple}-{name}"
    assert one.tools["HOST"] == triple
    assert one.tools["CC_VERSION"].startswith("gcc-")
    assert one.tools["RUN"] == f"{qemu} -L /usr/{triple}"


def test_without_the_emulator_in_path_a_toolchain_is_offered_and_runs_nothing(tmp_path: Path) -> None:
    compiler = Path(require("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross"))
    (tmp_path / compiler.name).symlink_to(compiler)
    (one,) = survey([PPC], str(tmp_path)).toolchains
    assert "RUN" not in one.tools
    assert one.tools["CC"] == "powerpc-linux-gnu-gcc"
    assert "STRIP" not in one.tools, "only what is there is named"


def test_an_emulator_that_does_not_run_the_program_is_none(tmp_path: Path) -> None:
    compiler = Path(require("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross"))
    (tmp_path / compiler.name).symlink_to(compiler)
    program(tmp_path, "qemu-ppc-static", "echo 'exec format error' >&2; exit 1")
    (one,) = survey([PPC], str(tmp_path)).toolchains
    assert "RUN" not in one.tools


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("echo 'fatal error: stdio.h: No such file' >&2; exit 1", "makes no program: fatal error: stdio.h"),
        ("exit 1", "makes no program: it said nothing, or took too long"),
        ("exec sleep 60", "makes no program: it said nothing, or took too long"),
        ('mkdir "$2"', "makes no program: it said nothing, or took too long"),
        ('mkfifo "$2"', "makes no program: it said nothing, or took too long"),
        ('ln -s program "$2"', "makes no program: it said nothing, or took too long"),
        ('echo "#!/bin/sh" > "$2"', "makes programs for nothing known, not linux on ppc"),
        (
            r'printf "\177ELF\002\001\001\0\0\0\0\0\0\0\0\0\003\0\076\0" > "$2"',
            "makes programs for linux on x86_64, not linux on ppc",
        ),
    ],
)
def test_a_compiler_that_makes_no_such_program_is_not_offered_and_it_is_told_why(
    tmp_path: Path, does: str, why: str
) -> None:
    path = f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"
    program(tmp_path, "powerpc-linux-gnu-gcc", does)
    found = survey([PPC], path, time_limit=0.5 if "sleep" in does else 20.0)
    assert found.toolchains == ()
    (rejected,) = found.rejected
    assert rejected.triple == "powerpc-linux-gnu"
    assert why in rejected.why


@pytest.mark.parametrize(
    ("os", "arch", "made", "suffix"),
    [
        ("windows", "x86_64", pe(0x8664), ".exe"),
        ("darwin", "aarch64", macho(0x0100000C), ""),
        ("darwin", "x86_64", universal(macho(0x0100000C), macho(0x01000007)), ""),
        ("wasi", "wasm32", wasm(WASI_IMPORT, START), ".wasm"),
    ],
)
def test_a_toolchain_for_another_system_is_tried_by_what_it_makes_too(
    tmp_path: Path, os: str, arch: str, made: bytes, suffix: str
) -> None:
    (tmp_path / "made").write_bytes(made)
    program(tmp_path, "its-gcc", f'case "$2" in */program{suffix}) /bin/cp {tmp_path}/made "$2";; esac')
    (one,) = survey([NamedToolchain("its", arch, os=os)], str(tmp_path)).toolchains
    assert (one.os, one.arch, one.kind) == (os, arch, OfferKind.CROSS)
    wrong = survey([NamedToolchain("its", arch, os="linux")], str(tmp_path))
    assert wrong.toolchains == ()


# --- what the donor names -------------------------------------------------------------------------------------


def native(**changed: object) -> NamedToolchain:
    """This machine's own compiler under the name of a donor's toolchain."""
    compiler = require("gcc", "gcc")
    with Path(sys.executable).resolve().open("rb") as stream:
        (target,) = targets_of(stream.read(HEAD))
    arch = target.arch
    assert arch is not None
    said: dict[str, object] = {"kind": OfferKind.NATIVE, "tools": {"CC": compiler}, "where": "mine.toml: toolchain 1"}
    return NamedToolchain(f"{arch}-own-linux", arch, **{**said, **changed})  # type: ignore[arg-type]


def test_what_the_donor_says_of_a_library_goes_before_what_its_headers_say() -> None:
    (found,) = survey([native(libc_version="2.17")]).toolchains
    assert (found.kind, found.libc, found.libc_version) == (OfferKind.NATIVE, "glibc", "2.17")
    assert "RUN" not in found.tools
    (other,) = survey([native(libc="dietlibc")]).toolchains
    assert (other.libc, other.libc_version) == ("dietlibc", None), "the version is not that of another library"


def test_a_command_of_the_donors_may_have_arguments_and_runs_through_the_emulator_that_they_name(
    tmp_path: Path,
) -> None:
    runner = program(tmp_path, "run it", 'shift; exec "$@"')
    named = native(kind=OfferKind.CROSS, tools={"CC": f"{require('gcc', 'gcc')} -O1"}, run=(str(runner), "--fast"))
    (found,) = survey([named]).toolchains
    assert found.tools["RUN"] == f"'{runner}' --fast"
    assert found.tools["CC"].endswith("gcc -O1")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tools": {"CC": "no-such-gcc"}}, "there is no no-such-gcc"),
        ({"tools": {}}, "there is no "),
        ({"tools": {"CC": "gcc", "AR": "no-such-ar -q"}}, "there is no no-such-ar"),
        ({"tools": {"CC": "gcc -O9 --no-such-flag"}}, "gcc makes no program: "),
        ({"arch": "ppc"}, "not linux on ppc"),
        ({"kind": OfferKind.CROSS, "run": ("false",)}, "false does not run what it makes"),
        ({"kind": OfferKind.EMULATED, "run": ("false",)}, "does not run here, so it is not emulated but cross"),
    ],
)
def test_a_toolchain_of_the_donors_own_that_does_not_work_is_an_error_that_says_where_and_why(
    changed: dict[str, object], why: str
) -> None:
    if "arch" in changed:
        named = toolchains.NamedToolchain(
            "x", "ppc", OfferKind.NATIVE, {"CC": require("gcc", "gcc")}, where="mine.toml: toolchain 1"
        )
    else:
        named = native(**changed)
    with pytest.raises(ConfigurationError) as error:
        survey([named])
    assert str(error.value).startswith("mine.toml: toolchain 1: ")
    assert why in str(error.value)
    assert "\n" not in str(error.value)
