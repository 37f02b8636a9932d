"""The front page, from domain values to what its template shows."""

from attrs import evolve

from buildtool.web.pages.now import status_page
from buildtool.web.urls import Urls
from tests.support.inline import run
from tests.web.fake_pages import NOW
from tests.web.farm import farm

URLS = Urls("http://farm.example", "http://farm.example:23433")


def test_the_front_page_says_what_needs_attention() -> None:
    overview = run(farm().overview(NOW))
    notes = [note.text for note in status_page(overview, [], URLS, NOW).notes]
    assert any("a build has waited for 1 min 35 s" in note for note in notes)
    assert any("1 mail was refused" in note for note in notes)
    lonely = status_page(evolve(overview, servers_connected=0, slots=0), [], URLS, NOW)
    assert lonely.notes[0].text == "No build server is connected. What is queued waits until one connects."


def test_the_front_page_counts_what_there_is() -> None:
    overview = run(farm().overview(NOW))
    names = [tile.name for tile in status_page(overview, [], URLS, NOW).tiles]
    assert names == ["Running", "Queued", "Build servers", "Requests waiting", "Succeeded", "Artifacts"]


def test_a_full_farm_with_a_queue_needs_no_attention() -> None:
    overview = evolve(run(farm().overview(NOW)), running=6, mails_refused=0)
    assert status_page(overview, [], URLS, NOW).notes == ()
