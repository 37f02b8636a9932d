"""From domain values to what a template shows."""

from typing import Any

from attrs import evolve

from buildtool.model.records import AttemptEnd, AttemptState, BuildState, JoinReason, RequestState
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill
from buildtool.ports.pages import ServerLine
from buildtool.web import badges, presenters
from buildtool.web.build_page import build_page
from buildtool.web.urls import Urls
from buildtool.web.views import ServerCard, ServersPage
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import attempt, build, detail, farm

URLS = Urls("http://farm.example", "http://farm.example:23433")


def test_every_state_has_a_badge_whose_text_is_its_own() -> None:
    """State is told by words, not by colour alone, so no two states of a kind read the same."""
    assert len({badges.BUILD[it].text for it in BuildState}) == len(BuildState)
    assert len({badges.REQUEST[it].text for it in RequestState}) == len(RequestState)
    assert len({badges.KIND[it] for it in OfferKind}) == len(OfferKind)
    assert len({badges.JOINED[it] for it in JoinReason}) == len(JoinReason)
    made = attempt(1, 1, "elm", 10, None)
    ends = [badges.attempt(evolve(made, state=AttemptState.ENDED, end=end)).text for end in AttemptEnd]
    going = [badges.attempt(evolve(made, state=state)).text for state in AttemptState]
    assert len({*ends, *going}) == len(AttemptEnd) + len(AttemptState)


def test_an_attempt_that_is_missing_says_so_although_it_will_end_as_lost() -> None:
    missing = evolve(attempt(1, 1, "elm", 10, None), state=AttemptState.MISSING, end=AttemptEnd.LOST)
    assert badges.attempt(missing).text == "missing"


def servers_page(pages: FakePages) -> ServersPage:
    """The first page of the build servers."""
    lines = run(pages.build_servers(limit=presenters.SERVERS_PER_PAGE + 1))
    return presenters.servers_page(lines, run(pages.overview(NOW)), URLS, NOW)


def card(**changed: Any) -> ServerCard:
    """The card of one build server of the farm that stands so."""
    server = evolve(run(farm().build_servers())[1].server, **changed)
    return presenters.server_card(ServerLine(server, ()), URLS, NOW)


def test_a_paused_server_says_so_and_why_whatever_else_is_with_it() -> None:
    paused = card(paused="its disk is being replaced", quarantined_until=NOW + 60, quarantine_reason="it broke")
    assert paused.badge.text == "paused"
    assert "Paused by the operator: its disk is being replaced. Given no builds for another 1 min" in paused.trouble
    assert card(connected=False, paused="by ann").trouble == "Paused by the operator: by ann."


def test_a_server_that_drains_says_that_it_takes_nothing_more() -> None:
    draining = card(draining=True)
    assert (draining.badge.text, draining.trouble) == ("draining", "It finishes what it has and takes nothing more.")


def test_a_server_that_contact_was_lost_with_is_missing_and_one_that_said_good_bye_is_not() -> None:
    missing = card(connected=False, missing_since=NOW - 90)
    assert (missing.badge.text, missing.presence.before) == ("missing", "Missing since")
    assert missing.presence.when.words == "1 min ago"
    assert card(connected=False).badge.text == "not connected"


def test_the_front_page_says_what_needs_attention() -> None:
    overview = run(farm().overview(NOW))
    notes = [note.text for note in presenters.status_page(overview, [], URLS, NOW).notes]
    assert any("a build has waited for 1 min 35 s" in note for note in notes)
    assert any("1 mail was refused" in note for note in notes)
    lonely = presenters.status_page(evolve(overview, servers_connected=0, slots=0), [], URLS, NOW)
    assert lonely.notes[0].text == "No build server is connected. What is queued waits until one connects."


def test_the_front_page_counts_what_there_is() -> None:
    overview = run(farm().overview(NOW))
    names = [tile.name for tile in presenters.status_page(overview, [], URLS, NOW).tiles]
    assert names == ["Running", "Queued", "Build servers", "Requests waiting", "Succeeded", "Artifacts"]


def test_a_full_farm_with_a_queue_needs_no_attention() -> None:
    overview = evolve(run(farm().overview(NOW)), running=6, mails_refused=0)
    assert presenters.status_page(overview, [], URLS, NOW).notes == ()


def test_a_row_is_of_its_own_time_and_address_also_when_the_same_line_was_shown_before() -> None:
    running = evolve(build(2, BuildState.RUNNING, 9), started_at=NOW - 5)
    pages = FakePages(builds_made=[build(1, BuildState.QUEUED, 5), running])
    for line in run(pages.builds()):
        now = presenters.build_row(line, URLS, NOW)
        later = presenters.build_row(line, URLS, NOW + 3_600)
        assert (now.when.words, later.when.words) == ("5 s ago", "1 h ago")
        assert (now.took == later.took) == (line.build.state is BuildState.QUEUED)
        assert presenters.build_row(line, URLS, NOW) == now == presenters.build_row(evolve(line), URLS, NOW)
        elsewhere = presenters.build_row(line, Urls("http://farm.example/below", URLS.transfer), NOW)
        assert elsewhere.url == f"/below{now.url}"
        assert presenters.build_row(evolve(line, requests=7), URLS, NOW).requests == "7"


def test_older_builds_are_asked_for_by_the_last_id_shown() -> None:
    pages = FakePages(builds_made=[build(number, BuildState.QUEUED, 5) for number in range(1, 61)])
    lines = run(pages.builds(limit=presenters.PER_PAGE + 1))
    page = presenters.builds_page(lines, URLS, NOW, projects=["lua"], state="queued")
    assert [row.id for row in page.rows] == list(range(60, 10, -1))
    assert page.older == "/builds?state=queued&before=11"
    assert page.newest == ""
    rest = run(pages.builds(before=11, limit=presenters.PER_PAGE + 1))
    last = presenters.builds_page(rest, URLS, NOW, projects=["lua"], state="queued", before=11)
    assert [row.id for row in last.rows] == list(range(10, 0, -1))
    assert (last.older, last.newest) == ("", "/builds?state=queued")


def test_a_project_that_is_no_longer_configured_stays_in_the_filter() -> None:
    assert presenters.builds_page([], URLS, NOW, projects=["lua"], project="old").projects == ("lua", "old")


def test_addresses_are_masked_wherever_somebody_wrote_one_but_not_where_a_donor_says_whom_to_ask() -> None:
    pages = farm()
    elm = pages.servers[0]
    pages.servers = [evolve(elm, capability=evolve(elm.capability, host_info="ask ada@example.org"))]
    pages.requests[3] = evolve(pages.requests[3], reason="mail to ada@example.org came back")
    shown = build_page(detail(3, pages), URLS, NOW).requests[0]
    assert (shown.who, shown.trouble) == ("a…@example.org", "mail to a…@example.org came back")
    (server, *_) = servers_page(pages).servers
    assert server.host_info == "ask a…@example.org"
    assert server.admin == "Ada <ada@example.org>"


def test_a_page_of_build_servers_is_bounded_whatever_they_announce() -> None:
    """However many there are, however much each says: so many cards, and of each so much."""
    pages = farm()
    elm = pages.servers[0]
    offers = tuple(Offer((("arch", f"a{number}" * 500),)) for number in range(64))
    skills = tuple(ProjectSkill("p" * 60, number, "") for number in range(500))
    machine = tuple((f"p{number}", "x" * 400) for number in range(100))
    loud = Capability(offers, machine, skills, 256, "h" * 60_000, "a" * 60_000, "s" * 60_000)
    pages.servers = [evolve(elm, name=f"s{number:04}", capability=loud) for number in range(1_000)]
    page = servers_page(pages)
    assert len(page.servers) == presenters.SERVERS_PER_PAGE
    assert (page.first, page.further) == ("", "/buildservers?page=2")
    (shown, *_) = page.servers
    assert (len(shown.offers), shown.more_offers) == (presenters.ITEMS_SHOWN, "and 44 more")
    assert shown.projects.endswith("and 480 more")
    assert len(shown.machine) == presenters.ITEMS_SHOWN
    most = presenters.TEXT_SHOWN + 1
    assert all(len(text) <= most for text in (shown.host_info, shown.admin, shown.software))
    assert all(len(offer.platform) <= most for offer in shown.offers)
    assert page.headline.startswith("1,000 of 1,000 build servers connected")
