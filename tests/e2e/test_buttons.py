"""Who is signed in presses buttons, in a real browser: what it sends of itself with a form is enough, and no more."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.e2e.control import Control
from tests.e2e.test_live import pages_of
from tests.e2e.test_operator import operate
from tests.support.browser import Window, chromium

pytestmark = [pytest.mark.xdist_group("browser")]


def test_an_operator_signs_in_pauses_a_machine_ends_a_build_and_signs_out(running: Control) -> None:
    info = running.farm.directory / "build-anna" / "info"
    info.mkdir(parents=True)
    (info / "access_uri").write_text("ssh://anna.example.org:2222\n")
    running.server("anna")
    token = json.loads(operate(running, "token", "browser", "--json"))["token"]
    _, site = pages_of(running)
    with chromium() as browser:
        window = Window(browser, site)
        window.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = window.page
        page.goto("/buildservers")
        assert page.get_by_role("button", name="Pause").count() == 0, "nobody knows yet who that is"
        page.goto("/buildservers/anna")
        assert page.get_by_text("ssh://").count() == 0, "nor whether they may know how it is reached"
        page.goto("/sign-in")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("status").first).to_contain_text("You are signed in as")

        page.goto("/buildservers/anna")
        way = page.get_by_role("link", name="ssh://anna.example.org:2222")
        assert way.get_attribute("href") == "ssh://anna.example.org:2222"
        assert window.faults() == []
        page.goto("/buildservers")
        page.get_by_label("Reason").fill("its disk is full")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("main")).to_contain_text("Paused by the operator: its disk is full")
        assert "paused" in operate(running, "status")

        build_id = running.ask("ann@example.org")["build_id"]
        page.goto(f"/build/{build_id}")
        expect(page.locator("main dl", has_text="Revision")).to_contain_text("revision 0")
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#command")
        page.get_by_label("Reason").fill("the wrong branch")
        page.get_by_role("button", name="End this build").click()
        expect(page.locator("h1")).to_contain_text("cancelled")
        page.goto("/buildservers")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("main")).not_to_contain_text("Paused by the operator")
        page.goto("/sign-in")
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(page.get_by_role("status").first).to_contain_text(re.compile("signed out"))
        window.close()
