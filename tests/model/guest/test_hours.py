"""Hours of the week: what may be said, when they hold, and that clocks which change do them no harm."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.guest.hours import (
    DAYS,
    WeekHours,
    away_at,
    clock_words,
    first_instant,
    holds,
    next_change,
    read_away,
    read_hours,
)

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "UTC")
HOUR = 3_600.0


def zone_of(name: str) -> tzinfo:
    return ZoneInfo(name or "Europe/Berlin")


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@st.composite
def week_hours(draw: st.DrawFn) -> WeekHours:
    begin = draw(st.integers(0, 1439))
    end = draw(st.integers(0, 1440).filter(lambda minutes: minutes != begin))
    days = draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=7))
    text = f"{','.join(days)} {begin // 60}:{begin % 60:02d}-{end // 60:02d}:{end % 60:02d}"
    return read_hours(f"{text} {draw(st.sampled_from(ZONES))}", zone_of)


INSTANTS = st.integers(1_200_000_000, 2_500_000_000).map(float)


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    hours = [read_hours("Mon-Fri 20:00-07:00 Europe/Berlin", zone_of)]

    said = [
        "2026-11-27T19:59", "2026-11-27T20:00", "2026-11-28T06:59", "2026-11-28T07:00", "2026-11-28T23:00",
        "2026-11-30T05:00",
    ]  # fmt: skip
    assert [holds(hours, at(moment)) for moment in said] == [False, True, True, False, False, False]


@given(week_hours(), INSTANTS)
def test_far_from_a_change_of_clocks_hours_are_what_the_clock_on_the_wall_says(hours: WeekHours, now: float) -> None:
    near = {datetime.fromtimestamp(now + step * HOUR, hours.zone).utcoffset() for step in range(-60, 61, 6)}
    assume(len(near) == 1)
    shown = datetime.fromtimestamp(now, hours.zone)
    minutes = shown.hour * 60 + shown.minute
    if hours.begin < hours.end:
        expected = shown.weekday() in hours.days and hours.begin <= minutes < hours.end
    else:
        yesterday = (shown - timedelta(1)).weekday()
        expected = (shown.weekday() in hours.days and minutes >= hours.begin) or (
            yesterday in hours.days and minutes < hours.end
        )

    assert holds([hours], now) == expected


@given(st.lists(week_hours(), min_size=1, max_size=3), INSTANTS, st.floats(0, 1))
def test_nothing_changes_before_the_next_change_and_then_it_does(
    hours: list[WeekHours], now: float, part: float
) -> None:
    change = next_change(hours, now)

    if change is None:
        assert holds(hours, now)
        assert holds(hours, now + part * 7 * 24 * HOUR)
    else:
        assert now < change <= now + 9 * 24 * HOUR
        assert holds(hours, change) != holds(hours, now)
        assert holds(hours, now + int(part * (change - now - 1))) == holds(hours, now)


@given(st.sampled_from(ZONES), st.dates(date(2009, 1, 1), date(2040, 1, 1)), st.integers(0, 2 * 1440))
def test_a_time_of_day_is_the_first_instant_at_which_the_clock_shows_it_or_later(
    name: str, day: date, minutes: int
) -> None:
    zone = ZoneInfo(name)
    said = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001 - as it is shown
    instant = first_instant(day, minutes, zone)

    assert datetime.fromtimestamp(instant, zone).replace(tzinfo=None) >= said
    assert datetime.fromtimestamp(instant - 1, zone).replace(tzinfo=None) < said


def test_hours_that_begin_or_end_while_the_clock_jumps_begin_or_end_with_the_jump() -> None:
    spring, autumn = date(2026, 3, 29), date(2026, 10, 25)
    begins, ends = read_hours("02:30-02:45 Europe/Berlin", zone_of).on(spring)
    late = read_hours("02:30-04:00 Europe/Berlin", zone_of).on(autumn)

    assert begins == ends == datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()
    assert late == (datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp(), at("2026-10-25T04:00"))
    assert late[1] - late[0] == 2.5 * HOUR


def test_days_that_touch_are_one_stretch_and_a_whole_week_has_no_end() -> None:
    always = [read_hours("00:00-24:00", zone_of)]

    assert next_change(always, at("2026-11-27T12:00")) is None
    weekend = [read_hours("Fri 20:00-24:00", zone_of), read_hours("Sat,Sun 0:00-24:00", zone_of)]
    assert next_change(weekend, at("2026-11-27T21:00")) == at("2026-11-30T00:00")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20:00", "are no hours"),
        ("20-07", "are no hours"),
        ("20:00-07:61", "07:61 is no time of day"),
        ("25:00-07:00", "25:00 is no time of day"),
        ("24:00-07:00", "begins at 00:00"),
        ("20:00-20:00", "a whole day is 00:00-24:00"),
        ("Mo-Fr 20:00-07:00", "are no hours"),
        ("Mon-Xyz 20:00-07:00", "'Xyz' is no day"),
        ("20:00-07:00 " + "x" * 300, "are no hours"),
    ],
)
def test_what_are_no_hours_is_refused_in_a_line_that_says_what_would_be(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read_hours(text, zone_of)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.text("MonTueFri0123456789:-, /", max_size=30))
def test_any_text_is_hours_or_refused(text: str) -> None:
    try:
        found = read_hours(text, zone_of)
    except UsageError:
        return
    assert found.days


def test_days_away_last_from_the_first_midnight_to_the_last() -> None:
    away = read_away("2026-12-24..2027-01-02", zone_of)

    assert away_at([away], at("2026-12-23T23:59")) is None
    assert away_at([away], at("2026-12-24T00:00")) is away
    assert away_at([away], at("2027-01-02T23:59")) is away
    assert away_at([away], at("2027-01-03T00:00")) is None
    assert read_away("2026-12-24", zone_of).ends == at("2026-12-25T00:00")


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-12-24..", "2026-02-30", "2027-01-02..2026-12-24", "9999-01-01"])
def test_what_are_no_days_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"say two days|too far away"):
        read_away(text, zone_of)


def test_a_moment_is_said_by_the_clock_of_its_zone_and_with_its_day_where_that_is_another() -> None:
    now, zone = at("2026-11-27T12:00"), ZoneInfo("Europe/Berlin")

    assert clock_words(at("2026-11-27T20:00"), now, zone) == "20:00 Europe/Berlin"
    assert clock_words(at("2026-11-30T20:00"), now, zone) == "Mon 20:00 Europe/Berlin"
    assert clock_words(at("2027-01-03T00:00"), now, zone) == "2027-01-03 00:00 Europe/Berlin"
