"""What a watch awaits: what came to its branch, and for how long; and when a digest goes out."""

import itertools

import pytest
from attrs import evolve

from buildtool.errors import UsageError
from buildtool.model.telling.watch import AWAITED, BranchWatch, digest_time, followed, read_digest, told
from buildtool.project.zones import zone_named
from tests.support.outbox import WALL

SEEN = BranchWatch(7, "ann@example.org", "lua", "", "refs/heads/main", "", WALL, tip="a", awaited=("a",))
DAY = 86_400.0


def test_what_comes_to_a_branch_is_awaited_until_it_is_told() -> None:
    later = followed(SEEN, "c", ("c", "b"))
    assert (later.tip, later.awaited, later.moves) == ("c", ("c", "b", "a"), 1)
    assert told(later, "b").awaited == ("c", "a")
    assert told(later, "x") == later


def test_what_was_on_a_branch_before_it_was_rewritten_is_awaited_no_more() -> None:
    assert followed(SEEN, "x", None).awaited == ("x",)


def test_only_the_newest_are_awaited() -> None:
    many = tuple(f"{number}" for number in range(AWAITED + 9))
    assert followed(SEEN, "0", many).awaited == many[:AWAITED]


def test_a_digest_goes_out_at_a_time_of_day_once_over_both_changes_of_clocks() -> None:
    assert read_digest("", zone_named) == ""
    assert digest_time("", zone_named, WALL) is None
    assert read_digest("daily", zone_named) == "07:00 UTC"
    assert read_digest("weekly", zone_named) == "Mon 07:00 UTC"
    text = read_digest(" 02:30  Europe/Berlin", zone_named)
    assert text == "02:30 Europe/Berlin"
    for before in (1_711_756_800.0, 1_729_900_800.0):  # the days before the changes of March and October 2024
        times, now = list[float](), before
        for _ in range(4):
            following = digest_time(text, zone_named, now)
            assert following is not None
            times.append(following)
            now = following
        assert [round((after - at) / DAY) for at, after in itertools.pairwise(times)] == [1, 1, 1]
    for wrong in ("hourly", "25:00 UTC", "07:00", "07:00 Mars/Olympus"):
        with pytest.raises(UsageError, match="--digest"):
            read_digest(wrong, zone_named)


def test_a_zone_that_the_machine_forgot_is_utc() -> None:
    watch = evolve(SEEN, digest="07:00 Mars/Olympus")
    assert digest_time(watch.digest, zone_named, WALL) == digest_time("07:00 UTC", zone_named, WALL)
