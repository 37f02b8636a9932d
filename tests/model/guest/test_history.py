"""What a machine did: sums do not depend on the order, the number of rows is bounded, and the table fits a terminal."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.guest.history import (
    EARLIER,
    NOTHING,
    DoneWork,
    HistoryKey,
    WorkHistory,
    ended,
    first_month,
    hours,
    lines,
    month_of,
    month_said,
    of_plain,
    plain,
    told,
)
from buildtool.model.records import AttemptEnd

months = st.sampled_from(["2025-12", "2026-01", "2026-10", "2026-11"])
keys = st.builds(HistoryKey, months, st.sampled_from(["a.example:1", "b"]), st.sampled_from(["lua", "zlib", ""]))
sums = st.integers(0, 10**12)
works = st.builds(
    DoneWork, st.dictionaries(st.sampled_from(AttemptEnd), st.integers(1, 10**6)), sums, sums, sums, sums, sums, sums
)
records = st.lists(st.tuples(keys, works), max_size=12)


def history_of(rows: Sequence[tuple[HistoryKey, DoneWork]], most: int = 100) -> WorkHistory:
    made = WorkHistory(most=most)
    for key, work in rows:
        made.add(key, work)
    return made


@given(records.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_any_order_of_records_gives_the_same_rows(
    orders: tuple[Sequence[tuple[HistoryKey, DoneWork]], Sequence[tuple[HistoryKey, DoneWork]]],
) -> None:
    one, other = map(history_of, orders)
    assert one.rows == other.rows


@given(records, st.integers(1, 4))
def test_however_many_rows_there_would_be_so_many_are_kept_and_nothing_of_the_sum_is_lost(
    rows: Sequence[tuple[HistoryKey, DoneWork]], most: int
) -> None:
    made = history_of(rows, most)
    assert len(made.rows) <= most
    assert made.total() == sum((work for _, work in rows), NOTHING)


def test_the_oldest_months_are_summed_up_first() -> None:
    work = DoneWork({AttemptEnd.SUCCEEDED: 1})
    made = history_of([(HistoryKey(month, "farm", "lua"), work) for month in ("2026-03", "2026-01", "2026-02")], 2)
    assert {key.month: work.builds for key, work in made.rows.items()} == {EARLIER: 2, "2026-03": 1}


@given(keys, works)
def test_a_row_is_read_as_it_was_written(key: HistoryKey, work: DoneWork) -> None:
    assert of_plain(plain(key, work)) == (key, work)


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"month": "2026-11", "farm": "f", "project": 3, "ends": {}},
        {"month": "2026-13", "farm": "f", "project": "p", "ends": {}},
        {"month": "2026-11", "farm": "f", "project": "p", "ends": {"exploded": 1}},
        {"month": "2026-11", "farm": "f", "project": "p", "ends": {"failed": -1}},
        {"month": "2026-11", "farm": "f", "project": "p", "ends": {}, "up": 1.5},
    ],
)
def test_what_is_no_row_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match=r"row|month|sum|exploded"):
        of_plain(said)


@given(st.lists(st.tuples(keys, works), min_size=1, max_size=12))
def test_no_line_of_the_table_is_wider_than_a_terminal(rows: Sequence[tuple[HistoryKey, DoneWork]]) -> None:
    small = [(key, DoneWork(dict.fromkeys(work.ends, 9_999), *([10**9] * 6))) for key, work in rows]
    assert max(map(len, lines(history_of(small)))) <= 80


def test_the_table_has_a_line_a_month_and_project_and_what_everything_comes_to() -> None:
    made = history_of(
        [
            (
                HistoryKey("2026-11", "farm:1", "lua"),
                DoneWork({AttemptEnd.SUCCEEDED: 2}, 3_600_000, 7_200_000, up=2048),
            ),
            (HistoryKey("2026-11", "farm:1", "lua"), DoneWork({AttemptEnd.MISTAKEN: 1}, frozen=1_800_000)),
            (HistoryKey("2026-10", "farm:1", "zlib"), DoneWork({AttemptEnd.RETURNED: 1}, down=5, unmeasured=1)),
        ]
    )
    assert lines(made) == (
        "for farm:1",
        "month    project  ok  failed  other  cpu h  down       up",
        "2026-11  lua       2       1      0   1.00   0 B  2.0 KiB",
        "2026-10  zlib      0       0      1   0.00   5 B      0 B",
        "all                2       1      1   1.00   5 B  2.0 KiB",
        "",
        "4 builds used 1.00 processor hours and ran for 2.00",
        "for their owner they stood still for 0.50 hours more",
        "of 1 nothing tells what processors they used",
    )
    recent = lines(made.since("2026-11"))
    assert recent[2:4] == (lines(made)[2], "all                2       1      0   1.00   0 B  2.0 KiB")
    assert lines(WorkHistory()) == ("nothing was built",)


def test_programs_are_told_units_and_zeros() -> None:
    assert told(ended(AttemptEnd.FAILED, processor=1.5, wall=2, frozen=0, down=7)) == {
        "builds": 1, "ends": {"failed": 1}, "processor_ms": 1500, "wall_ms": 2000, "frozen_ms": 0, "bytes_down": 7,
        "bytes_up": 0, "unmeasured": 0,
    }  # fmt: skip
    assert ended(AttemptEnd.LOST, processor=None, wall=-1, frozen=0, down=0) == DoneWork(
        {AttemptEnd.LOST: 1}, unmeasured=1
    )


def test_what_is_less_than_a_hundredth_of_an_hour_is_not_shown_as_nothing() -> None:
    assert [hours(one) for one in (0, 1, 17_999, 18_001, 3_600_000, 360_000_000)] == [
        "0.00", "<0.01", "<0.01", "0.01", "1.00", "100",
    ]  # fmt: skip


def test_months_are_said_and_counted_in_utc() -> None:
    now = 1_767_225_600.0  # the first second of 2026
    assert (month_of(now), month_of(now - 1)) == ("2026-01", "2025-12")
    assert [first_month(now, count) for count in (1, 2, 13, 100_000)] == ["2026-01", "2025-12", "2025-01", "0001-01"]
    assert month_said("2026-11") == "2026-11"
    for wrong in ("2026-13", "2026-1", "november", "", "2026-11-01"):
        with pytest.raises(UsageError, match="is no month: say 2026-11"):
            month_said(wrong)
