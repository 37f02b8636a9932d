"""Versions have one order; an architecture has one name however it is spelled."""

import itertools
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from buildtool.model.platforms import (
    ALIASES,
    ARCH_OSES,
    ARCHES,
    CPU_LEVELS,
    Value,
    canonical_arch,
    compare_versions,
    contradiction,
    derived,
)

versions = st.one_of(
    st.lists(st.integers(0, 120), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts))),
    st.text("0129.-+~_abrc", max_size=8),
    st.sampled_from(CPU_LEVELS),
    st.text(max_size=8),
)


@given(versions, versions)
def test_versions_are_antisymmetric_and_every_pair_can_be_compared(left: str, right: str) -> None:
    assert compare_versions(left, right) == -compare_versions(right, left)


@given(versions)
def test_a_version_equals_itself(version: str) -> None:
    assert compare_versions(version, version) == 0


@given(versions, versions, versions)
def test_the_order_of_versions_is_transitive(a: str, b: str, c: str) -> None:
    low, mid, high = sorted((a, b, c), key=_Ordered)
    assert compare_versions(low, mid) <= 0
    assert compare_versions(mid, high) <= 0
    assert compare_versions(low, high) <= 0
    if compare_versions(low, mid) == 0 == compare_versions(mid, high):
        assert compare_versions(low, high) == 0


class _Ordered:
    """A version as Python's sort sees it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: "_Ordered") -> bool:
        return compare_versions(self.text, other.text) < 0


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_dotted_numbers_are_ordered_as_numbers_not_as_text(left: list[int], right: list[int]) -> None:
    said = compare_versions(".".join(map(str, left)), ".".join(map(str, right)))
    assert said == (left > right) - (left < right)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("2.9", "2.36"), ("2.31", "2.31.1"), ("1.9", "1.10"), *itertools.pairwise(CPU_LEVELS)],
)
def test_examples_that_an_order_by_text_gets_wrong(older: str, newer: str) -> None:
    assert compare_versions(older, newer) == -1


@given(st.sampled_from(sorted(ALIASES)), st.sampled_from([str.upper, str.lower, str.title, "  {} ".format]))
def test_every_alias_stands_for_a_known_architecture_however_it_is_written(
    alias: str, write: Callable[[str], str]
) -> None:
    assert canonical_arch(write(alias)) == ALIASES[alias]
    assert ALIASES[alias] in ARCHES


@given(st.one_of(st.text(max_size=20), st.sampled_from([*ALIASES, *ARCHES])))
def test_a_canonical_name_is_its_own_canonical_name(name: str) -> None:
    assert canonical_arch(canonical_arch(name)) == canonical_arch(name)


def test_no_alias_is_also_a_name_of_its_own() -> None:
    assert not ALIASES.keys() & ARCHES.keys()


@given(st.sampled_from(sorted(ARCHES)), st.sampled_from([32, 64]), st.sampled_from(["big", "little"]))
def test_what_follows_from_an_architecture_never_contradicts_it_and_anything_else_does(
    name: str, bits: int, byteorder: str
) -> None:
    arch = ARCHES[name]
    system = {"os": ARCH_OSES[name]} if name in ARCH_OSES else {}
    assert derived({"arch": name}) == {"bits": arch.bits, "byteorder": arch.byteorder, **system}
    assert derived({"arch": name, "bits": bits, "os": "linux"}) == {"byteorder": arch.byteorder}
    said = contradiction({"arch": name, "bits": bits, "byteorder": byteorder})
    assert (said is None) == ((bits, byteorder) == (arch.bits, arch.byteorder))
    if said is not None:
        assert name in said


def test_where_one_of_system_and_architecture_leaves_no_choice_of_the_other_it_follows() -> None:
    whole: dict[str, Value] = {"os": "wasi", "arch": "wasm32", "bits": 32, "byteorder": "little"}
    for said in ("os", "arch"):
        assert derived({said: whole[said]}) | {said: whole[said]} == whole
    assert derived({"os": "windows"}) == {}
    assert contradiction({"os": "linux", "arch": "wasm32"}) == "arch=wasm32 contradicts os=linux: it is of wasi only"
    assert contradiction(dict(whole)) is None


def test_of_an_unknown_architecture_nothing_is_believed_to_follow() -> None:
    assert derived({"arch": "e2k"}) == {}
    assert contradiction({"arch": "e2k", "bits": 128}) is None
