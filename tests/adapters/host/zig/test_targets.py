"""What zig says of itself, in the words of this project."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.host.zig.targets import OLDEST, ZigKnowledge, ZigTarget, knowledge_of
from buildtool.model.platforms import ARCHES, LIBCS, compare_versions
from tests.support.zigs import TARGETS as NOTATION

LATER = """\
error: unable to provide libc for target "riscv64-linux.5.10...7.2-gnu.2.17"
info: zig can provide libc for related target riscv64-linux.4.15.0-gnu.2.27
info: zig can provide libc for related target riscv64-linux.4.15.0-musl
"""


def known(said: str = NOTATION) -> ZigKnowledge:
    found = knowledge_of(said)
    assert found is not None
    return found


def test_its_targets_are_told_by_the_names_of_this_project_and_others_are_left_out() -> None:
    assert known().targets == (
        ZigTarget("riscv64-linux-gnu", "riscv64", "linux", "glibc"),
        ZigTarget("x86_64-linux-gnu", "x86_64", "linux", "glibc"),
        ZigTarget("x86_64-linux-musl", "x86_64", "linux", "musl"),
        ZigTarget("x86_64-windows-gnu", "x86_64", "windows", "ucrt"),
    )
    for one in known().targets:
        assert one.arch in ARCHES
        assert LIBCS[one.libc] == one.os


def test_an_older_zig_says_the_same_as_json() -> None:
    said = json.dumps(
        {"arch": ["x86_64"], "libc": ["x86_64-linux-gnu"], "glibc": ["2.16.0", "2.17.0", "2.28.0"]}, indent=1
    )
    assert known(said).glibc == ("2.17", "2.28")


def test_versions_begin_with_the_oldest_that_is_offered() -> None:
    assert known().glibc == (OLDEST, "2.27", "2.28", "2.36", "2.44")
    assert [known().above(one) for one in ("2.27", "2.30", "2.44")] == ["2.28", "2.36", None]


def test_what_a_target_is_called_leads_back_to_it() -> None:
    for one in known().targets:
        for version in known().glibc if one.libc == "glibc" else (None,):
            assert known().target(one.words(version)) == (one, version)
    for wrong in ("x86_64-linux-gnu.2.99", "x86_64-linux-musl.2.17", "x86_64-linux", ""):
        assert known().target(wrong) is None


def test_the_oldest_of_an_architecture_is_read_of_what_zig_says_when_there_is_no_older() -> None:
    assert known().floor(LATER) == "2.27"
    assert known().floor(LATER.replace("2.27", "2.99")) is None
    assert known().floor("error: something else") is None


@pytest.mark.parametrize(
    ("name", "triple"),
    [
        ("x86-windows-gnu", "i686-w64-mingw32"),
        ("aarch64-macos-none", "aarch64-apple-darwin"),
        ("wasm32-wasi-musl", "wasm32-unknown-wasi"),
        ("powerpc-linux-musleabihf", "powerpc-linux-musleabihf"),
    ],
)
def test_configure_is_told_a_triple_that_it_knows(name: str, triple: str) -> None:
    assert ZigTarget(name, "", "", "").triple == triple


@given(st.text(alphabet='.{}"libcgnu=:[] 2', max_size=200))
def test_whatever_a_program_called_zig_says_is_understood_or_is_no_zig(said: str) -> None:
    found = knowledge_of(said)
    if found is not None:
        assert all(compare_versions(one, OLDEST) >= 0 for one in found.glibc)
