"""What is gone is said to have expired, by as few ranges of numbers as there may be."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.keeping.gone import DAY, GoneKind, Tombstone, expired_words, ranges

numbers = st.frozensets(st.integers(1, 30), max_size=12)


@given(numbers, numbers)
def test_ranges_have_all_that_is_gone_and_nothing_that_is_there(gone: frozenset[int], there: frozenset[int]) -> None:
    there -= gone
    found = ranges(gone, there)
    inside = {number for first, last in found for number in range(first, last + 1)}
    assert gone <= inside
    assert not inside & there
    assert all(one[1] < other[0] for one, other in pairwise(found))
    between = [there & set(range(one[1], other[0])) for one, other in pairwise(found)]
    assert all(between)  # else two ranges could be one


def test_a_day_and_a_rule_are_said() -> None:
    assert expired_words(1_763_640_000.0, "logs older than 30 days") == (
        "expired on 2025-11-20 (rule: logs older than 30 days)"
    )


def test_what_goes_on_the_same_day_by_the_same_rule_continues_a_range() -> None:
    one = Tombstone(GoneKind.LOG, 1, 4, 2 * DAY, "r")
    assert one.continued_by(Tombstone(GoneKind.LOG, 5, 5, 2 * DAY + 9, "r"))
    for other in (
        Tombstone(GoneKind.LOG, 6, 6, 2 * DAY, "r"),
        Tombstone(GoneKind.LOG, 5, 5, 3 * DAY, "r"),
        Tombstone(GoneKind.LOG, 5, 5, 2 * DAY, "s"),
    ):
        assert not one.continued_by(other)
