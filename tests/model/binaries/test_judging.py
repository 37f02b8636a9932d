"""An artifact's files are for what was asked, or one line says which is not; and what they need together is sure."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.binaries.judging import MeasuredFile, measured, measured_need, wrong_file
from buildtool.model.binaries.need import FileNeed
from buildtool.model.binaries.recognition import targets_of
from buildtool.model.platforms import Value, compare_versions
from tests.model.binaries.heads import START, WASI_IMPORT, elf, macho, named, pe, universal, wasm
from tests.model.binaries.test_need import REAL

LINUX: dict[str, Value] = {
    "os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.28", "cpu_level": "x86-64-v1",
}  # fmt: skip
PPC: dict[str, Value] = {"os": "linux", "arch": "ppc", "libc": "glibc", "libc_version": "2.36"}
X86 = targets_of(elf(64, "little", 62))[0]


def file_for(name: str, data: bytes = b"text") -> MeasuredFile:
    """A file as it is measured, also where no platform is needed for it."""
    return measured(name, data) or MeasuredFile(name)


def needing(version: str, name: str = "tally", **more: str) -> MeasuredFile:
    return MeasuredFile(name, (FileNeed(X86, "glibc", version, whole=True, **more),))


def said(data: bytes, platform: dict[str, Value], name: str = "bin/tally") -> str:
    return wrong_file([file_for("README"), file_for(name, data)], platform)


def test_each_way_of_being_for_elsewhere_is_one_line_with_the_file_and_both_platforms() -> None:
    ask = ": does the recipe use tools['CC']?"
    assert (
        said(elf(64, "little", 62), PPC) == f"'bin/tally' is for linux on x86_64, and linux on ppc was asked for{ask}"
    )
    assert said(pe(0x8664), LINUX) == f"'bin/tally' is for windows on x86_64, and linux on x86_64 was asked for{ask}"
    assert said(elf(64, "little", 62), {"arch": "ppc"}).endswith(f"is for linux on x86_64, and ppc was asked for{ask}")
    assert said(wasm(WASI_IMPORT, START), LINUX).startswith("'bin/tally' is for wasi on wasm32, and linux on x86_64")
    assert said(elf(64, "little", 4711), LINUX).startswith("'bin/tally' is for linux on machine 0x1267 with 64 bits")
    glibc = REAL["elf-x86_64-glibc"]
    assert said(glibc, LINUX) == "'bin/tally' needs glibc 2.34, and 2.28 was asked for"
    assert said(glibc, LINUX | {"libc": "musl"}) == "'bin/tally' needs glibc, and musl was asked for"
    mac: dict[str, Value] = {"os": "darwin", "arch": "aarch64", "libc": "macos", "libc_version": "11.0"}
    assert said(REAL["macho-aarch64"], mac) == "'bin/tally' needs macOS 13.0, and 11.0 was asked for"
    files = [needing("2.17", cpu_level="x86-64-v3")]
    assert wrong_file(files, LINUX) == "'tally' needs a processor of x86-64-v3, and x86-64-v1 was asked for"


def test_what_is_for_no_platform_or_for_the_right_one_is_in_nobodys_way() -> None:
    for data in (
        b"#!/bin/sh\n", b"", b"PK\x03\x04 packed", elf(64, "little", 62), elf(64, "little", 62, kind=1),
        REAL["static-library"],
        elf(64, "little", 247, kind=1), pe(0x14C, 32, managed=True), wasm((2, b"\x01" + named("env", "x") + b"\0\0")),
        elf(64, "little", 190, kind=2),
    ):  # fmt: skip
        assert said(data, LINUX) == ""
    assert said(elf(64, "little", 62), {"arch": "e2k"}) == "", "of what has no name here it cannot be told"
    assert said(elf(64, "little", 62), {}) == ""
    assert said(elf(32, "little", 40), {"os": "linux", "arch": "armv6l"}) == "", "all ARM files have one number"


def test_a_static_library_and_an_object_file_for_elsewhere_are_told_as_well() -> None:
    for data in (REAL["static-library"], elf(64, "little", 62, kind=1)):
        assert said(data, PPC).startswith("'bin/tally' is for linux on x86_64, and linux on ppc was asked for")


def test_of_a_universal_file_one_slice_has_to_be_for_what_was_asked() -> None:
    both = universal(macho(0x01000007), macho(0x0100000C))
    assert said(both, {"os": "darwin", "arch": "aarch64"}) == ""
    assert said(both, {"os": "darwin", "arch": "ppc"}) != ""


def test_a_file_that_the_recipe_named_as_meant_for_elsewhere_is_left_out() -> None:
    files = [needing("2.17"), file_for("win/setup.exe", pe(0x8664))]
    assert wrong_file(files, LINUX) != ""
    for pattern in ("*.exe", "win/*", "win/setup.exe"):
        assert wrong_file(files, LINUX, [pattern]) == ""
        assert measured_need(files, LINUX, [pattern]) == (("libc_version", "2.17"),)


@given(st.lists(st.sampled_from(["2.2.5", "2.9", "2.17", "2.28"]), min_size=1, max_size=5))
def test_together_files_need_the_newest_that_one_of_them_needs(versions: list[str]) -> None:
    files = [needing(version, f"lib{number}") for number, version in enumerate(versions)]
    ((name, value),) = measured_need(files, LINUX)
    assert name == "libc_version"
    assert value in versions
    assert all(compare_versions(str(value), version) >= 0 for version in versions)


def test_where_there_is_code_of_which_it_is_not_known_what_it_needs_nothing_is() -> None:
    sure = needing("2.17")
    assert measured_need([sure, file_for("README")], LINUX) == (("libc_version", "2.17"),)
    unsure = evolve(sure.needs[0], whole=False)
    for other in (
        file_for("a.o", elf(64, "little", 62, kind=1)), file_for("lib.a", REAL["static-library"]),
        file_for("more.tar.gz", b"\x1f\x8b" + bytes(9)), file_for("damaged", b"\x7fELF" + bytes(3)),
        MeasuredFile("private", (unsure,)), MeasuredFile("unversioned", (evolve(sure.needs[0], libc_version=None),)),
    ):  # fmt: skip
        assert measured_need([sure, other], LINUX) == (), other.name
    assert measured_need([file_for("README")], LINUX) == ()


def test_what_is_measured_of_other_systems_is_told_too() -> None:
    assert measured_need([file_for("a.dll", REAL["pe-aarch64"])], {"os": "windows"}) == (("windows", "6.0"),)
    assert measured_need([file_for("a", REAL["wasi"])], {"os": "wasi"}) == (("wasi", "preview1"),)
    assert measured_need([file_for("a", REAL["macho-aarch64"])], {"os": "darwin"}) == (("libc_version", "13.0"),)
