"""The newest tag is the highest version, not the last in the alphabet; and of old versions only some are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.updating.names import newest_tag, superfluous, version_key

NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=4)
IDS = st.text("ab", min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("v1.9", "v1.10"), ("v1.0", "v1.0.1"), ("2.0rc1", "2.0"), ("2.0rc1", "2.0rc2"), ("2.0-beta.3", "2.0-rc.1"),
        ("1.9", "2.0.dev1"), ("release-1", "release-2"), ("v2.0a1", "v2.0b1"),
    ],
)  # fmt: skip
def test_of_two_versions_the_higher_one_is_newest(older: str, newer: str) -> None:
    assert newest_tag([newer, older], "*") == newer
    assert newest_tag([older, newer], "*") == newer


def test_what_names_no_version_or_is_not_like_the_pattern_is_passed_over() -> None:
    assert newest_tag(["nightly", "v1.0", "9.9", "v1.0-linux", "v2.0+x"], "v*") == "v1.0"
    assert newest_tag(["nightly", ""], "*") == ""


@given(NUMBERS, NUMBERS)
def test_plain_versions_are_ordered_as_their_numbers_are(one: list[int], other: list[int]) -> None:
    keys = [version_key("v" + ".".join(map(str, each))) for each in (one, other)]
    width = max(len(one), len(other))
    numbers = [each + [0] * (width - len(each)) for each in (one, other)]
    assert keys[0] is not None
    assert keys[1] is not None
    assert (keys[0] < keys[1]) == (numbers[0] < numbers[1])


@given(st.text(max_size=20))
def test_whatever_a_tag_is_called_it_is_a_version_or_none(tag: str) -> None:
    assert newest_tag([tag], "*") in (tag, "")


@given(st.sets(IDS), st.lists(IDS, unique=True), st.sets(IDS), st.integers(1, 4))
def test_what_runs_and_the_newest_few_of_before_are_kept(
    there: set[str], past: list[str], needed: set[str], keep: int
) -> None:
    gone = set(superfluous(there, needed, past, keep))
    assert gone <= there
    assert not gone & needed
    kept = [one for one in past if one in there and one not in gone and one not in needed]
    assert kept == [one for one in past if one in there and one not in needed][:keep]
    assert there - gone == {one for one in there if one in needed or one in kept}
