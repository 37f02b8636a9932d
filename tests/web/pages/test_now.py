"""The front page, from domain values to what its template shows."""

from typing import Any

from attrs import evolve

from buildtool.model.records import BuildState
from buildtool.model.search.build_query import BuildQuery
from buildtool.ports.pages import BuildsAsked, HourCount
from buildtool.protocol.pages.farm_view import FarmView, RunningView, WaitView
from buildtool.web.pages.builds import build_row
from buildtool.web.pages.charts import SPANS, chart
from buildtool.web.pages.now import NowParts, StatusPage, status_page
from buildtool.web.urls import Urls
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import farm

URLS = Urls("http://farm.example", "http://farm.example:23433")

BUSY = WaitView("busy", "a slot to be free", ("elm", "ash"), 5, (6, 9), 6, 46.0, "6 ahead, one slot", "")
NEVER = WaitView("never", "no build server has offered arch s390x yet", (), 0, (7,), 1, None, "", "")


def shown(view: FarmView | None = None, pages: FakePages | None = None, **changed: Any) -> StatusPage:
    """Return the front page of a farm, with some of its figures changed."""
    pages = pages or farm()
    overview = evolve(run(pages.overview(NOW)), **changed)
    running = run(pages.builds(BuildsAsked(BuildQuery(state=(BuildState.RUNNING,)))))
    ended = run(pages.builds(BuildsAsked(BuildQuery(state=(BuildState.SUCCEEDED, BuildState.FAILED)))))
    rows = [build_row(line, URLS, NOW) for line in running.lines]
    machines = run(pages.build_servers(limit=8))
    parts = NowParts(overview, view, rows, ended.lines, machines, chart([], SPANS["day"], 2, NOW))
    return status_page(parts, URLS, NOW)


def test_the_front_page_begins_with_what_goes_on_in_one_sentence() -> None:
    states = dict.fromkeys(BuildState, 0)
    for running, queued, title in (
        (3, 9, "Three builds run, nine wait"),
        (1, 1, "One build runs, one waits"),
        (0, 2, "No builds run, two wait"),
        (1_234, 0, "1,234 builds run, none waits"),
        (0, 0, "Nothing runs and nothing waits"),
    ):
        counts = {**states, BuildState.RUNNING: running, BuildState.QUEUED: queued}
        assert shown(builds=counts).title == title


def test_what_runs_is_told_against_what_is_usual() -> None:
    for seconds, usual, told, percent, longer in (
        (84.0, 130.0, "of about 2 min 10 s", 65, False),
        (84.0, 1.0, "usually 1.0 s", 100, True),
        (10.0, None, "", None, False),
    ):
        (row,) = shown(FarmView((RunningView(4, seconds, usual, "basis"),), (), 0, draining=False)).running
        assert (row.usual, row.percent, row.longer) == (told, percent, longer)


def test_why_builds_wait_is_grouped_with_what_happens_next() -> None:
    page = shown(FarmView((), (BUSY, NEVER), 3, draining=False))
    busy, never = page.waiting
    assert (busy.count, busy.words, busy.more) == ("6", "wait for a slot to be free", "and 3 more")
    assert [one.text for one in busy.servers] == ["elm", "ash"]
    assert busy.next == "the first of them may start in about 46 s (6 ahead, one slot)"
    assert (busy.builds.text, busy.builds.url) == ("6 builds", "/queue")
    assert (never.words, never.next, never.builds.url) == (NEVER.words, "", "/build/7")
    assert page.unseen_waiting == "Why 3 further builds wait is not told here."


def test_the_front_page_says_what_needs_attention() -> None:
    notes = [note.text for note in shown().notes]
    assert any("a build has waited for 1 min 35 s" in note for note in notes)
    assert any("1 mail was refused" in note for note in notes)
    lonely = shown(servers_connected=0, slots=0)
    assert lonely.notes[0].text == "No build server is connected. What is queued waits until one connects."
    drained = shown(FarmView((), (), 0, draining=True))
    assert "being drained" in drained.notes[0].text


def test_an_empty_farm_does_not_say_that_something_waits() -> None:
    page = shown(pages=FakePages())
    assert (page.title, page.lead) == ("Nothing runs and nothing waits", "No build server has ever connected.")
    assert [note.text for note in page.notes] == [
        "No build server is connected. A request would wait until one connects."
    ]
    assert page.empty


def test_a_full_farm_with_a_queue_needs_no_attention() -> None:
    assert shown(running=6, mails_refused=0).notes == ()


def test_the_chart_counts_what_ended_and_what_was_open() -> None:
    first = SPANS["day"].first(NOW)
    counts = [
        HourCount(first + 22, "build-queued", 5, 0.0),
        HourCount(first + 22, "build-succeeded", 2, 60.0),
        HourCount(first + 23, "build-failed", 1, 60.0),
        HourCount(first + 23, "request-hit", 3, 186.0),
        HourCount(first + 23, "request-queued", 1, 0.0),
        HourCount(first - 1, "build-succeeded", 100, 0.0),
    ]
    made = chart(counts, SPANS["day"], 4, NOW)
    assert made.label == (
        "Builds that ended in the last 24 hours: 2 succeeded, 1 did not; at most 5 were open at once."
    )
    assert [bar.good > 0 for bar in made.bars] == [False] * 22 + [True, False]
    assert (made.hits, made.saved, made.most) == ("75 %", "3 min 6 s", "5")
    assert made.line.split()[-1].endswith(",19.2"), "4 of 5 are open now"


def test_a_chart_of_any_span_ends_now_and_fits_its_frame() -> None:
    for span in SPANS.values():
        counts = [HourCount(span.first(NOW) + hour, "build-succeeded", hour % 7, 1.0) for hour in range(span.bars)]
        made = chart(counts, span, 3, NOW)
        assert len(made.bars) == span.bars
        assert all(0 <= bar.good_y <= 96 and bar.x + bar.width <= 720 for bar in made.bars)
        assert span.first(NOW) + span.bars * span.hours > NOW // 3600 >= span.first(NOW)
