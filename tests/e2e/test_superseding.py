"""Who asks for what was pushed since with --supersede, by the real programs: the older request ends, and says so."""

import pytest
from playwright.sync_api import expect

from tests.e2e.control import Control
from tests.e2e.test_live import pages_of
from tests.support.browser import NARROW, Window, chromium
from tests.support.smtp import mail_text


def shown(control: Control, build_id: int) -> None:
    """Look at what became of the older request, and at the box of the form, in a dark and narrow window."""
    _, site = pages_of(control)
    with chromium() as browser:
        window = Window(browser, site, NARROW, dark=True)
        window.page.goto(f"/build/{build_id}")
        row = window.page.locator("[aria-labelledby=requests] li", has_text="superseded")
        expect(row).to_contain_text("took its place, for a newer commit")
        assert window.faults() == []
        window.page.goto("/request?revision=main&supersede=yes")
        expect(window.page.get_by_label("supersede")).to_be_checked()
        expect(window.page.locator("#would pre")).to_contain_text("--supersede")
        assert window.faults() == []
        window.close()


@pytest.mark.long
@pytest.mark.xdist_group("browser")
def test_a_newer_commit_ends_the_request_for_an_older_one_which_is_told_everywhere(running: Control) -> None:
    older = running.ask("--revision=main", "ann@example.org")
    other = running.ask("--revision=main", "bob@example.org")
    third = running.commit(**{"main.c": running.source("third")})
    last = running.ask("--revision=refs/heads/main", "--supersede", "ann@example.org")
    assert (last["state"], last["revision"]) == ("waiting", third)

    told = running.ask("follow", older["cancel_id"], code=14)
    assert told["state"] == "superseded"
    assert told["reason"] == f"request {last['request_id']} took its place, for a newer commit of refs/heads/main"
    why = running.ask("why", older["cancel_id"])["explanation"]
    assert (why["verdict"], why["reason"]) == ("superseded", told["reason"])
    assert running.ask("why", other["cancel_id"])["explanation"]["verdict"] == "queued", "who else waits is kept"

    running.farm.programs[0].wait_for("mail for ann@example.org")
    assert "A newer commit of yours took the place" in mail_text(running.mail_to("ann@example.org"))
    shown(running, older["build_id"])
    commit = running.refused(f"--revision={third}", "--supersede", "ann@example.org", code=2)
    assert "name a branch or tag" in commit
