"""The build servers, from domain values to what their templates show."""

from typing import Any

from attrs import evolve

from buildtool.model.servers import Capability, Offer, ProjectSkill
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.pages import ServerLine
from buildtool.web.pages.build import build_page
from buildtool.web.pages.common import ITEMS_SHOWN, TEXT_SHOWN
from buildtool.web.pages.machines import SERVERS_PER_PAGE, ServerCard, ServersPage, server_card
from buildtool.web.pages.machines import servers_page as shown_page
from buildtool.web.urls import Urls
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import detail, farm

URLS = Urls("http://farm.example", "http://farm.example:23433")


def servers_page(pages: FakePages) -> ServersPage:
    """The first page of the build servers."""
    lines = run(pages.build_servers(limit=SERVERS_PER_PAGE + 1))
    return shown_page(lines, run(pages.overview(NOW)), URLS, NOW)


def card(**changed: Any) -> ServerCard:
    """The card of one build server of the farm that stands so."""
    server = evolve(run(farm().build_servers())[1].server, **changed)
    return server_card(ServerLine(server, ()), URLS, NOW)


def test_a_paused_server_says_so_and_why_whatever_else_is_with_it() -> None:
    paused = card(paused="its disk is being replaced", quarantined_until=NOW + 60, quarantine_reason="it broke")
    assert paused.badge.text == "paused"
    assert "Paused by the operator: its disk is being replaced. Given no builds for another 1 min" in paused.trouble
    assert card(connected=False, paused="by ann").trouble == "Paused by the operator: by ann."


def test_a_server_that_drains_says_that_it_takes_nothing_more() -> None:
    draining = card(draining=True)
    assert (draining.badge.text, draining.trouble) == ("draining", "It finishes what it has and takes nothing more.")


def test_a_server_whose_owner_is_there_says_so_and_one_that_was_said_to_be_away_until_when() -> None:
    closed = card(closed="its owner, ada@example.org, is at the machine")
    assert closed.badge.text == "its owner's"
    assert closed.trouble == "It takes nothing now: its owner, a…@example.org, is at the machine."
    away = card(connected=False, away=((NOW - 60, NOW + 60),))
    assert away.trouble.startswith("Its owner said that it is away, until ")


def test_a_server_that_contact_was_lost_with_is_missing_and_one_that_said_good_bye_is_not() -> None:
    missing = card(connected=False, missing_since=NOW - 90)
    assert (missing.badge.text, missing.presence.before) == ("missing", "Missing since")
    assert missing.presence.when.words == "1 min ago"
    assert card(connected=False).badge.text == "not connected"


def test_the_sandbox_is_shown_with_what_keeps_it_from_being_better() -> None:
    offered = run(farm().build_servers())[1].server.capability
    assert card().sandbox == "none"
    weak = evolve(offered, sandbox=SandboxLevel.WEAK, sandbox_notes=("it sees /home: ask ada@example.org",))
    assert card(capability=weak).sandbox == "weak: it sees /home: ask a…@example.org"
    assert card(capability=evolve(offered, sandbox=SandboxLevel.STRICT)).sandbox == "strict"


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
    assert len(page.servers) == SERVERS_PER_PAGE
    assert (page.first, page.further) == ("", "/buildservers?page=2")
    (shown, *_) = page.servers
    assert (len(shown.offers), shown.more_offers) == (ITEMS_SHOWN, "and 44 more")
    assert shown.projects.endswith("and 480 more")
    assert len(shown.machine) == ITEMS_SHOWN
    most = TEXT_SHOWN + 1
    assert all(len(text) <= most for text in (shown.host_info, shown.admin, shown.software))
    assert all(len(offer.platform) <= most for offer in shown.offers)
    assert page.headline.startswith("1,000 of 1,000 build servers connected")
