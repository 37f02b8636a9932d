"""When triggers look: once a day by the clock of their zone, whatever that does, or every so often."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.triggers.schedule import Daily, Schedule, read_daily, read_every
from tests.support.lanes import examples

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
INSTANTS = st.integers(1_200_000_000, 2_500_000_000).map(float)
WEEK = 8 * 86_400.0


def daily(text: str) -> Daily:
    return read_daily(text, ZoneInfo)


def shown(instant: float, zone: str = "Europe/Berlin") -> str:
    return datetime.fromtimestamp(instant, ZoneInfo(zone)).isoformat(timespec="minutes")


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    if draw(st.booleans()):
        return read_every(f"{draw(st.integers(10, 10_000))}s")
    minutes, days = draw(st.integers(0, 1439)), draw(st.sampled_from(["", "Sat ", "Mon-Fri ", "Sun,Wed "]))
    return daily(f"{days}{minutes // 60}:{minutes % 60:02d} {draw(st.sampled_from(ZONES))}")


@given(schedules(), INSTANTS)
def test_one_instant_follows_the_other_with_nothing_between(schedule: Schedule, now: float) -> None:
    before, after = schedule.latest(now), schedule.following(now)
    assert before <= now < after
    assert schedule.following(before) == after
    assert schedule.latest(after) == after
    assert after - before <= WEEK


@settings(max_examples=examples(8, 200), deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, 1439), INSTANTS)
def test_each_day_has_its_time_once_also_when_clocks_change(zone: str, minutes: int, now: float) -> None:
    schedule = daily(f"{minutes // 60}:{minutes % 60:02d} {zone}")
    days, instant = [], schedule.following(now)
    for _ in range(366):
        days.append(datetime.fromtimestamp(instant, ZoneInfo(zone)).date())
        instant = schedule.following(instant)
    assert days == [days[0] + timedelta(count) for count in range(366)]


def test_a_time_that_is_skipped_is_the_change_and_of_one_that_comes_twice_the_first_counts() -> None:
    night = daily("02:30 Europe/Berlin")
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()
    assert shown(night.following(spring)) == "2026-03-29T03:00+02:00"
    assert shown(night.following(autumn)) == "2026-10-25T02:30+02:00"
    assert shown(night.following(night.following(autumn))) == "2026-10-26T02:30+01:00"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("03:00", "is no time of day with a time zone"),
        ("24:00 UTC", "a day begins at 00:00"),
        ("25:00 UTC", "is no time of day"),
        ("Xyz 03:00 UTC", "is no day"),
        ("at night", "is no time of day with a time zone"),
        ("0" * 300, "is no time of day with a time zone"),
        (7, "is no time of day with a time zone"),
    ],
)
def test_what_is_no_time_of_day_is_refused_by_name(text: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        daily(text)  # type: ignore[arg-type] # what people write is not checked by mypy


@pytest.mark.parametrize("text", ["", "5", "9s", "400d", "-1h", "1.5h", None, 3600])
def test_what_is_no_time_between_two_looks_is_refused(text: object) -> None:
    with pytest.raises(UsageError, match=r"is no time|is not usable"):
        read_every(text)  # type: ignore[arg-type] # likewise
