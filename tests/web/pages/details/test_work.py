"""What machines did: sums by month and project, a year of bars, and nothing by name that may not be seen."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.ports.work import WorkFound, WorkLine
from buildtool.web.pages.details.work import (
    EARLIER,
    MONTHS,
    NOT_KNOWN,
    OTHERS,
    ROWS,
    WorkCard,
    builds_of,
    grouped,
    summed,
    work_card,
)
from tests.support.inline import run
from tests.web.fake_pages import NOW
from tests.web.farm import farm
from tests.web.test_access import SECRET, Some
from tests.web.visitor import Visitor, check_html

LUA = WorkLine("2026-09", "", "lua", 3, 1, 1, 0, 7_200.0, 9_000.0, 3 << 20, 2)
ZLIB = WorkLine("2026-09", "", "zlib", good=1, unmeasured=1, requesters=1)
OLD = evolve(LUA, month="2024-01")


def card(*lines: WorkLine, requesters: int = 3, unseen: str = "") -> WorkCard:
    found = work_card(WorkFound(lines, requesters), lambda project: project != unseen, NOW)
    assert found is not None
    return found


def test_a_row_has_a_month_a_project_and_its_figures() -> None:
    shown = card(LUA, ZLIB)
    assert [(row.month, row.project, row.builds, row.good, row.hours, row.requesters) for row in shown.rows] == [
        ("2026-09", "lua", "5", "3", "2.00", "2"),
        ("2026-09", "zlib", "1", "1", NOT_KNOWN, "1"),
    ]
    assert shown.rows[0].size == "3.0 MiB"
    assert shown.lead == (
        "6 builds, of which 4 succeeded; 2.00 processor hours, 3.0 MiB of artifacts, "
        "3 requesters in the last 12 months."
    )
    assert shown.note == "Of 1 build it is not known what processors they used."


def test_months_of_more_than_a_year_ago_are_one_row_a_project_without_a_count_of_requesters() -> None:
    shown = card(LUA, OLD, evolve(OLD, month="2023-12"))
    assert [(row.month, row.builds, row.requesters) for row in shown.rows] == [
        ("2026-09", "5", "2"),
        (EARLIER, "10", NOT_KNOWN),
    ]


def test_there_is_a_bar_a_month_up_to_the_running_one() -> None:
    shown = card(LUA, evolve(ZLIB, month="2025-10", good=10))
    assert [bar.title.partition(":")[0] for bar in (shown.bars[0], shown.bars[-1])] == ["2025-10", "2026-09"]
    assert len(shown.bars) == MONTHS
    assert shown.bars[0].good == 96.0
    assert shown.bars[-1].title == "2026-09: 3 succeeded, 2 did not, 2.00 processor hours"
    assert shown.label == "Builds in the last 12 months: 13 succeeded, 2 did not; at most 10 a month."


def test_projects_that_may_not_be_seen_have_no_name_and_nobody_is_counted_for_them() -> None:
    shown = card(LUA, ZLIB, evolve(ZLIB, project="tcl"), unseen="lua")
    assert [(row.project, row.builds, row.requesters) for row in shown.rows] == [
        (OTHERS, "5", NOT_KNOWN),
        ("zlib", "1", "1"),
        ("tcl", "1", "1"),
    ]
    assert "requester" not in shown.lead
    assert shown.note.startswith("What you may not see is together as other projects.")


def test_only_so_many_rows_are_shown_and_how_many_more_there_are_is_said() -> None:
    shown = card(*(evolve(LUA, project=f"p{number:03}") for number in range(ROWS + 5)))
    assert len(shown.rows) == ROWS
    assert "5 rows more are not shown." in shown.note


def test_a_machine_that_did_nothing_has_no_such_part() -> None:
    assert work_card(WorkFound(), lambda _: True, NOW) is None


lines = st.lists(
    st.builds(
        WorkLine, st.sampled_from(["2026-08", "2026-09"]), st.just(""), st.sampled_from(["lua", "zlib", "tcl"]),
        *([st.integers(0, 99)] * 4),
    ),
    max_size=8,
)  # fmt: skip


@given(lines, st.sampled_from(["", "lua", "zlib"]))
def test_nothing_of_the_sum_is_lost_by_what_may_not_be_seen(some: list[WorkLine], unseen: str) -> None:
    together = grouped(some, lambda project: project != unseen)
    assert summed(together) == summed(some)
    assert len({(one.month, one.project) for one in together}) == len(together)


@pytest.mark.parametrize(("visitor", "named"), [(True, False), (False, True)])
def test_the_page_of_a_machine_has_it_by_what_its_visitor_may_see(visitor: bool, named: bool) -> None:
    from tests.web.api.world import KEYED, NOBODY

    pages = farm()
    pages.builds_made = [
        evolve(it, spec=evolve(it.spec, project=SECRET)) if it.id == 3 else it for it in pages.builds_made
    ]
    page = Visitor(pages, access=Some(NOBODY if visitor else KEYED)).visit("/buildservers/elm")
    check_html(page.text)
    part = page.text.partition('id="work">What this machine did')[2].partition("</section>")[0]
    assert sum(builds_of(one) for one in run(pages.work(["elm"])).lines) == 4
    assert ('aria-label="Builds in the last 12 months: 2 succeeded, 2 did not; at most 4 a month."') in part
    assert (f"<td>{SECRET}</td>" in part) == named
    assert (OTHERS in part) != named
