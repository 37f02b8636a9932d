"""Detectors say what this machine is, agree with its own programs, and never fail."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.host import detectors, programs
from buildtool.model.platforms import ARCHES, CPU_LEVELS
from buildtool.model.properties import DETECTORS, STANDARD

GCC = "gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022 Free Software Foundation, Inc.\n"
CC = "cc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022 Free Software Foundation, Inc.\n"
APPLE = "Apple clang version 15.0.0 (clang-1500.3.9.4)\nTarget: arm64-apple-darwin23.4.0\nThread model: posix\n"


@pytest.fixture(scope="module")
def found() -> dict[str, detectors.Detected]:
    return detectors.detect_machine(Path("/nonexistent/place/of/builds"))


def test_every_standard_property_has_a_detector_and_what_it_finds_is_a_value_of_the_property(
    found: dict[str, detectors.Detected],
) -> None:
    for name, prop in STANDARD.items():
        value = found[prop.detector]
        if value is not None:
            said = ",".join(value) if isinstance(value, tuple) else str(value)
            assert prop.option.parse(said) == value, name


def test_what_is_found_agrees_with_python_and_itself(found: dict[str, detectors.Detected]) -> None:
    assert found["byteorder"] == sys.byteorder
    assert found["bits"] == (64 if sys.maxsize > 2**32 else 32)
    arch = ARCHES[str(found["arch"])]
    assert (arch.bits, arch.byteorder) == (found["bits"], found["byteorder"])
    for name in ("cpus", "memory", "disk"):
        value = found[name]
        assert isinstance(value, int)
        assert value > 0, name
    if found["arch"] == "x86_64":
        assert found["cpu_level"] in CPU_LEVELS


def test_the_tools_found_are_those_that_run_and_their_versions_are_what_they_say(
    found: dict[str, detectors.Detected],
) -> None:
    versions = found["tool_versions"]
    assert isinstance(versions, tuple)
    assert isinstance(found["tools"], tuple)
    known = dict(one.split("=", 1) for one in versions)
    for name in ("git", "python3"):
        assert name in found["tools"]
        said = subprocess.run([name, "--version"], check=True, capture_output=True, text=True)
        assert known[name] in said.stdout + said.stderr
    assert set(known) <= set(found["tools"])
    assert all(shutil.which(name) for name in found["tools"])


def test_the_c_library_is_the_one_that_ldd_names(found: dict[str, detectors.Detected]) -> None:
    if found["libc"] == "glibc":
        said = subprocess.run(["ldd", "--version"], check=True, capture_output=True, text=True).stdout
        assert re.search(rf"{re.escape(str(found['libc_version']))}\b", said.splitlines()[0])
    else:
        assert found["libc"] in ("musl", "macos")


@pytest.mark.parametrize(
    ("machine", "bits", "arch"),
    [("x86_64", 64, "x86_64"), ("AMD64", 64, "x86_64"), ("x86_64", 32, "i686"),
     ("i386", 32, "i686"), ("arm64", 64, "aarch64"),
     ("aarch64", 32, "armv7l"), ("ppc64", 32, "ppc"), ("ppc64le", 64, "ppc64le"), ("riscv64", 64, "riscv64")],
)  # fmt: skip
def test_the_arch_is_what_the_userland_is_made_for(machine: str, bits: int, arch: str) -> None:
    assert detectors.userland_arch(machine, bits) == arch


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
            "debian-12",
        ),
        ("NAME=Arch\nID=arch\nBUILD_ID=rolling\n", "arch"),
        ("# ID=no\nID='alpine'\nVERSION_ID=3.19.1\n", "alpine-3.19.1"),
        ("", None),
        ("nonsense\n=\n", None),
    ],
)
def test_the_release_is_read_from_os_release(text: str, release: str | None) -> None:
    assert detectors.parse_os_release(text) == release


def test_the_gnu_c_library_is_read_from_confstr() -> None:
    assert detectors.parse_gnu_libc("glibc 2.36") == ("glibc", "2.36")
    assert detectors.parse_gnu_libc("glibc 2.39.9000") == ("glibc", "2.39.9000")
    for other in (None, "", "musl", "NPTL 2.36"):
        assert detectors.parse_gnu_libc(other) is None


def test_musl_is_read_from_its_loader() -> None:
    said = "musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader\nUsage: ld-musl [options] [--] pathname [args]\n"
    assert detectors.parse_musl(said) == ("musl", "1.2.4")
    assert detectors.parse_musl("musl libc\n") == ("musl", None)
    assert detectors.parse_musl("ldd (Debian GLIBC 2.36-9) 2.36") is None


V1 = {"cx8", "fxsr", "mmx", "sse", "sse2"}
V2 = V1 | {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}
V3 = V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def test_the_level_is_the_highest_whose_flags_are_all_there() -> None:
    for flags, level in ((set(), None), (V1, "x86-64-v1"), (V2, "x86-64-v2"), (V3, "x86-64-v3"), (V4, "x86-64-v4")):
        assert detectors.cpu_level(flags) == level


@given(st.sampled_from(sorted(V4)), st.sets(st.sampled_from(["vmx", "aes", "sha_ni", "gfni"])))
def test_a_missing_flag_bounds_the_level_and_others_do_not_matter(missing: str, others: set[str]) -> None:
    level = next((CPU_LEVELS[n - 1] if n else None for n, need in enumerate((V1, V2, V3, V4)) if missing in need), None)
    assert detectors.cpu_level((V4 | others) - {missing}) == level


def test_the_flags_are_those_that_all_processors_have() -> None:
    cpuinfo = "processor\t: 0\nflags\t\t: fpu sse sse2\nbugs\t\t: none\n\nprocessor\t: 1\nflags\t\t: fpu sse\n"
    assert detectors.parse_cpu_flags(cpuinfo) == {"fpu", "sse"}
    assert detectors.parse_cpu_flags("cpu : POWER9\n") == frozenset()


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (GCC, "12.2.0"),
        ("gcc (crosstool-NG 1.24.0.133_b0863d8) 9.3.0\n", "9.3.0"),
        ("Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\n", "14.0.6"),
        (APPLE, "15.0.0"),
        ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu\n", "4.3"),
        ("git version 2.39.5 (Apple Git-154)\n", "2.39.5"),
        ("Python 3.13.0rc1\n", "3.13.0"),
        ("go version go1.22.1 linux/amd64\n", "1.22.1"),
        ("1.8.1\n", "1.8.1"),
        ("GNU patch 2.7.6\n", "2.7.6"),
        ("This is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64\n", "5.36.0"),
        ("less 608 (PCRE2)\n", "608"),
        ("no number\n", ""),
        ("", ""),
    ],
)
def test_the_version_is_the_tools_own_not_its_packagers(said: str, version: str) -> None:
    assert programs.parse_version(said) == version


def test_the_compiler_behind_cc_is_told() -> None:
    assert programs.parse_compiler(CC) == "gcc-12.2.0"
    assert programs.parse_compiler(APPLE) == "clang-15.0.0"
    assert programs.parse_compiler("tcc version 0.9.27 (x86_64 Linux)\n") == "cc-0.9.27"
    assert programs.parse_compiler("") is None


@given(st.text(max_size=200))
def test_no_text_makes_a_parser_fail(text: str) -> None:
    detectors.parse_os_release(text)
    detectors.parse_musl(text)
    detectors.parse_gnu_libc(text)
    detectors.parse_cpu_flags(text)
    programs.parse_compiler(text)
    assert re.fullmatch(r"[0-9.]{0,40}", programs.parse_version(text))


def script(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)


def test_a_program_that_fails_or_is_none_is_no_tool_and_does_not_spoil_the_others(tmp_path: Path) -> None:
    script(tmp_path, "cc", "#!/bin/sh\necho 'xcode-select: no developer tools' >&2\nexit 1\n")
    script(tmp_path, "gcc", "#!/bin/sh\necho gcc 1.2.3\n")
    script(tmp_path, "make", "#!/no/such/interpreter\n")
    script(tmp_path, "git", "#!/bin/sh\nprintf '\\377 git 9.9\\n' >&2\n")
    script(tmp_path, "ld", "#!/bin/sh\necho no number here\n")
    names = ("cc", "gcc", "make", "git", "ld", "absent")
    assert programs.find_tools(names, str(tmp_path)) == {"gcc": "1.2.3", "git": "9.9", "ld": ""}
    unseen = str(tmp_path / "git")
    assert set(programs.find_tools(names, str(tmp_path), seen=lambda path: path != unseen)) == {"gcc", "ld"}


def test_a_tool_that_hangs_is_given_up_with_all_that_it_started(tmp_path: Path) -> None:
    # Nothing but the tool's own group holds the fifo open, so its end of file says that the group is gone.
    os.mkfifo(tmp_path / "held")
    reading = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    script(tmp_path, "cc", f"#!/bin/sh\nexec 9>{tmp_path}/held\nsleep 600 &\nsleep 600\n")
    script(tmp_path, "gcc", "#!/bin/sh\necho gcc 1.2.3\n")
    try:
        assert programs.find_tools(("cc", "gcc"), f"{tmp_path}:{os.environ['PATH']}", time_limit=0.5) == {
            "gcc": "1.2.3"
        }
        os.set_blocking(reading, True)
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)


def test_every_detector_has_a_name_that_projects_may_use() -> None:
    assert set(detectors.DETECTORS) == DETECTORS


def test_a_tool_that_does_not_tell_its_version_is_there_all_the_same(tmp_path: Path) -> None:
    """sed of macOS, mawk, tclsh: they have no --version. What cannot even be started is no tool."""
    script(tmp_path, "sed", "#!/bin/sh\necho 'illegal option' >&2\nexit 1\n")
    script(tmp_path, "tclsh", "#!/bin/sh\nsleep 600\n")
    script(tmp_path, "odd", "#!/no/such/interpreter\n")
    script(tmp_path, "java", "#!/bin/sh\n[ $1 = -version ] && echo 'openjdk version \"17.0.8\" 2023-07-18' >&2\n")
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = programs.find_tools(("sed", "tclsh", "odd", "java", "no\0name", "-x", ""), path, time_limit=0.5)
    assert found == {"sed": "", "tclsh": "", "java": "17.0.8"}


def test_a_tool_that_never_stops_talking_is_cut_short(tmp_path: Path) -> None:
    """Neither its output nor the time it takes grows, even where what it started holds its output open."""
    script(tmp_path, "chatter", "#!/bin/sh\necho chatter 4.2\nexec yes\n")
    script(tmp_path, "daemon", "#!/bin/sh\necho daemon 1.1\nsleep 600 &\n")
    began = time.monotonic()
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert programs.find_tools(("chatter", "daemon"), path, time_limit=60) == {"chatter": "4.2", "daemon": "1.1"}
    assert time.monotonic() - began < 30, "nobody waited for the end of their limits"
    assert len(programs.output_of(["chatter"], path=path) or "") <= 16 * 1024


def test_tools_that_projects_name_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "frobnicate", "#!/bin/sh\necho frobnicate 3.1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "frobnicate" not in detectors.Machine(tmp_path).tools()
    assert detectors.Machine(tmp_path, frozenset({"frobnicate", "gcc"})).tools()["frobnicate"] == "3.1"
