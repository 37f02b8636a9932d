"""Rates: what comes through is bounded in every stretch of time, the rest is counted, and nobody's memory grows."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.concurrency.rates import SOURCES_KEPT, OmittedCount, RateBudget, RateLimiter

OWN, WHOLE = RateBudget(100, 2), RateBudget(300, 5)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["", "anna", "bert", "carl"]), st.integers(1, 60), st.floats(0, 20)
    ),
    max_size=200,
)


@given(EVENTS)
def test_in_no_stretch_of_time_more_comes_through_than_the_budgets_say(
    events: list[tuple[str, str, int, float]],
) -> None:
    rates, now = RateLimiter(OWN, WHOLE), 0.0
    through: list[tuple[float, str, str, int]] = []
    for kind, source, cost, pause in events:
        now += pause
        if rates.allows(kind, source, cost, now):
            through.append((now, kind, source, cost))
    for first in range(len(through)):
        for of, budget in (((1,), WHOLE), ((1, 2), OWN)):
            same = [one for one in through[first:] if all(one[at] == through[first][at] for at in of)]
            if of == (1, 2) and not through[first][2]:
                continue
            for last in range(len(same)):
                seconds = same[last][0] - same[0][0]
                most = budget.at_once + budget.per_second * seconds + 60
                assert sum(one[3] for one in same[: last + 1]) <= most + 1e-6


@given(EVENTS)
def test_everything_comes_through_or_is_counted(events: list[tuple[str, str, int, float]]) -> None:
    rates, now, through = RateLimiter(OWN, WHOLE), 0.0, 0
    counted = 0
    for number, (kind, source, cost, pause) in enumerate(events):
        now += pause
        through += rates.allows(kind, source, cost, now)
        if number % 7 == 0:
            counted += sum(one.count for one in rates.left_out(now))
    counted += sum(one.count for one in rates.left_out(now))
    assert through + counted == len(events)
    assert rates.left_out(now) == []


def test_one_source_leaves_room_for_the_others_and_one_kind_for_the_others() -> None:
    rates = RateLimiter(OWN, WHOLE)
    assert sum(rates.allows("a", "loud", 10, 0.0) for _ in range(1_000)) == 10
    assert rates.allows("a", "quiet", 10, 0.0)
    for number in range(1_000):
        rates.allows("a", f"name {number}", 10, 0.0)
    assert not rates.allows("a", "another", 10, 0.0)
    assert rates.allows("b", "another", 10, 0.0)
    assert [(one.kind, one.source) for one in rates.left_out(0.0)] == [("a", "")]


def test_what_was_left_out_is_told_when_it_is_old_enough_and_by_whom_if_it_was_one() -> None:
    rates = RateLimiter(OWN, WHOLE)
    for _ in range(15):
        rates.allows("a", "loud", 10, 5.0)
    assert rates.left_out(4.9) == []
    assert rates.left_out(5.0) == [OmittedCount("a", "loud", 5, 5.0)]
    assert rates.left_out(99.0) == []


def test_names_without_end_take_no_memory_without_end() -> None:
    rates = RateLimiter(OWN, WHOLE)
    for number in range(3 * SOURCES_KEPT):
        rates.allows("a", f"name {number}", 1, float(number))
    assert len(rates._sources) == SOURCES_KEPT
    assert len(rates._kinds) == 1
