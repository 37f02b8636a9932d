"""Backups of a series go by their times alone: the newest good one never, and pruning often loses nothing."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.farm.backups import DAY, Kept, MadeBackup, going, is_name, kept_of, name_of, overdue

HOUR = 3_600.0
NOW = 20_000 * DAY + 13 * HOUR
USUAL = Kept(DAY, 30 * DAY, 90 * DAY)

times = st.lists(st.integers(-5 * 24, 200 * 24), min_size=1, max_size=40, unique=True)
rules = st.tuples(st.integers(1, 72), st.integers(1, 40), st.integers(1, 100)).map(
    lambda it: Kept(it[0] * HOUR, it[0] * HOUR + it[1] * DAY, it[0] * HOUR + (it[1] + it[2]) * DAY)
)


def made(hours: Sequence[int], good: Sequence[bool] = ()) -> list[MadeBackup]:
    """Backups of so many hours ago."""
    goods = [*good, *([True] * len(hours))]
    return [MadeBackup(str(one), NOW - one * HOUR, goods[at]) for at, one in enumerate(hours)]


def stays(rule: Kept, there: Sequence[MadeBackup], now: float = NOW) -> list[MadeBackup]:
    gone = {one.name for one in going(rule, there, now)}
    return [one for one in there if one.name not in gone]


@given(rules, times, st.lists(st.booleans(), max_size=40))
def test_the_newest_good_backup_never_goes_nor_one_of_the_first_time_nor_of_the_future(
    rule: Kept, hours: list[int], good: list[bool]
) -> None:
    there = made(hours, good)
    left = stays(rule, there)
    past = [one for one in there if one.good and one.made <= NOW]
    assert not past or max(past, key=lambda one: one.made) in left
    assert all(one in left for one in there if NOW - one.made <= rule.each)


@given(rules, times)
def test_each_day_and_each_week_that_had_one_has_one_as_long_as_is_said_and_no_more(
    rule: Kept, hours: list[int]
) -> None:
    there = made([abs(one) for one in hours])
    left = stays(rule, there)
    newest = max(there, key=lambda one: one.made)
    for one in there:
        age = NOW - one.made
        same_day = [other for other in left if other.made // DAY == one.made // DAY]
        same_week = [other for other in left if (other.made // DAY + 3) // 7 == (one.made // DAY + 3) // 7]
        if age <= rule.daily:
            assert same_day
        if age <= rule.weekly:
            assert same_week
        if age > rule.each and one in left and one != newest:
            assert age <= rule.weekly
            assert one == max(same_day, key=lambda other: other.made)


@given(rules, times, st.lists(st.integers(0, 200 * 24), max_size=8))
def test_who_prunes_often_has_in_the_end_what_who_prunes_once_has(
    rule: Kept, hours: list[int], looks: list[int]
) -> None:
    there = made([abs(one) for one in hours])
    left: list[MadeBackup] = []
    seen: set[str] = set()
    for moment in (*(NOW - look * HOUR for look in sorted(looks, reverse=True)), NOW):
        fresh = [one for one in there if one.made <= moment and one.name not in seen]
        seen |= {one.name for one in fresh}
        left = stays(rule, [*left, *fresh], moment)
    assert {one.name for one in left} == {one.name for one in stays(rule, there)}


def test_a_year_of_hours_leaves_a_day_of_hours_a_month_of_days_and_the_weeks_before() -> None:
    left = [round((NOW - one.made) / HOUR) for one in stays(USUAL, made(range(365 * 24)))]
    assert left[:25] == list(range(25))
    assert left[25:] == [13 + 1 + 24 * day for day in range(1, 30)] + [left[-1] - 7 * 24 * n for n in range(8, -1, -1)]
    assert 89 * 24 - 6 * 24 <= left[-1] <= 90 * 24


def test_a_backup_that_is_not_good_stands_for_no_day_and_goes_when_its_time_is_over() -> None:
    there = [*made([1]), MadeBackup("bad", NOW - 40 * HOUR, good=False), *made([41])]
    assert [one.name for one in stays(USUAL, there)] == ["1", "41"]


def test_where_none_is_good_those_of_the_first_time_stay() -> None:
    assert [one.name for one in stays(Kept(DAY), made([1, 30], [False, False]))] == ["1"]


def test_what_is_said_is_read_and_told_again() -> None:
    assert kept_of("24h  30d 90d") == USUAL
    assert str(kept_of("36h 14d")) == "36h 14d"
    assert kept_of("2h") == Kept(7_200.0)


@pytest.mark.parametrize("text", ["", "1d 2d 3d 4d", "30d 24h", "0h", "1d 1d", "5", "1y", "-1d 2d"])
def test_what_is_no_rule_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(UsageError, match=r"24h"):
        kept_of(text)


def test_names_of_backups_are_told_from_others() -> None:
    assert name_of(0.0) == "backup-19700101T000000Z"
    assert is_name(name_of(NOW))
    assert is_name(f"{name_of(NOW)}-2")
    for other in (
        "backup",
        "backup-2026",
        f"x{name_of(NOW)}",
        f"{name_of(NOW)}/..",
        f"{name_of(NOW)}\n",
        "backup-2026-11-20",
    ):
        assert not is_name(other)


def test_an_old_backup_is_told_past_the_limit_and_none_at_all_too() -> None:
    assert overdue(NOW - 25 * HOUR, 26 * HOUR, NOW) == ""
    assert overdue(NOW - 27 * HOUR, 26 * HOUR, NOW) == (
        "the last good backup is of 2024-10-03 10:00 UTC, longer ago than backup_within = 26h"
    )
    assert overdue(None, 26 * HOUR, NOW).startswith("no good backup was ever made")
    assert overdue(None, 0.0, NOW) == ""


def test_a_backup_that_is_still_to_come_is_told_since_its_age_would_be_right_for_long() -> None:
    assert overdue(NOW + HOUR, 26 * HOUR, NOW) == "", "clocks differ"
    assert overdue(NOW + 27 * HOUR, 26 * HOUR, NOW) == (
        "the last good backup is of 2024-10-05 16:00 UTC, which is still to come: set the clock, and make another"
    )
