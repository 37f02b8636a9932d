"""The list of builds, from domain values to what its template shows."""

from attrs import evolve

from buildtool.model.records import BuildState
from buildtool.web.pages.builds import PER_PAGE, build_row, builds_page
from buildtool.web.urls import Urls
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import build

URLS = Urls("http://farm.example", "http://farm.example:23433")


def test_a_row_is_of_its_own_time_and_address_also_when_the_same_line_was_shown_before() -> None:
    running = evolve(build(2, BuildState.RUNNING, 9), started_at=NOW - 5)
    pages = FakePages(builds_made=[build(1, BuildState.QUEUED, 5), running])
    for line in run(pages.builds()):
        now = build_row(line, URLS, NOW)
        later = build_row(line, URLS, NOW + 3_600)
        assert (now.when.words, later.when.words) == ("5 s ago", "1 h ago")
        assert (now.took == later.took) == (line.build.state is BuildState.QUEUED)
        assert build_row(line, URLS, NOW) == now == build_row(evolve(line), URLS, NOW)
        elsewhere = build_row(line, Urls("http://farm.example/below", URLS.transfer), NOW)
        assert elsewhere.url == f"/below{now.url}"
        assert build_row(evolve(line, requests=7), URLS, NOW).requests == "7"


def test_older_builds_are_asked_for_by_the_last_id_shown() -> None:
    pages = FakePages(builds_made=[build(number, BuildState.QUEUED, 5) for number in range(1, 61)])
    lines = run(pages.builds(limit=PER_PAGE + 1))
    page = builds_page(lines, URLS, NOW, projects=["lua"], state="queued")
    assert [row.id for row in page.rows] == list(range(60, 10, -1))
    assert page.older == "/builds?state=queued&before=11"
    assert page.newest == ""
    rest = run(pages.builds(before=11, limit=PER_PAGE + 1))
    last = builds_page(rest, URLS, NOW, projects=["lua"], state="queued", before=11)
    assert [row.id for row in last.rows] == list(range(10, 0, -1))
    assert (last.older, last.newest) == ("", "/builds?state=queued")


def test_a_project_that_is_no_longer_configured_stays_in_the_filter() -> None:
    assert builds_page([], URLS, NOW, projects=["lua"], project="old").projects == ("lua", "old")
