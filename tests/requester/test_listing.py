"""The table of one's own requests."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.requester.listing import NOTHING, listed
from tests import messages
from tests.support.lanes import examples

NOW = 1_000_000.0


def test_each_request_has_its_id_when_it_was_asked_for_how_it_stands_and_what_came_of_it() -> None:
    rows = listed(
        [
            messages.waiting(asked_at=NOW - 200, ref="main"),
            messages.waiting("queued", asked_at=NOW - 90_000, why=("  attic: busy",)),
            messages.told(asked_at=NOW - 9 * 86_400, token=""),
            messages.waiting(state="failed", asked_at=NOW + 9, reason="make: exited with code 2"),
        ],
        NOW,
    )
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
    token, revision = messages.waiting().token, messages.waiting().revision[:12]
    assert cells[0] == ["request", "asked", "for", "state"]
    assert cells[1] == [f"12-{token}", "3 min ago", "testproject main", "running", "on anna"]
    assert cells[2][1:] == ["25 h ago", f"testproject {revision}", "queued", "attic: busy"]
    assert cells[3][:2] == ["12", "1970-01-03"]
    assert cells[4][1:2] + cells[4][-2:] == ["less than 1 s ago", "failed", "make: exited with code 2"]


def test_nothing_is_said_in_one_line() -> None:
    assert listed([], NOW) == [NOTHING]


@settings(max_examples=examples(30))
@given(st.lists(messages.ALL["RequestStatus"], max_size=4), st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_is_told_is_a_line_each(items: list[Any], now: float) -> None:
    rows = listed(items, now)
    assert len(rows) == 1 + len(items)
    assert all(row.isprintable() for row in rows)
